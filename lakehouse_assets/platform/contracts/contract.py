"""What is known of a table, written once: a pandera model from which schema, rules, checks and docs are compiled.

class Purchase(Contract):
    \"\"\"Purchases as the marketplace reports them.\"\"\"

    purchase_id: T.LongType = column("purchase", source=True)
    value: T.DecimalType(18, 2) = column("total in BRL", source=True, nullable=True, ge=0)

    class Config:
        metadata = table_metadata(key=("purchase_id",), owners=("team:gmv",))

    @row_rule("a purchase of nothing has no value")
    def value_has_purchase(cls) -> str:
        return "purchase_id > 0 OR value = 0"
"""

import inspect
import typing
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal

import pandera.pyspark as pa
import pyspark.sql.types as T
from pandera.api.dataframe.model_components import FieldInfo
from pandera.errors import SchemaInitError

from lakehouse_assets.platform.contracts.check_sql import KEYWORDS
from lakehouse_assets.platform.contracts.compiled import CompiledContract, compile_contract
from lakehouse_assets.platform.contracts.contract_facts import METADATA, ColumnMetadata, RowRule, TableMetadata
from lakehouse_assets.platform.contracts.day_rules import keywords
from lakehouse_assets.platform.contracts.pandera_model import PanderaModel
from lakehouse_assets.platform.contracts.rules import Action, ContractError, Dimension, Rate, Rule

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = [
    "Action",
    "CompiledContract",
    "Contract",
    "ContractError",
    "Dimension",
    "Rate",
    "Rule",
    "column",
    "compile_contract",
    "landed_contract",
    "row_rule",
    "table_metadata",
]

SPARK_TYPES = {
    "str": "T.StringType",
    "int": "T.LongType",
    "float": "T.DoubleType",
    "bool": "T.BooleanType",
    "bytes": "T.BinaryType",
    "date": "T.DateType",
    "datetime": "T.TimestampNTZType",
    "Decimal": "Annotated[T.DecimalType, 18, 2]",
}
PROVENANCE = ("source_file", "row_number", "feed_day", "landing")


class Contract(PanderaModel):
    """Base of every table's contract. The docstring of a contract is the table's description."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Compile the contract where it is written, so that a mistake in it is an error there. Raises ContractError."""
        config = cls.__dict__.get("Config")
        metadata = getattr(config, "metadata", None) or {}
        key = list(metadata[METADATA].key) if METADATA in metadata else []
        if getattr(config, "unique", None) not in (None, key):
            raise ContractError(
                f"{cls.__name__}: say what is unique by table_metadata(key=…), or by unique=True of a column."
            )
        if METADATA in metadata:
            cls.Config.unique = key or None
        _check_annotations(cls)
        try:
            super().__init_subclass__(**kwargs)  # type: ignore[no-untyped-call]
            compile_contract(cls)
        except (SchemaInitError, TypeError) as error:
            raise ContractError(f"{cls.__name__}: {error}") from error

    @classmethod
    def compiled(cls) -> CompiledContract:
        """This contract, compiled."""
        return compile_contract(cls)


def _check_annotations(contract: type[Contract]) -> None:
    """Each column says its type, and that is Spark's. Raises ContractError."""
    own = vars(contract).get("__annotations__", {})
    unsaid = [name for name, value in vars(contract).items() if isinstance(value, FieldInfo) and name not in own]
    hints = typing.get_type_hints(contract, include_extras=True)
    for name in (*unsaid, *own):
        where = f"{contract.__name__}.{name}"
        if name in unsaid:
            raise ContractError(f"{where} has no type: write {name}: T.StringType = column(…), or another Spark type.")
        hint = hints[name]
        if name.startswith("_") or typing.get_origin(hint) is typing.ClassVar:
            continue
        kind = (
            typing.get_args(hint)[0] if typing.get_origin(hint) in (typing.Annotated, typing.Union, UnionType) else hint
        )
        if not (isinstance(kind, T.DataType) or (isinstance(kind, type) and issubclass(kind, T.DataType))):
            message = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
            instead = SPARK_TYPES.get(message, "a type of pyspark.sql.types")
            raise ContractError(f"{where}: {message} is no Spark type; write {name}: {instead}.")
        if hint is T.DecimalType:
            raise ContractError(
                f"{where} says no precision, so Spark would round it to whole numbers; write {name}: "
                "Annotated[T.DecimalType, 18, 2], with the digits that it has."
            )


