"""The lake that the former version made, unpacked; continued as days come; and the same made by this version alone."""

import json
import shutil
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.streams.stream_ingest import drain_available
from lakehouse_assets.serving.query import query
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets.streaming.documents import Documents
from lakehouse_assets_tests.lake_driver import LakeDriver

ARCHIVE = Path(__file__).parent / "data" / "former_lake.tar.xz"
GMV = [date(2023, 1, 1) + timedelta(days=n) for n in range(5)]
LOYALTY = [date(2024, 2, 1) + timedelta(days=n) for n in range(7)]
ARRIVED = [date(2023, 5, 12) + timedelta(days=n) for n in range(3)]
EVENTS = ("product_item", "purchase", "purchase_extra_info")
CUSTOMERS = ("clientes", "transacao")
LEDGER = "gmv/gold/gmv"
OF_LOYALTY = [
    *[f"loyalty/{layer}/{of}" for layer in ("bronze", "silver") for of in CUSTOMERS],
    *[f"loyalty/gold/{of}" for of in ("dim_cliente", "fct_transacao", "points_balance")],
]
DOCUMENTS = "marketplace/bronze/marketing_place"
OF_DOCUMENTS = [f"marketplace/silver/{of}" for of in ("orders", "sellers", "products", "shipments")]


def unpack(folder: Path) -> Path:
    """The archive's folders below this one."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def plain(value: Any) -> Any:
    """A value as `expected.json` has it."""
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).replace(tzinfo=None).isoformat()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int) else str(value)


def in_order(rows: Iterator[Collection[Any]]) -> list[Any]:
    """Rows as `expected.json` has them."""
    return sorted(([plain(value) for value in row] for row in rows), key=json.dumps)


@dataclass
class Lakeside(LakeDriver):
    """A lake in a folder, the feeds, and what the sources deliver in what order."""

    feeds: Path = Path()

    @classmethod
    def of(cls, spark: SparkSession, folder: Path, feeds: Path) -> "Lakeside":
        """`folder` has `lake` and `landing`, or nothing yet."""
        found = LakeDriver.at(spark, folder)
        # Names of runs are not used again.
        return cls(spark, found.lake, found.catalog, runs=1000, feeds=feeds)

    @property
    def settings(self) -> Settings:
        """As of this process, for this lake."""
        return settings().model_copy(update={"root": Path(str(self.lake.tables)).parent})

    def sql(self, table: str, columns: Collection[str] = ("*",)) -> list[Any]:
        """Rows as `lakehouse sql` has them; `table` as it calls it."""
        return in_order(iter(query(self.settings, f"SELECT {', '.join(columns)} FROM {table}").rows))  # noqa: S608

    def deliver(self, tables: Collection[str], day: date, suffix: str = "", replace: bool = False) -> None:
        """Land the files of a day; `gmv/purchase` with suffix `_again` from the folder of that name."""
        for table in tables:
            for file in sorted((self.feeds / f"{table}{suffix}").glob(f"{day}.*")):
                self.land(table, file, day, replace=replace)

    def make_all(self, tables: Collection[str], days: Collection[date]) -> None:
        """The days of these tables, one table after the other."""
        for table in tables:
            outcome = self.make(table, days)
            assert not [day.reasons for day in outcome.days if day.reasons], table

    def purchases(self, days: Collection[date], of: Collection[str] = EVENTS) -> None:
        """Bronze and silver of events as they are landed."""
        self.make_all([f"gmv/{layer}/{name}" for layer in ("bronze", "silver") for name in of], days)

    def corrected(self, day: date) -> None:
        """The items of a day come again, with other values, and its figures are published again."""
        self.deliver(["gmv/product_item"], day, "_again", replace=True)
        self.purchases([day], ["product_item"])
        self.make_all([LEDGER], [day])

    def snapshot_again(self) -> None:
        """A snapshot in the middle comes again, with a customer less."""
        self.deliver(["loyalty/clientes"], LOYALTY[3], "_again", replace=True)
        self.make_all(OF_LOYALTY, [LOYALTY[3]])

    def documents(self, batch: int) -> list[int]:
        """A batch of documents comes into the folder, and the stream reads it: the records of each of its commits."""
        place = Path(str(self.lake.tables)).parent / "input"
        place.mkdir(exist_ok=True)
        for file in (self.feeds / "marketplace" / str(batch)).iterdir():
            shutil.copy2(file, place / file.name)
        step = Step(self.spark, self.lake, self.catalog, f"stream-{batch}")
        table = self.catalog.table(TableKey.parse(DOCUMENTS))
        return [one.records for one in drain_available(step, table, Documents(str(place)))]

    def known_documents(self) -> None:
        """The documents that the former version has read lie in the folder."""
        for batch in (1, 2):
            place = Path(str(self.lake.tables)).parent / "input"
            shutil.copytree(self.feeds / "marketplace" / str(batch), place, dirs_exist_ok=True)

    def landed_document(self) -> None:
        """A document that comes as a landed file."""
        self.land("marketplace/marketing_place", self.feeds / "marketplace" / "landed.json", ARRIVED[0])
        self.make_all([DOCUMENTS], [ARRIVED[0]])

    def next_days(self) -> list[int]:
        """A new day of each domain; the records of the stream's commits."""
        self.deliver([f"gmv/{of}" for of in EVENTS], GMV[4])
        self.purchases([GMV[4]])
        self.make_all([LEDGER], [GMV[4]])
        self.deliver([f"loyalty/{of}" for of in CUSTOMERS], LOYALTY[6])
        self.make_all(OF_LOYALTY, [LOYALTY[6]])
        brought = self.documents(3)
        self.make_all(OF_DOCUMENTS, [ARRIVED[2]])
        return brought

    def everything(self) -> None:
        """All that the former version did and what comes later: each table in few steps, the ledger in the same."""
        for day in GMV:
            self.deliver([f"gmv/{of}" for of in EVENTS], day)
        self.deliver(["gmv/purchase"], GMV[1], "_again", replace=True)
        self.purchases(GMV)
        for published in (GMV[:2], GMV[2:3], GMV[3:4]):
            self.make_all([LEDGER], published)
        self.corrected(GMV[1])
        self.make_all([LEDGER], GMV[4:])
        self.corrected(GMV[0])
        for day in LOYALTY:
            self.deliver([f"loyalty/{of}" for of in CUSTOMERS], day)
        self.deliver(["loyalty/clientes"], LOYALTY[3], "_again", replace=True)
        self.make_all(OF_LOYALTY, LOYALTY)
        for batch in (1, 2):
            self.documents(batch)
        self.landed_document()
        # Of a table that is one whole, each step leaves what it set aside on its last day.
        self.make_all(OF_DOCUMENTS, ARRIVED[:2])
        self.documents(3)
        self.make_all(OF_DOCUMENTS, ARRIVED[2:])
