"""A contract compiled: the Spark schema and the rules that follow from the pandera model, computed once per class."""

import re
import typing
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, partial
from inspect import cleandoc
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import pyspark.sql.types as T

from lakehouse_assets.platform.contracts.check_sql import check_sql
from lakehouse_assets.platform.contracts.contract_facts import METADATA, ColumnMetadata, RowRule, TableMetadata
from lakehouse_assets.platform.contracts.day_rules import UNIQUE, day_rule, has_sql
from lakehouse_assets.platform.contracts.rules import Action, ContractError, Dimension, Rate, Rule

if TYPE_CHECKING:
    import dagster as dg
    import pandera.pyspark as pa
    from pyspark.sql import Column

    Model: TypeAlias = type[pa.DataFrameModel[Any]]

MALFORMED = "_malformed"
KEY_RULE = "key:unique"
TEXT_FORMS = (
    "string",
    "tinyint",
    "smallint",
    "int",
    "bigint",
    "float",
    "double",
    "decimal",
    "date",
    "timestamp_ntz",
    "boolean",
)
DOCUMENT = "document"
DOCUMENT_RULE = Rule(
    name=f"{DOCUMENT}:parses",
    column=None,
    dimension=Dimension.SCHEMA,
    action=Action.QUARANTINE,
    tolerate=Rate(),
    description="the record is one JSON object: nothing follows it, and no key is in it twice",
    sql=f"array_contains({MALFORMED}, '{DOCUMENT}')",
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, eq=False)
class CompiledContract:
    """The facts of a table in the form in which the platform uses them."""

    name: str
    description: str
    spark_schema: T.StructType
    rules: tuple[Rule, ...]
    key: tuple[str, ...]
    event_time: str | None
    fresh_within: timedelta | None
    owners: tuple[str, ...]
    comments: Mapping[str, str]
    source_columns: tuple[str, ...]
    pii: frozenset[str]
    pseudonyms: frozenset[str]
    decimal_marks: Mapping[str, str]
    derived_from: Mapping[str, tuple[str, ...]]
    may_be_empty: bool = False
    coerced: frozenset[str] = frozenset()

    @property
    def of_rows(self) -> tuple[Rule, ...]:
        """The rules that each row keeps or breaks by itself or beside others."""
        return tuple(rule for rule in self.rules if rule.passes is None)

    @property
    def of_day(self) -> tuple[Rule, ...]:
        """The rules of whole days, which Pandera judges."""
        return tuple(rule for rule in self.rules if rule.passes is not None)

    @property
    def deciding(self) -> tuple[object, ...]:
        """What decides on rows: columns, rules, key, the form of the source; neither descriptions nor owners."""
        columns = tuple((field.name, field.dataType.json(), field.nullable) for field in self.spark_schema)
        rules = tuple((r.name, r.action.value, r.tolerate.above, r.tolerate.at_least, r.sql) for r in self.rules)
        of_source = (self.source_columns, tuple(sorted(self.decimal_marks.items())), tuple(sorted(self.pii)))
        empty = ("may be empty",) if self.may_be_empty else ()
        return columns, rules, self.key, self.event_time, of_source, *empty

    @property
    def personal(self) -> frozenset[str]:
        """Columns that say whose a row is, by name or by pseudonym: neither samples nor statistics show them."""
        return self.pii | self.pseudonyms

    def dagster_columns(self) -> "dg.TableSchema":
        """The columns for Dagster's catalog: types, descriptions, and each rule as a constraint."""
        import dagster as dg

        def constraints(of: T.StructField) -> dg.TableColumnConstraints:
            descriptions = [
                r.description for r in self.rules if r.column == of.name and not r.name.endswith(":not_null")
            ]
            unique = self.key == (of.name,) or any(r.name == f"{of.name}:{UNIQUE}" for r in self.rules)
            return dg.TableColumnConstraints(nullable=of.nullable, unique=unique, other=descriptions)

        columns = [
            dg.TableColumn(f.name, f.dataType.simpleString(), self.comments[f.name], constraints(f))
            for f in self.spark_schema
        ]
        over_rows = [rule.description for rule in self.rules if rule.column is None]
        return dg.TableSchema(columns, constraints=dg.TableConstraints(other=over_rows))