def column(
    description: str,
    *,
    nullable: bool = False,
    source: bool = False,
    action: Action | None = None,
    tolerate: Rate | None = None,
    dimension: Dimension | None = None,
    unique: bool = False,
    coerce: bool = False,
    pii: bool = False,
    pseudonym: bool = False,
    decimal_mark: Literal[".", ","] | None = None,
    derived_from: tuple[str, ...] = (),
    parsed: bool = False,
    **checks: Any,
) -> Any:
    """Declare a column; `checks` are pandera's: eq ne gt ge lt le in_range isin notin str_matches str_length ….

    `source`: the column comes from the source's file. `action`: the effect on a row whose value breaks a check
    (default: QUARANTINE); a missing or malformed value cannot be stored, so there WARN means QUARANTINE. Pandera
    evaluates registered checks and `unique` (no value twice in a feed day) on a whole day: they fail the day or warn
    (`day_rules.py`). `coerce`: `validate` too casts values of a narrower type to the declared one, as every step does;
    a lossy cast is refused. `decimal_mark`: the source's decimal mark; without it `1.234` is ambiguous and malformed.
    `pii`: personal data: not published, in no sample, without statistics. `pseudonym`: as `pii`, but published.
    `derived_from`: the columns that it derives from, as `input.column`; columns of the same name are found without it.
    `parsed`: it is read from a field of a document (`read_fields`, or `unreadable` of `parse`); a field that cannot be
    read breaks `:parses`. Raises ContractError.
    """
    known = KEYWORDS | keywords()
    unknown = sorted(set(checks) - known)
    if unknown:
        raise ContractError(f"{unknown[0]!r} is no check of a column; there are {', '.join(sorted(known))}.")
    if not description.strip():
        raise ContractError("A column needs a description: it is all that many readers will know of it.")
    declared = ColumnMetadata(
        action or Action.QUARANTINE,
        tolerate or Rate(),
        dimension,
        pii,
        source,
        decimal_mark,
        derived_from,
        pseudonym,
        parsed,
        of_day=action,
        unique=unique,
        coerce=coerce,
    )
    try:
        return pa.Field(nullable=nullable, description=description, metadata={METADATA: declared}, **checks)
    except (TypeError, ValueError, SchemaInitError) as error:
        raise ContractError(f"The checks of the column {description!r} make no sense: {error}") from error


def table_metadata(
    *,
    key: tuple[str, ...] = (),
    event_time: str | None = None,
    fresh_within: timedelta | None = None,
    owners: tuple[str, ...] = (),
    key_action: Action = Action.QUARANTINE,
    key_tolerate: Rate | None = None,
    may_be_empty: bool = False,
    documents: bool = False,
) -> dict[str, TableMetadata]:
    """Return the metadata of a table, for `Config.metadata`. A key is unique within a feed day and never NULL.

    `may_be_empty`: a day whose rows all go to quarantine is committed, empty; else it fails. `documents`: its
    rows are read from JSON documents; invalid JSON (`json_text.py`) breaks `document:parses`.
    """
    rate, unique = key_tolerate or Rate(), tuple(key)
    told = TableMetadata(unique, event_time, fresh_within, tuple(owners), key_action, rate, may_be_empty, documents)
    return {METADATA: told}


def row_rule(
    description: str | None = None,
    *,
    dimension: Dimension = Dimension.VALIDITY,
    action: Action = Action.QUARANTINE,
    tolerate: Rate | None = None,
) -> Callable[[Callable[..., Any]], Any]:
    """Declare a rule over several columns: a method whose expression is TRUE for a good row (NULL counts as good).

    It returns SQL (`-> str`), or a Spark Column (`-> Column`) if SQL is not enough; the return annotation decides,
    because a Column exists only while Spark is connected. For Pandera the rule is a check of the frame.
    """

    def declare(method: Callable[..., Any]) -> Any:
        fine = getattr(method, "__func__", method)
        returns = inspect.get_annotations(fine).get("return")
        returns = getattr(returns, "__name__", returns)
        if returns not in ("str", "Column"):
            raise ContractError(f"{fine.__qualname__}: say what it returns, `-> str` for SQL or `-> Column`.")

        def judge(cls: type[Contract], frame: "DataFrame") -> bool:
            from pyspark.sql import functions as F

            good = F.expr(fine(cls)) if returns == "str" else fine(cls)
            return frame.where(~good).limit(1).count() == 0

        judge.__name__, judge.__doc__ = fine.__name__, fine.__doc__
        message = description or inspect.getdoc(fine) or fine.__name__.replace("_", " ")
        checked = pa.dataframe_check(judge)
        checked.__row_rule__ = RowRule(fine, returns == "str", dimension, action, tolerate or Rate(), message)  # type: ignore[attr-defined]
        return checked

    return declare


@cache
def landed_contract(name: str, typed: type[Contract]) -> type[Contract]:
    """Return the contract of a table's landed rows: its source columns as text, with the provenance of each row.

    Raises ContractError when no column of `typed` comes from a source.
    """
    of = compile_contract(typed)
    if not of.source_columns:
        raise ContractError(f"{typed.__name__}: no column has source=True, so there is nothing to land.")
    clash = sorted(set(of.source_columns) & set(PROVENANCE))
    if clash:
        raise ContractError(
            f"{typed.__name__}: {clash[0]} is a column of every landed table; the source may not have it."
        )
    body: dict[str, Any] = {
        "__module__": typed.__module__,
        "__doc__": f"As it came, as text: {of.description}",
        "__annotations__": dict.fromkeys(of.source_columns, T.StringType),
        "Config": type("Config", (), {"metadata": table_metadata(owners=of.owners)}),
    }
    for source in of.source_columns:
        body[source] = column(of.comments[source], nullable=True, source=True, pii=source in of.pii)
    types = (T.StringType, T.LongType, T.DateType, T.IntegerType)
    says = (
        "landed file",
        "row of that file, from 1",
        "day on which the source delivered it",
        "number of the feed day's landing",
    )
    for provenance, kind, message in zip(PROVENANCE, types, says, strict=True):
        body["__annotations__"][provenance] = kind
        body[provenance] = column(message, action=Action.FAIL, dimension=Dimension.SCHEMA)
    return type(name, (Contract,), body)
