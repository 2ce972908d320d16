"""What `dg scaffold defs` writes: a source or a table to begin with, and its domain where there is none yet.

dg scaffold defs lakehouse_assets.scaffold.source shop/orders.py --sample orders.csv --day-column delivered
dg scaffold defs lakehouse_assets.scaffold.table shop/daily_sales.py --reads orders
"""

import ast
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import TYPE_CHECKING, Any, Literal

import click
import dagster as dg
from dagster.components.scaffold.scaffold import scaffold_with
from pydantic import BaseModel

if TYPE_CHECKING:
    import duckdb

FIRST_DAY = "2024-01-01"
TYPES = {
    "BIGINT": "T.LongType",
    "DATE": "T.DateType",
    "TIMESTAMP": "T.TimestampNTZType",
    "DOUBLE": "T.DoubleType",
    "BOOLEAN": "T.BooleanType",
}
"""Spark's types of the types that DuckDB reads in a file; all else is text."""
MOST_DECIMALS = 6
"""A number with so many decimals at most, as a sample writes it, is exact: a DECIMAL."""


class SourceParameters(BaseModel):
    """`sample`: a file of the source, whose columns are taken. `first_day`: of a new domain."""

    sample: str | None = None
    day_column: str | None = None
    first_day: str = FIRST_DAY


class TableParameters(BaseModel):
    """`reads`: names of silver tables of the same domain, or `gold/name`."""

    reads: list[str] = []
    layer: Literal["silver", "gold"] = "gold"


@dataclass(frozen=True)
class Place:
    """A new module in the folder of a domain: `<defs>/<domain>/<name>.py`."""

    file: Path

    @property
    def name(self) -> str:
        """The table's name."""
        return self.file.stem

    @property
    def contract(self) -> str:
        """The name of its class."""
        return "".join(word.capitalize() for word in self.name.split("_"))

    @property
    def domain(self) -> str:
        """The name of the domain."""
        return self.file.parent.name

    def check(self) -> None:
        """Raises ClickException where no table can be called so."""
        if self.file.suffix != ".py" or not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*", self.name):
            raise click.ClickException(f"{self.file}: name the new module as its table, as shop/daily_sales.py")

    def domain_object(self) -> tuple[str, str]:
        """The module of the domain's object, relative to its folder, and its name. Raises ClickException."""
        for file in sorted(self.file.parent.glob("*.py")):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                match node:
                    case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="Domain"))):
                        return "." if file.name == "__init__.py" else f".{file.stem}", name
        raise click.ClickException(
            f"{self.file.parent} has no Domain. Begin with a source: "
            f"dg scaffold defs lakehouse_assets.scaffold.source {self.domain}/<source>.py"
        )

    def write(self, text: str) -> None:
        """Write the module."""
        self.file.write_text(text, encoding="utf-8")

    @contextmanager
    def without_folder(self) -> Iterator[None]:
        """Take away the empty folder that dg makes of the path, also where nothing is written in its place."""
        if self.file.is_dir():
            self.file.rmdir()
        try:
            yield
        finally:
            if not self.file.exists() and self.file.parent.is_dir() and not any(self.file.parent.iterdir()):
                self.file.parent.rmdir()


class SourceScaffolder(dg.Scaffolder[SourceParameters]):
    """Writes the contract and the declaration of a source, and the domain's object where its folder has none."""

    @classmethod
    def get_scaffold_params(cls) -> type[SourceParameters]:
        """What the command takes."""
        return SourceParameters

    def scaffold(self, request: dg.ScaffoldRequest[SourceParameters]) -> None:
        """Raises ClickException."""
        place, given = Place(request.target_path), request.params
        with place.without_folder():
            place.check()
            columns = columns_of(Path(given.sample)) if given.sample else [SampledColumn("id", "id", "T.LongType")]
            names = [column.name for column in columns]
            if given.day_column and given.day_column not in names:
                raise click.ClickException(
                    f"--day-column {given.day_column} is none of its columns: {', '.join(names)}"
                )
            package = place.file.parent / "__init__.py"
            if not package.exists():
                package.write_text(_domain_text(place, given.first_day), encoding="utf-8")
            place.write(_source_text(place, columns, given.day_column))


class TableScaffolder(dg.Scaffolder[TableParameters]):
    """Writes the contract and the function of a derived table."""

    @classmethod
    def get_scaffold_params(cls) -> type[TableParameters]:
        """What the command takes."""
        return TableParameters

    def scaffold(self, request: dg.ScaffoldRequest[TableParameters]) -> None:
        """Raises ClickException."""
        place = Place(request.target_path)
        with place.without_folder():
            place.check()
            place.write(_table_text(place, request.params))


@scaffold_with(SourceScaffolder)
def source() -> None:
    """A source: landed files, bronze and silver from one contract."""


@scaffold_with(TableScaffolder)
def table() -> None:
    """A derived table: a contract and a function."""


