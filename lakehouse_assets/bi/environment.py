"""Superset's own Python environment, beside the platform's."""

from pathlib import Path

from lakehouse_assets.ops.own_environment import OwnEnvironment

SUPERSET = Path(__file__).with_name("superset")
LOCK = SUPERSET / "requirements.lock"
CONFIGURATION = SUPERSET / "superset_config.py"
PROVISION = SUPERSET / "provision.py"
ENVIRONMENT = OwnEnvironment("Superset", LOCK, "700 MB, a minute or two")
