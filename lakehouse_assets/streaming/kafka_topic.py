"""A Kafka topic as the source of a bronze table: each (topic, partition, offset) exactly once for ever."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.declare.stream_source import Fresh
from lakehouse_assets.platform.storage.delta_table import query_rows
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.streams.stream_audit import LOST
from lakehouse_assets.platform.streams.stream_log import log_of
from lakehouse_assets.settings import settings
from lakehouse_assets.streaming.kafka_client import NoSuchTopic, TopicState, bootstrap, spark_options, topic_state
from lakehouse_assets.streaming.kafka_records import READ_COMMITTED, Ranges, Records, read_records, rows_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

SMALL_BATCH = 5_000
"""Records up to this number are read by Kafka's client: that is done while Spark is still asking for the offsets."""
ONE_BY_ONE = 50_000
"""Records of a batch that is read so because Spark could not."""
TASK_RECORDS = 200_000  # at most, of one task and file: three partitions of a topic would keep two cores busy unevenly
STREAMED = 16
"""How many times the bytes of a batch Spark may read at once: it holds no batch in memory, only what a task writes."""
NEXT_OFFSETS = 'SELECT door, topic, "partition", max("offset") + 1 AS next FROM t GROUP BY door, topic, "partition"'


class GoneRecords(LakehouseError):
    """Records that were not yet read are no longer in the topic, or it is another topic of the same name."""