@dataclass(frozen=True)
class SampledColumn:
    """A column of a sample: what it is called in the file and here, and its type; whether values of it are missing."""

    given: str
    name: str
    type: str
    nullable: bool = False

    @property
    def declared(self) -> str:
        """Its line in the contract."""
        options = "source=True, nullable=True" if self.nullable else "source=True"
        return f'{self.name}: {self.type} = column("{self.name}", {options})'


def columns_of(sample: Path) -> list[SampledColumn]:
    """The columns of a file. Raises ClickException."""
    import duckdb

    try:
        with duckdb.connect(":memory:") as connection:
            read = _read(connection, sample)
            types = dict(zip(read.columns, map(str, read.types), strict=True))
            rows = read.fetchall()
    except duckdb.Error as error:
        raise click.ClickException(f"{sample}: cannot be read: {str(error).splitlines()[0]}") from error
    return [
        SampledColumn(given, _plain_name(given), _type(kind, values), nullable=None in values)
        for (given, kind), values in zip(
            types.items(), zip(*rows, strict=True) if rows else [()] * len(types), strict=True
        )
    ]


def _plain_name(given: str) -> str:
    """`orderId` and `order id`: order_id."""
    return re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", given)).lower()


def _type(kind: str, values: Sequence[Any]) -> str:
    """Spark's type; of numbers with few decimals one that keeps them exactly."""
    if kind == "DOUBLE":
        decimals = max((len(repr(value).partition(".")[2]) for value in values if value is not None), default=0)
        if decimals <= MOST_DECIMALS and not any("e" in repr(value) for value in values):
            return f"Annotated[T.DecimalType, 18, {max(2, decimals)}]"
    return TYPES.get(kind, "T.StringType")


def _read(connection: "duckdb.DuckDBPyConnection", sample: Path) -> "duckdb.DuckDBPyRelation":
    match sample.suffix.lower():
        case ".parquet":
            return connection.read_parquet(str(sample))
        case ".json" | ".jsonl" | ".ndjson":
            return connection.read_json(str(sample))
        case _:
            return connection.read_csv(str(sample))


def _domain_text(place: Place, first_day: str) -> str:
    year, month, day = map(int, first_day.split("-"))
    return dedent(f'''\
        """{place.domain.capitalize()}."""

        from datetime import date

        from lakehouse_assets.declare import Domain

        {place.domain.upper()} = Domain("{place.domain}", first_day=date({year}, {month}, {day}))
        ''')


def _source_text(place: Place, columns: Sequence[SampledColumn], day_column: str | None) -> str:
    module, domain = place.domain_object()
    fields = "\n".join(column.declared for column in columns)
    renamed = {column.given: column.name for column in columns if column.given != column.name}
    annotated = "from typing import Annotated\n\n" if "Annotated" in fields else ""
    options = [
        f'day_column="{day_column}"' if day_column else "day_in_name=True",
        *(["drift=NAMES"] if renamed else []),
    ]
    aliases = "".join(f'\n        ("{theirs}", "{ours}"),' for theirs, ours in renamed.items())
    drift = f"NAMES = Drift(\n    aliases=({aliases}\n    )\n)\n" if renamed else ""
    names = ", ".join(sorted(["Files", "SilverEvent", "column", "table_metadata", *(["Drift"] if renamed else [])]))
    return f'''"""{place.contract} of {place.domain}."""

{annotated}import pyspark.sql.types as T

from lakehouse_assets.declare import {names}

from {module} import {domain}


class {place.contract}(SilverEvent):
    """{place.contract}."""

{indent(fields, "    ")}

    class Config:
        metadata = table_metadata(owners=("team:{place.domain}",))


{drift}{place.name} = {domain}.source({place.contract}, Files({", ".join(options)}))
'''


def _table_text(place: Place, given: TableParameters) -> str:
    module, domain = place.domain_object()
    named = {read.rpartition("/")[2]: read.rpartition("/")[0] or "silver" for read in given.reads}
    if not named:
        raise click.ClickException("Say what the table reads, as --reads orders")
    inputs = "".join(f', {name}=day({domain}.key("{layer}", "{name}"))' for name, layer in named.items())
    parameters = ", ".join(f"{name}: DataFrame" for name in named)
    return f'''"""{place.contract} of {place.domain}."""

import pyspark.sql.types as T
from pyspark.sql import DataFrame

from lakehouse_assets.declare import Action, Contract, column, day, table_metadata

from {module} import {domain}


class {place.contract}(Contract):
    """{place.contract}."""

    feed_day: T.DateType = column("feed day", action=Action.FAIL)

    class Config:
        metadata = table_metadata(owners=("team:{place.domain}",))


@{domain}.{given.layer}({place.contract}{inputs})
def {place.name}({parameters}) -> DataFrame:
    """{place.contract}."""
    return {next(iter(named))}.select("feed_day").distinct()
'''
