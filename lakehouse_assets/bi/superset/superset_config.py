"""Superset's configuration. What is secret comes from the environment, set by whoever starts it; nothing is stored.

SUPERSET_SECRET_KEY, SUPERSET_METADATA_URL (its own database) and SUPERSET_WAREHOUSE_URL (a login of the warehouse that
may only read) are required.
"""

import os
from typing import Any

from sqlalchemy.engine.url import URL, make_url
from superset.config import TALISMAN_CONFIG as SHIPPED  # it reads this file last

SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = os.environ["SUPERSET_METADATA_URL"]
WAREHOUSE = "warehouse.invalid"  # the host that the generated database file names

# Dashboards of a warehouse that changes while people look: nothing is answered from yesterday's cache.
DATA_CACHE_CONFIG: dict[str, Any] = {"CACHE_TYPE": "NullCache"}
FEATURE_FLAGS = {"ENABLE_TEMPLATE_PROCESSING": True}  # the as-of filter; only administrators write templates here
PREVENT_UNSAFE_DB_CONNECTIONS = True
WTF_CSRF_ENABLED = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
RATELIMIT_STORAGE_URI = "memory://"
SCHEDULED_QUERIES: dict[str, Any] = {}
ROW_LIMIT = 50_000
APP_NAME = "Lakehouse"
# Of states, from the best to the worst: no rows, passed, rows warned, rows quarantined, late, failed.
EXTRA_SEQUENTIAL_COLOR_SCHEMES: list[dict[str, Any]] = [
    {
        "id": "lakehouse_states",
        "description": "no rows, passed, rows warned, rows quarantined, late, failed",
        "label": "States of a day",
        "isDiverging": False,
        "colors": ["#e4e4e4", "#4caf6d", "#64a7dd", "#f4d35e", "#f08a24", "#c62828"],
    }
]
# Currencies that charts can show beside Superset's own.
CURRENCIES = ["BRL", "USD", "EUR", "GBP"]
LOG_LEVEL = "WARNING"
# Pages may load nothing from elsewhere, also not the picture by which Superset's makers count who uses it.
_OWN = ("'self'", "'unsafe-eval'", "'unsafe-inline'", "'strict-dynamic'", "'none'", "blob:", "data:")
TALISMAN_CONFIG = SHIPPED | {
    "content_security_policy": {
        directive: [source for source in sources if source in _OWN] if isinstance(sources, list) else sources
        for directive, sources in SHIPPED["content_security_policy"].items()
    }
}


def DB_CONNECTION_MUTATOR(
    uri: URL, params: dict[str, Any], username: str, security_manager: Any, source: Any
) -> tuple[URL, dict[str, Any]]:
    """Where the generated files say `warehouse`, the warehouse of this installation, in UTC and reading only."""
    if uri.host != WAREHOUSE:
        return uri, params
    options = "-c timezone=UTC -c default_transaction_read_only=on -c statement_timeout=60s"
    arguments = params.get("connect_args", {}) | {"options": options, "application_name": "superset"}
    return make_url(os.environ["SUPERSET_WAREHOUSE_URL"]), params | {"connect_args": arguments}
