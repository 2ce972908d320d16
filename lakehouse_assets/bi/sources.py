"""What a chart reads, as a dataset of the warehouse: a table, or SQL over it that Superset fills in (Jinja)."""

from dataclasses import dataclass

from lakehouse_assets.bi.declaration import AS_OF, Newest, Rows
from lakehouse_assets.serving.warehouse_schema import postgres_type
from lakehouse_assets.serving.warehouse_tables import fields_of, place

AS_OF_SAID = "day whose knowledge is shown; newest: no day was chosen"
TIMES = ("date", "timestamp")
ABBREVIATIONS = frozenset({"gmv", "id", "sk"})


@dataclass(frozen=True)
class Column:
    """A column of a dataset: its type in PostgreSQL and what the contract says it is."""

    name: str
    kind: str
    comment: str

    @property
    def is_time(self) -> bool:
        """Whether a range of days can be asked of it."""
        return self.kind.startswith(TIMES)


@dataclass(frozen=True)
class Dataset:
    """A table of the warehouse, or a query that is read like one (`sql`). `schema` and `name` identify it."""

    schema: str
    name: str
    about: str
    columns: tuple[Column, ...]
    day: str | None = None
    sql: str | None = None


def dataset(source: Rows) -> Dataset:
    """The dataset of a source."""
    schema, name = place(source.table)
    contract = source.table.compiled
    columns = tuple(
        Column(field.name, postgres_type(field.dataType), contract.comments[field.name])
        for field in fields_of(source.table)
    )
    if not isinstance(source, Newest):
        return Dataset(schema, name, contract.description, columns, source.day)
    if source.known_on:
        columns = (*columns, _as_of_column())
        return Dataset(schema, f"{name} as of", contract.description, columns, source.day, _newest(source))
    return Dataset(schema, f"{name} newest", contract.description, columns, source.day, _newest(source))


def in_words(column: str) -> str:
    """A column's name as a person reads it: `product_id` is `Product ID`."""
    words = [word.upper() if word in ABBREVIATIONS else word for word in column.split("_")]
    return words[0][:1].upper() + " ".join(words)[1:]


def known_days(source: Newest) -> Dataset:
    """The days as of which a source can be had: every day from the first on which something was known to the last."""
    schema, name = place(source.table)
    sql = (
        f"SELECT to_char(day, 'YYYY-MM-DD') AS \"{AS_OF}\"\n"  # noqa: S608  (names come from the declaration)
        f"FROM (SELECT min({_quoted(source.known_on or '')}) AS first, max({_quoted(source.known_on or '')}) AS last\n"
        f"      FROM {_place(source)}) AS known,\n"
        "     generate_series(known.first, known.last, interval '1 day') AS days(day)"
    )
    return Dataset(
        schema, f"{name} days", f"Days as of which {schema}.{name} can be had.", (_as_of_column(),), None, sql
    )


def _as_of_column() -> Column:
    return Column(AS_OF, "text", AS_OF_SAID)


def _newest(source: Newest) -> str:
    """Rows of which none of the same group is newer; with `known_on` among those known on the day that was chosen."""
    columns = [_quoted(field.name) for field in fields_of(source.table)]
    shown, before, condition = list(columns), "", ""
    if source.known_on:
        # The chosen value is text of a person: where_in writes it as a literal, the cast refuses what is no day.
        day = "CAST({{ chosen[:1] | where_in }} AS date)"
        before = f"{{% set chosen = filter_values('{AS_OF}', remove_filter=True) %}}"
        shown.append(f"{{% if chosen %}}CAST({day} AS text){{% else %}}'newest'{{% endif %}} AS \"{AS_OF}\"")
        condition = f"\n  {{% if chosen %}}WHERE {_quoted(source.known_on)} <= {day}{{% endif %}}"
    groups = ", ".join(map(_quoted, source.of))
    order = ", ".join(f"{_quoted(column)} {direction}" for column, direction in source.by)
    return (
        f"{before}SELECT {', '.join(shown)}\nFROM (\n"  # noqa: S608  (names come from the declaration)
        f"  SELECT {', '.join(columns)}, rank() OVER (PARTITION BY {groups} ORDER BY {order}) AS place_\n"
        f"  FROM {_place(source)}{condition}\n) AS ranked\nWHERE place_ = 1"
    )


def _place(source: Rows) -> str:
    return ".".join(map(_quoted, place(source.table)))


def _quoted(name: str) -> str:
    return f'"{name}"'