@cache
def compile_contract(contract: "Model") -> CompiledContract:
    """Compile a model. Raises ContractError for a check that makes no sense and for facts that name no column."""
    model = contract.to_schema()
    declared = model.columns
    types = _types(contract)
    table_metadata = {name: _facts(contract, name, column) for name, column in declared.items()}
    # The source's columns first, as people expect them, though those of a base class are declared before.
    columns = {name: declared[name] for name in sorted(declared, key=lambda name: not table_metadata[name].source)}
    table = ((contract.__config__ and contract.__config__.metadata) or {}).get(METADATA, TableMetadata())
    schema = T.StructType(
        [
            T.StructField(name, types[name], column.nullable, {"comment": column.description})
            for name, column in columns.items()
        ]
    )
    rules: list[Rule] = []
    for name in columns:
        rules += _column_rules(model, name, types[name].simpleString(), table_metadata[name])
    whole = bool(contract.__config__ and contract.__config__.coerce)
    row_rules = _row_rules(contract)
    rules += [_row_rule(contract, name, rule) for name, rule in row_rules.items()]
    rules += [day_rule(check, model) for check in model.checks if check.name not in row_rules]
    if table.documents:
        rules.append(DOCUMENT_RULE)
    if table.key:
        rules.append(_key_rule(table))
    _check_table(contract, table, schema)
    if twice := [name for name, count in Counter(rule.name for rule in rules).items() if count > 1]:
        raise ContractError(f"{contract.__name__}: two rules are called {twice[0]}; give one another name.")
    return CompiledContract(
        name=contract.__name__,
        description=cleandoc(contract.__doc__ or ""),
        spark_schema=schema,
        rules=tuple(rules),
        key=table.key,
        event_time=table.event_time,
        fresh_within=table.fresh_within,
        owners=table.owners,
        comments=MappingProxyType({name: column.description for name, column in columns.items()}),
        source_columns=tuple(name for name, fact in table_metadata.items() if fact.source),
        pii=frozenset(name for name, fact in table_metadata.items() if fact.pii),
        pseudonyms=frozenset(name for name, fact in table_metadata.items() if fact.pseudonym),
        decimal_marks=MappingProxyType(
            {n: f.decimal_mark for n, f in table_metadata.items() if f.decimal_mark is not None}
        ),
        derived_from=MappingProxyType(
            {name: fact.derived_from for name, fact in table_metadata.items() if fact.derived_from}
        ),
        may_be_empty=table.may_be_empty,
        coerced=frozenset(name for name, fact in table_metadata.items() if fact.coerce or whole),
    )


def _types(contract: "Model") -> dict[str, T.DataType]:
    """Spark types from the annotations: pandera's own types cannot tell TIMESTAMP_NTZ from TIMESTAMP."""
    found = {}
    for name, hint in typing.get_type_hints(contract, include_extras=True).items():
        base, *given = typing.get_args(hint) or (hint,)
        kind = base(*given) if isinstance(base, type) and issubclass(base, T.DataType) else base
        if isinstance(kind, T.DataType):
            found[name] = kind
    return found


def _facts(contract: "Model", name: str, column: Any) -> ColumnMetadata:
    where = f"{contract.__name__}.{name}"
    table_metadata = (column.metadata or {}).get(METADATA)
    if not isinstance(table_metadata, ColumnMetadata):
        raise ContractError(f'{where}: declare it with column("what it is", …), so that it has a description.')
    if _NAME.fullmatch(name) is None:
        raise ContractError(f"{where}: a column name is letters, digits and underscores, and begins with a letter.")
    if not column.required:
        raise ContractError(f"{where}: a column of a table is always there; use nullable=True instead of Optional.")
    return table_metadata


