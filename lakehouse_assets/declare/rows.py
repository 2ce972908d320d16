"""What functions of tables make rows with: text read as types, JSON, pseudonyms, the rules of a contract."""

from lakehouse_assets.platform.common.json_text import document, json_fields, json_objects
from lakehouse_assets.platform.contracts.casting import parse, read_fields
from lakehouse_assets.platform.contracts.compiled import DOCUMENT, MALFORMED
from lakehouse_assets.platform.contracts.row_json import ROW
from lakehouse_assets.platform.ingest.pseudonyms import KEY_ID, pseudonymized
from lakehouse_assets.platform.validation.row_validation import passed_rows as passed_rows
from lakehouse_assets.platform.validation.row_validation import validate_rows as validated_rows

__all__ = [
    "DOCUMENT",
    "KEY_ID",
    "MALFORMED",
    "ROW",
    "document",
    "json_fields",
    "json_objects",
    "parse",
    "passed_rows",
    "pseudonymized",
    "read_fields",
    "validated_rows",
]
