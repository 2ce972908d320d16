"""What people see of the definitions changes on purpose: every spec is compared with its text of the last change."""

from difflib import unified_diff

from lakehouse_assets.definitions import definitions
from lakehouse_assets_tests import specs

HELP = "Is this meant? Then write the new text: .venv/bin/python -m lakehouse_assets_tests.specs"


def test_every_asset_check_job_schedule_and_sensor_is_as_it_was() -> None:
    was, now = specs.FILE.read_text(encoding="utf-8"), specs.text_of(definitions)
    changes = unified_diff(was.splitlines(), now.splitlines(), "specs.txt", "definitions", lineterm="", n=2)
    assert was == now, "\n".join([HELP, *changes])
