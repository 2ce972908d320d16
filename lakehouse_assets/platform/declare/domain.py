"""A domain: one object from which all of its tables are declared, in any module of its folder.

    SHOP = Domain("shop", first_day=date(2024, 1, 1))

    orders = SHOP.source(Orders, Files(day_column="delivered"))

    @SHOP.gold(DailySales, orders=day(orders.silver))
    def daily_sales(orders: DataFrame) -> DataFrame: ...

A table's key is the domain's name, the layer and the name of the function, or of the contract: of `ProductItem` the
table is `product_item`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lakehouse_assets.platform.common.file_layout import Parquet
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.contracts.casting import parse
from lakehouse_assets.platform.contracts.contract import Contract, landed_contract
from lakehouse_assets.platform.declare.declaration_checks import fault_of_domain, faults_of_options
from lakehouse_assets.platform.declare.source_files import EventFiles, Files
from lakehouse_assets.platform.declare.stream_source import StreamSource
from lakehouse_assets.platform.declare.table import (
    LANDING_LAYER,
    PUBLISHED_LAYER,
    DeclarationError,
    Publish,
    Read,
    ReplaceDays,
    Table,
    TableKey,
    Write,
    day,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Rows = Callable[["DataFrame"], "DataFrame"]
INPUT = "landed"
"""The name under which the functions of a source take their rows."""


@dataclass(frozen=True, eq=False)
class Source:
    """A declared source: the landed rows as they came, and the same rows typed."""

    bronze: Table
    silver: Table


@dataclass(frozen=True)
class Layer:
    """Declares the functions of a domain as tables of one layer."""

    domain: str
    name: str

    def __call__(
        self,
        contract: type[Contract],
        /,
        *,
        write: Write | Read | None = None,
        reconciles: str | Read | None = None,
        co_materialized: tuple[Table, ...] | Read = (),
        sla: timedelta | Read | None = None,
        parquet: Parquet | Read | None = None,
        publish: Publish | Read | None = None,
        inputs: Mapping[str, Read] | Read = MappingProxyType({}),
        **reads: Read,
    ) -> "Callable[[Callable[..., DataFrame]], Table]":
        """Declare the decorated function as a table.

        `reconciles` names the input whose rows must all arrive: in the table, in quarantine or among the exact
        duplicates. `co_materialized` are plain tables refreshed in the same step. `sla`: how long after a day's end its
        data must be there (`sla.py`). `parquet`: the layout of its files. `publish`: to the warehouse, as gold is
        anyway. An input may be called as one of these, in `inputs` where the option is given too. Raises
        DeclarationError.
        """
        options: dict[str, Any] = {
            "write": write,
            "reconciles": reconciles,
            "co_materialized": co_materialized,
            "sla": sla,
        }
        options |= {"parquet": parquet, "publish": publish, "inputs": inputs}
        named = {name: option for name, option in options.items() if isinstance(option, Read)}
        given = {name: option for name, option in options.items() if option is not None and name not in named}
        reads |= given.pop("inputs", {}) | named

        def declare(function: "Callable[..., DataFrame]") -> Table:
            key = TableKey(self.domain, self.name, function.__name__)
            if key.layer == PUBLISHED_LAYER:
                given.setdefault("publish", Publish())
            return Table(key, contract, function, MappingProxyType(reads), **given)

        _refuse(f"{self.domain}/{self.name}", contract, reads, tuple(options))
        return declare


@dataclass(frozen=True)
class Domain:
    """A data product, called as its folder. `first_day`: its first feed day; `zone`: the time zone of its days.

    `drop_folder`: its files are taken from a folder by day (`drop_folder.py`), when they lie there.
    """

    name: str
    first_day: date
    zone: str = "UTC"
    drop_folder: bool = False

    def __post_init__(self) -> None:
        """Raises DeclarationError."""
        if fault := fault_of_domain(self.name, self.first_day):
            raise DeclarationError(fault)
        try:
            SourceDays(self.first_day, zone=self.zone)
        except ValueError as error:
            raise DeclarationError(f"Domain {self.name!r}: {error}") from error

    @property
    def days(self) -> SourceDays:
        """The days that its sources can have."""
        return SourceDays(self.first_day, zone=self.zone)

    def key(self, layer: str, name: str) -> TableKey:
        """The key of one of its tables."""
        return TableKey(self.name, layer, name)

    @property
    def silver(self) -> Layer:
        """Declares a function as a table of silver: what the domain knows, typed and cleaned."""
        return Layer(self.name, "silver")

    @property
    def gold(self) -> Layer:
        """Declares a function as a table of gold: what is read, and published to the warehouse."""
        return Layer(self.name, PUBLISHED_LAYER)

    def bronze(
        self,
        contract: type[Contract],
        files: Files,
        *,
        name: str | None = None,
        columns: tuple[str, ...] | None = None,
        days: SourceDays | None = None,
        rows: Rows | None = None,
        write: Write | None = None,
        stream: StreamSource | None = None,
        sla: timedelta | None = None,
        parquet: Parquet | None = None,
    ) -> Table:
        """Declare landed files and their bronze table: its rows as they came, or as `rows` lays them out.

        `columns`: those of the files, where they are not the contract's source columns. `days`: those that the files
        can have, where they are not the domain's. `stream`: what else brings rows into the table.
        Raises DeclarationError.
        """
        key = self.key("bronze", name or _name_of(contract))
        _refuse(str(key), contract, files=files)
        try:
            named = columns or _source_columns(contract)
            of = files if isinstance(files, EventFiles) else files.of(named, days or self.days)
        except ValueError as error:
            raise DeclarationError(f"{key}: {error}") from error
        return Table(
            key,
            contract,
            rows or _as_they_came,
            MappingProxyType({INPUT: day(self.key(LANDING_LAYER, key.name))}),
            write=write or ReplaceDays(),
            reconciles=INPUT,
            source=of,
            stream=stream,
            sla=sla,
            parquet=parquet,
        )

    def source(
        self,
        contract: type[Contract],
        files: Files,
        *,
        name: str | None = None,
        delivered: type[Contract] | None = None,
        days: SourceDays | None = None,
        silver: Rows | None = None,
        write: Write | None = None,
        sla: timedelta | None = None,
        parquet: Parquet | None = None,
        publish: Publish | None = None,
    ) -> Source:
        """Declare a source by the contract of its typed rows: its landed files, its bronze and its silver table.

        Silver are the rows of bronze, read as the contract says; or what the function `silver` makes of them.
        `delivered`: the contract of the files, where silver has not all of their columns. `days`: those that the files
        can have, where they are not the domain's. `sla` and `parquet` are of
        bronze, `write` and `publish` of silver. Every row that was landed must arrive in silver, in its quarantine, or
        among the exact duplicates. Raises DeclarationError.
        """
        called = name or _name_of(contract)
        _refuse(str(self.key("silver", called)), contract, files=files)
        landed = landed_contract(f"Landed{contract.__name__}", delivered or contract)
        bronze = self.bronze(landed, files, name=called, days=days, sla=sla, parquet=parquet)
        typed = Table(
            self.key("silver", called),
            contract,
            silver or _typed(contract),
            MappingProxyType({INPUT: day(bronze)}),
            write=write or ReplaceDays(),
            reconciles=INPUT,
            publish=publish,
        )
        return Source(bronze, typed)


def _refuse(
    place: str,
    contract: object,
    reads: Mapping[str, object] = MappingProxyType({}),
    options: tuple[str, ...] = (),
    files: Files | None = None,
) -> None:
    """Raises DeclarationError for arguments of another kind than are meant."""
    if not (isinstance(contract, type) and issubclass(contract, Contract)):
        given = getattr(contract, "__name__", repr(contract))
        raise DeclarationError(f"{place}: {given} is no contract; declare it by a class of Contract")
    if files is not None and not isinstance(files, Files):
        raise DeclarationError(f"{place}: {files!r} does not say how files are delivered; write Files(…)")
    for wrong in faults_of_options(reads, options, Read):
        raise DeclarationError(f"{place}: {wrong}")


def _name_of(contract: type[Contract]) -> str:
    """`ProductItem`: product_item."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", getattr(contract, "__name__", "")).lower()


def _source_columns(contract: type[Contract]) -> tuple[str, ...]:
    return tuple(contract.compiled().source_columns)


def _as_they_came(landed: "DataFrame") -> "DataFrame":
    return landed


def _typed(contract: type[Contract]) -> Rows:
    def typed(landed: "DataFrame") -> "DataFrame":
        return parse(landed, contract)

    return typed