def _column_rules(model: Any, name: str, type_name: str, table_metadata: ColumnMetadata) -> Iterator[Rule]:
    column = model.columns[name]
    # A value that cannot be stored cannot be waved through either, so WARN is for values only.
    strict = Action.FAIL if table_metadata.action is Action.FAIL else Action.QUARANTINE
    rule = partial(Rule, column=name, tolerate=table_metadata.tolerate)
    if table_metadata.source and type_name.partition("(")[0] not in TEXT_FORMS:
        raise ContractError(
            f"{name}: a source's text cannot be parsed as {type_name}; use one of {', '.join(TEXT_FORMS)}."
        )
    if table_metadata.parsed or (table_metadata.source and type_name != "string"):
        yield rule(
            name=f"{name}:parses",
            dimension=table_metadata.dimension or Dimension.VALIDITY,
            action=strict,
            description=f"{name}: the source's text is {'a list' if type_name == 'string' else f'a {type_name}'}",
            sql=f"array_contains({MALFORMED}, '{name}')",
        )
    if not column.nullable:
        yield rule(
            name=f"{name}:not_null",
            dimension=table_metadata.dimension or Dimension.COMPLETENESS,
            action=strict,
            description=f"{name} is not null",
            sql=f"{name} IS NULL",
        )
    for check in column.checks:
        if not has_sql(check):
            yield day_rule(check, model, name, table_metadata.of_day, table_metadata.dimension)
            continue
        keyword, sql = check_sql(check.name, check.statistics or {}, name, type_name)
        yield rule(
            name=f"{name}:{keyword}",
            dimension=table_metadata.dimension or Dimension.VALIDITY,
            action=table_metadata.action,
            description=f"{name}: {check.error or keyword}",
            sql=sql,
        )


def _row_rules(contract: "Model") -> dict[str, RowRule]:
    """Row rules of the class and its bases by name; a subclass may replace one."""
    found = {}
    for base in reversed(contract.__mro__):
        for name, attribute in vars(base).items():
            declared = getattr(attribute, "__row_rule__", None)
            if isinstance(declared, RowRule):
                found[name] = declared
    return found


def _row_rule(contract: "Model", name: str, declared: RowRule) -> Rule:
    rule = Rule(
        name=name,
        column=None,
        dimension=declared.dimension,
        action=declared.action,
        tolerate=declared.tolerate,
        description=declared.description,
        sql=f"array_contains(_broken, '{name}')",
    )
    if declared.is_sql:
        expression = declared.fine(contract)
        return replace(rule, sql=f"NOT ({expression})", expression=expression)

    def fine() -> "Column":
        return declared.fine(contract)

    return replace(rule, fine=fine)


def _key_rule(table: TableMetadata) -> Rule:
    key = ", ".join(table.key)
    others = ", ".join(name for name in table.key if name != "feed_day")
    return Rule(
        name=KEY_RULE,
        column=None,
        dimension=Dimension.UNIQUENESS,
        action=table.key_action,
        tolerate=table.key_tolerate,
        description=f"one row per {others} and feed day" if others else "one row per feed day",
        sql=f"count(*) OVER (PARTITION BY feed_day, {key}) > 1",  # for QUALIFY; the pass itself keeps the first row
    )


def _check_table(contract: "Model", table: TableMetadata, schema: T.StructType) -> None:
    named = [*table.key, *([table.event_time] if table.event_time else [])]
    missing = sorted(set(named) - set(schema.names))
    if missing:
        raise ContractError(
            f"{contract.__name__}: table_metadata() names {', '.join(missing)}, which is no column of it."
        )
    nullable = [name for name in table.key if schema[name].nullable]
    if nullable:
        raise ContractError(f"{contract.__name__}: {', '.join(nullable)} may be NULL and so cannot be part of the key.")
    if table.event_time and schema[table.event_time].dataType.typeName() not in ("timestamp_ntz", "date"):
        raise ContractError(f"{contract.__name__}: event_time {table.event_time} must be a TIMESTAMP_NTZ or a DATE.")