@dataclass(frozen=True)
class KafkaTopic:
    """A topic. `days`: those that its records can be of; others are set aside. `batch`: most records of a commit.

    `accept_loss`: records that expired before they were read are given up, and the audit says which.
    """

    topic: str
    days: SourceDays
    batch: int = 1_000_000
    channel: str = "kafka"
    accept_loss: bool = False

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
        """Offsets of the topic that are not read yet. Raises KafkaError."""
        now = topic_state(settings(), self.topic)
        return sum(high - start for start, (_, high) in _starts(self.position(path), now))

    def position(self, path: Location, version: int | None = None) -> Mapping[str, Any] | None:
        """How far the topic was read, as of a version of the table: as its commits say, else as its rows do.

        Rows without such a commit are those of a table that was copied, or whose log was cut: reading on from what it
        holds doubles nothing.
        """
        positions = _said(path, version)
        if self.topic in positions:
            return positions[self.topic]
        at = log_of(path).version() if version is None else version
        if at is None:
            return None
        held = log_of(path).once("offsets", at, lambda: query_rows(path, NEXT_OFFSETS, at))
        ours = [row for row in held if row["door"] == self.channel and row["topic"] == self.topic]
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
        lost = self._lost(path, position, now)
        ranges = self._ranges(position, now, lost)
        if not ranges and not lost:
            return None
        # All partitions from the first commit on: one that was empty then must not count as read from 0.
        before = {str(p): low for p, (low, _) in now.bounds.items()} if position is None else _offsets(position)
        before |= {partition: end for partition, (_, end) in lost.items()}
        reached = {"topic": self.topic, "identity": now.identity, "offsets": before}
        others = {topic: at for topic, at in _said(path, version).items() if topic != self.topic}
        if others:  # carried along: one of them may be read on some day, and be another topic by then
            reached["others"] = others
        if lost:
            reached[LOST] = lost
        most = settings().stream_batch_bytes
        found = read_records(settings(), self.topic, ranges, SMALL_BATCH, most) if ranges else Records(whole=True)
        if found.whole or found.full:
            return self._one_by_one(spark, found, reached, now)
        average = max(1, found.size // len(found.records))
        large = _cut(ranges, max(SMALL_BATCH, min(self.batch, STREAMED * most // average)))
        return Fresh(
            self._read(spark, large, min(TASK_RECORDS, max(1, 2 * most // average))),
            *_reached(reached, {partition: end for partition, (_, end) in large.items()}, now),
            one_by_one=lambda: self._one_by_one(
                spark, read_records(settings(), self.topic, ranges, ONE_BY_ONE, most), reached, now
            ),
        )

    def _one_by_one(self, spark: "SparkSession", found: Records, reached: Mapping[str, Any], now: TopicState) -> Fresh:
        """Records that were read by the client."""
        rows, left = rows_of(found.records, self.days, self.channel)
        frame = spark.createDataFrame(rows, _schema()).coalesce(1)
        return Fresh(frame, *_reached(reached, found.ends, now), set_aside=left)

    def _lost(self, path: Location, position: Mapping[str, Any] | None, now: TopicState) -> dict[str, list[int]]:
        """Per partition the offsets that expired before they were read: first and end. Raises GoneRecords."""
        if position is None:
            return {}
        if position["identity"] not in (None, now.identity):
            raise GoneRecords(
                f"Topic {self.topic} was deleted and made anew since it was read: its offsets mean other records now. "
                "Nothing was written. Give the new topic another name, and read it into the table by that."
            )
        lost: dict[str, list[int]] = {}
        for partition, (low, high) in sorted(now.bounds.items()):
            start = _offsets(position).get(str(partition), 0)
            if start < low and self.accept_loss:
                lost[str(partition)] = [start, low]
            elif start < low or start > high:
                raise GoneRecords(
                    f"Topic {self.topic}, partition {partition}: read up to offset {start}, but it now holds {low} to "
                    f"{high}. {'Records' if start < low else 'Already read records'} are gone. Nothing was written. "
                    "Raise the topic's retention; land the lost records from files, if the source has them. "
                    + (
                        f"To go on without them: lakehouse stream {path.parent.parent.name} --accept-loss"
                        if start < low
                        else "Give the topic another name, and read it into the table by that."
                    )
                )
        if lost:
            message = "; ".join(f"partition {p}, offsets {first} to {end - 1}" for p, (first, end) in lost.items())
            logging.getLogger(__name__).warning(
                "Topic %s: records expired before they were read, and are given up: %s. The audit says so as well.",
                self.topic, message,
            )  # fmt: skip
        return lost

    def _ranges(
        self, position: Mapping[str, Any] | None, now: TopicState, lost: Mapping[str, list[int]]
    ) -> dict[int, tuple[int, int]]:
        """Per partition the offsets to read next, first and end."""
        starts = {partition: start for partition, (start, _) in zip(now.bounds, _starts(position, now), strict=True)}
        starts |= {int(partition): end for partition, (_, end) in lost.items()}
        found = {p: (starts[p], high) for p, (_, high) in sorted(now.bounds.items()) if starts[p] < high}
        return _cut(found, self.batch)

    def _read(self, spark: "SparkSession", ranges: Ranges, of_task: int) -> "DataFrame":
        """The records of these offsets as rows of bronze; the frame fails at a record that no commit may hold.

        Its day is none of the source, or of no calendar of Spark's; or perhaps the name of a header is no UTF-8, of
        which Spark's reader leaves the replacement character.
        """
        from pyspark.sql import functions as F

        records = (
            spark.read.format("kafka")
            .options(**spark_options(settings()))
            .option("assign", json.dumps({self.topic: sorted(ranges)}))
            .option("startingOffsets", json.dumps({self.topic: {str(p): start for p, (start, _) in ranges.items()}}))
            .option("endingOffsets", json.dumps({self.topic: {str(p): end for p, (_, end) in ranges.items()}}))
            .option("includeHeaders", "true")
            .option("failOnDataLoss", "true")
            .option("kafka.isolation.level", READ_COMMITTED)
            .option("maxRecordsPerPartition", str(of_task))
            .load()
        )
        bounds = self.days.of_records()
        day = F.to_date(F.from_utc_timestamp("timestamp", self.days.zone))
        replaced = F.exists("headers", lambda one: one["key"].contains("\ufffd"))
        good = day.between(F.lit(bounds.first), F.lit(bounds.last)) & ~F.coalesce(replaced, F.lit(False))
        return records.select(
            _text(F.col("key")).alias("key"),
            _text(F.col("value")).alias("value"),
            "topic",
            "partition",
            "offset",
            F.col("timestamp").cast("timestamp_ntz").alias("timestamp"),
            _headers().alias("headers"),
            F.lit(self.channel).alias("door"),
            F.when(good, day).otherwise(F.raise_error(F.lit("no commit may hold this record"))).alias("feed_day"),
        )  # fmt: skip


def _schema() -> Any:
    import pyspark.sql.types as T

    return T.StructType.fromDDL(
        "key STRING, value STRING, topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP_NTZ, "
        "headers STRING, door STRING, feed_day DATE"
    )


def _cut(ranges: Ranges, most: int) -> dict[int, tuple[int, int]]:
    """The first of these offsets, the same number of each partition."""
    share = max(1, most // max(1, len(ranges)))
    return {partition: (start, min(end, start + share)) for partition, (start, end) in ranges.items()}


def _reached(reached: Mapping[str, Any], ends: Mapping[int, int], now: TopicState) -> tuple[Mapping[str, Any], int]:
    """The position behind a batch, and what is left after it."""
    position = {**reached, "offsets": reached["offsets"] | {str(partition): end for partition, end in ends.items()}}
    return position, sum(high - start for start, (_, high) in _starts(position, now))


def _said(path: Location, version: int | None) -> dict[str, Mapping[str, Any]]:
    """How far each topic was read, as the newest commit of the stream says."""
    log = log_of(path)
    at = log.version() if version is None else version
    position = None if at is None else log.position(at)
    if position is None or "topic" not in position:
        return {}
    of_topic = {name: at for name, at in position.items() if name not in ("others", LOST)}
    return {**position.get("others", {}), position["topic"]: of_topic}


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
    from pyspark.sql import functions as F

    text = value.cast("string")
    return F.when(F.is_valid_utf8(text), text).otherwise(F.concat(F.lit("base64:"), F.base64(value)))


def _headers() -> "Column":
    """The headers as JSON. Where all their values are UTF-8 they are cast at once, in half the time of one by one."""
    from pyspark.sql import functions as F

    at_once = F.col("headers").cast("array<struct<key:string,value:string>>")
    one_by_one = F.transform("headers", lambda one: F.struct(one["key"], _text(one["value"]).alias("value")))
    # A comma stands between characters: all values are UTF-8 if, and only if, so joined they are.
    all_text = F.is_valid_utf8(F.array_join(F.col("headers.value").cast("array<string>"), ","))
    return F.to_json(F.when(all_text, at_once).otherwise(one_by_one), {"ignoreNullFields": "false"})
