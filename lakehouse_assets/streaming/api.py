"""Your own stream of documents: a schema, a class with three methods, and one call (docs/write-your-own-stream.md).

The documents are kept byte for byte, each once, in `<output>.bronze.<name>`; the tables that `process` makes of all of
them in `<output>.silver.<table>`. `process` is a pure function of all documents so far, so its tables depend neither on
the order of arrival nor on how often it ran.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyspark.sql.types as T
from pyspark.sql import functions as F

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import ReplaceDays, Table, TableKey
from lakehouse_assets.platform.planning.reader import read_table
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, InputVersion
from lakehouse_assets.platform.storage.delta_table import last_metadata
from lakehouse_assets.settings import settings
from lakehouse_assets.streaming.document_rows import DocumentRow
from lakehouse_assets.streaming.documents import Documents
from lakehouse_assets.streaming.run import Stream
from lakehouse_assets.streaming.state import State

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

REQUIRED = ("read", "process", "keys")


class IncompleteProcess(TypeError):
    """A process class without a method that every process has; raised where the class is written."""


class BadTable(LakehouseError):
    """A process returned a table without keys, or with two rows of one key."""


class Process(ABC):
    """What a stream makes of documents. A subclass without one of the methods fails at import, by name."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raises IncompleteProcess."""
        super().__init_subclass__(**kwargs)
        missing = [name for name in REQUIRED if getattr(cls, name) is getattr(Process, name)]
        if missing:
            raise IncompleteProcess(
                f"{cls.__name__} lacks {', '.join(f'{name}()' for name in missing)}. A process has "
                f"{', '.join(f'{name}()' for name in REQUIRED)}: see docs/write-your-own-stream.md."
            )

    @abstractmethod
    def read(self, documents: "DataFrame", schema: T.StructType) -> "DataFrame":
        """Typed rows of the documents (columns document, path, etag, arrival, feed_day)."""

    @abstractmethod
    def process(self, rows: "DataFrame") -> "Mapping[str, DataFrame]":
        """The tables, by name: pure functions of all rows so far."""

    @abstractmethod
    def keys(self) -> Mapping[str, tuple[str, ...]]:
        """The key of each table."""


def parsed(documents: "DataFrame", schema: T.StructType) -> "DataFrame":
    """What most `read` do: the fields of the schema, NULL where the document lacks them."""
    return documents.select(F.from_json("document", schema).alias("fields")).select("fields.*")


def run(
    *,
    bucket_name: str,
    input_path: str,
    output_path: str,
    process_name: str,
    process: type[Process],
    schema: T.StructType,
    continuous: bool = False,
    told: Callable[[str], None] = lambda line: None,
) -> State:
    """Read new documents and bring the tables up to date; `continuous`: until Ctrl-C.

    `bucket_name`: `s3a://bucket`, or a folder; `input_path`: `input/*.json`. Raises LakehouseError.
    """
    made = _Tables(process(), schema, output_path, process_name)
    place = f"{bucket_name.replace('s3a://', 's3://').rstrip('/')}/{input_path.rpartition('/')[0]}/"
    source = Documents(place, suffix="." + input_path.rpartition(".")[2])
    catalog = Catalog((made.raw,))
    stream = Stream(settings=settings(), catalog=catalog, table=made.raw, source=source, keep=made.refresh, told=told)
    return stream.run_continuously() if continuous else stream.run_available()


def _no_run_makes_it() -> "DataFrame":
    raise LakehouseError("This table is filled by its stream alone.")


@dataclass(frozen=True)
class _Tables:
    """The tables of one process."""

    process: Process
    schema: T.StructType
    output: str
    name: str

    @property
    def raw(self) -> Table:
        """The table of the documents."""
        return Table(
            key=TableKey.parse(f"{self.output}/bronze/{self.name}"),
            contract=DocumentRow,
            function=_no_run_makes_it,
            reads=MappingProxyType({}),
            write=ReplaceDays(),
        )

    def refresh(self, step: Step) -> None:
        """Make the tables of all documents so far. Raises BadTable, ConcurrentCommit, WriteError."""
        version = step.lake.version(self.raw.key)
        assert version is not None, "a stream refreshes what it has committed"
        rows = self.process.read(read_table(step.spark, step.lake, self.raw, version), self.schema)
        keys = self.process.keys()
        for name, frame in self.process.process(rows).items():
            if not keys.get(name):
                raise BadTable(
                    f"{self.output}.silver.{name}: keys() of {type(self.process).__name__} does not name it."
                )
            self._write(step, version, name, frame, keys[name])

    def _write(self, step: Step, version: int, name: str, frame: "DataFrame", key: tuple[str, ...]) -> None:
        table = TableKey.parse(f"{self.output}/silver/{name}")
        twice = frame.groupBy(*key).count().where("count > 1").limit(1).collect()
        if twice:
            raise BadTable(
                f"{table}: two rows of {twice[0].asDict()}; the key is {', '.join(key)}. Nothing was written."
            )
        path = step.lake.path(table)
        base = step.lake.version(table)
        made = last_metadata(path, base) if base is not None else None
        if made and (made.inputs["documents"].version or 0) >= version:
            return
        input_versions = {"documents": InputVersion(version, "all")}
        attempt = f"{step.run_id}/{table}@{version}"
        metadata = CommitMetadata(str(table), step.run_id, attempt, frozenset(), "", input_versions, base=base)
        delta_writer.overwrite(frame.coalesce(1), delta_writer.Target(path, str(table), frame.schema), metadata, base)
