"""A Kafka topic as the source of a bronze table: each (topic, partition, offset) exactly once for ever."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakehouse_assets.platform.delta import ask, last_position
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.store import Location
from lakehouse_assets.platform.stream_source import Fresh
from lakehouse_assets.settings import settings
from lakehouse_assets.streaming.kafka_client import NoSuchTopic, TopicState, bootstrap, spark_options, topic_state

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

SMALL_BATCH = 100_000
TASK_RECORDS = 200_000  # at most, of one task and file: three partitions of a topic would keep two cores busy unevenly
NEXT_OFFSETS = 'SELECT door, topic, "partition", max("offset") + 1 AS next FROM t GROUP BY door, topic, "partition"'


class GoneRecords(LakehouseError):
    """Records that were not yet read are no longer in the topic, or it is another topic of the same name."""


@dataclass(frozen=True)
class KafkaTopic:
    """A topic; `batch` bounds the records of a commit, `first_day` is the feed day of what claims to be older."""

    topic: str
    first_day: date
    batch: int = 1_000_000
    door: str = "kafka"

    @property
    def permanent(self) -> tuple[type[Exception], ...]:
        """Errors that another try cannot mend."""
        return (GoneRecords,)

    def end(self, path: Location) -> TopicState | None:
        """What the topic holds now; None: no Kafka is configured, or nobody has made the topic yet.

        Raises KafkaError, and GoneRecords when the topic was read and is not there any more.
        """
        if bootstrap(settings()) is None:
            return None
        position = self.position(path)
        try:
            return topic_state(settings(), self.topic, expected=position is not None)
        except NoSuchTopic as error:
            if position is None:
                return None
            raise GoneRecords(
                f"{error} It was read up to {position['offsets']}, and whatever came later is gone."
            ) from error

    def lag(self, path: Location) -> int:
        """Records of the topic that are not read yet. Raises KafkaError."""
        now = topic_state(settings(), self.topic)
        return sum(high - start for start, (_, high) in _starts(self.position(path), now))

    def position(self, path: Location, version: int | None = None) -> Mapping[str, Any] | None:
        """How far the topic was read, as of a version of the table: as its commits say, else as its rows do.

        Rows without such a commit are those of a table that was copied, or whose log was cut: reading on from what it
        holds doubles nothing.
        """
        said = _said(path, version)
        if self.topic in said:
            return said[self.topic]
        held = ask(path, NEXT_OFFSETS, version)
        ours = [row for row in held if row["door"] == self.door and row["topic"] == self.topic]
        if not ours:
            return None
        ends = {str(row["partition"]): row["next"] for row in ours}
        logging.getLogger(__name__).warning(
            "%s: no commit says how far the topic %s was read: a copied table, or one whose log was cut. It is read on "
            "from behind the records that the table holds, %s: none is read twice.", path, self.topic, ends,
        )  # fmt: skip
        return {"topic": self.topic, "identity": None, "offsets": ends}

    def next(
        self, spark: "SparkSession", path: Location, version: int | None, upto: object | None = None
    ) -> Fresh | None:
        """The next records, up to `upto` or what the topic holds. Raises GoneRecords, KafkaError."""
        now = upto if isinstance(upto, TopicState) else topic_state(settings(), self.topic)
        position = self.position(path, version) if version is not None else None
        ranges = self._ranges(position, now)
        if not ranges:
            return None
        ends = {str(partition): end for partition, (_, end) in ranges.items()}
        # All partitions from the first commit on: one that was empty then must not count as read from 0.
        before = {str(p): low for p, (low, _) in now.bounds.items()} if position is None else _offsets(position)
        reached = {"topic": self.topic, "identity": now.identity, "offsets": before | ends}
        others = {topic: at for topic, at in _said(path, version).items() if topic != self.topic}
        if others:  # carried along: one of them may be read on some day, and be another topic by then
            reached["others"] = others
        lag = sum(high - start for start, (_, high) in _starts(reached, now))
        return Fresh(self._read(spark, ranges), reached, lag)

    def _ranges(self, position: Mapping[str, Any] | None, now: TopicState) -> dict[int, tuple[int, int]]:
        """Per partition the offsets to read next, first and end. Raises GoneRecords."""
        if position is not None and position["identity"] not in (None, now.identity):
            raise GoneRecords(
                f"Topic {self.topic} was deleted and made anew since it was read: its offsets mean other records now. "
                "Nothing was written. Give the new topic another name, and read it into the table by that."
            )
        found: dict[int, tuple[int, int]] = {}
        for partition, (low, high) in sorted(now.bounds.items()):
            start = _offsets(position).get(str(partition), low if position is None else 0)
            if start < low or start > high:
                raise GoneRecords(
                    f"Topic {self.topic}, partition {partition}: read up to offset {start}, but it now holds {low} to "
                    f"{high}. {'Records' if start < low else 'Already read records'} are gone. Nothing was written. "
                    "Raise the topic's retention; land the lost records from files, if the source has them."
                )
            if start < high:
                found[partition] = (start, high)
        share = max(1, self.batch // max(1, len(found)))
        return {partition: (start, min(end, start + share)) for partition, (start, end) in found.items()}

    def _read(self, spark: "SparkSession", ranges: Mapping[int, tuple[int, int]]) -> "DataFrame":
        """The records of these offsets as rows of bronze."""
        records = (
            spark.read.format("kafka")
            .options(**spark_options(settings()))
            .option("assign", json.dumps({self.topic: sorted(ranges)}))
            .option("startingOffsets", json.dumps({self.topic: {str(p): start for p, (start, _) in ranges.items()}}))
            .option("endingOffsets", json.dumps({self.topic: {str(p): end for p, (_, end) in ranges.items()}}))
            .option("includeHeaders", "true")
            .option("failOnDataLoss", "true")
            .option("maxRecordsPerPartition", str(TASK_RECORDS))
            .load()
        )
        rows = records.select(
            _text(F.col("key")).alias("key"),
            _text(F.col("value")).alias("value"),
            "topic",
            "partition",
            "offset",
            F.col("timestamp").cast("timestamp_ntz").alias("timestamp"),
            _headers().alias("headers"),
            F.lit(self.door).alias("door"),
            F.greatest(F.to_date("timestamp"), F.lit(self.first_day)).alias("feed_day"),
        )
        few = sum(end - start for start, end in ranges.values()) <= SMALL_BATCH
        return rows.coalesce(1) if few else rows


def _said(path: Location, version: int | None) -> dict[str, Mapping[str, Any]]:
    """How far each topic was read, as the newest commit of the stream says."""
    said = last_position(path, version)
    if said is None or "topic" not in said:
        return {}
    return {**said.get("others", {}), said["topic"]: {name: at for name, at in said.items() if name != "others"}}


def _offsets(position: Mapping[str, Any] | None) -> dict[str, int]:
    return dict(position["offsets"]) if position else {}


def _starts(position: Mapping[str, Any] | None, now: TopicState) -> list[tuple[int, tuple[int, int]]]:
    known = _offsets(position)
    return [
        (known.get(str(partition), low if position is None else 0), (low, high))
        for partition, (low, high) in now.bounds.items()
    ]


def _text(value: "Column") -> "Column":
    """Bytes as text; those that are no UTF-8 as base64, so that nothing is lost."""
    text = value.cast("string")
    return F.when(F.is_valid_utf8(text), text).otherwise(F.concat(F.lit("base64:"), F.base64(value)))


def _headers() -> "Column":
    """The headers as JSON. Where all their values are UTF-8 they are cast at once, in half the time of one by one."""
    at_once = F.col("headers").cast("array<struct<key:string,value:string>>")
    one_by_one = F.transform("headers", lambda one: F.struct(one["key"], _text(one["value"]).alias("value")))
    # A comma stands between characters: all values are UTF-8 if, and only if, so joined they are.
    all_text = F.is_valid_utf8(F.array_join(F.col("headers.value").cast("array<string>"), ","))
    return F.to_json(F.when(all_text, at_once).otherwise(one_by_one), {"ignoreNullFields": "false"})
