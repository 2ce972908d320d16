"""The settings of a Spark session that results depend on: set on every session, whatever its server's defaults are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakehouse_assets.platform.common.errors import LakehouseError

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession as ConnectSession

REQUIRED: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    # Files are committed by delta-rs, for readers that do not know INT96.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # A read names its files: the driver looks them up itself instead of starting a job from 33 of them on.
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "100000",
    # Rows of several states go to several files of a task at once, instead of being sorted by their state.
    "spark.sql.maxConcurrentOutputFileWriters": "16",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    # What cannot be converted or added is an error, not NULL or another number.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.storeAssignmentPolicy": "ANSI",
    "spark.sql.decimalOperations.allowPrecisionLoss": "true",
    # How SQL is read.
    "spark.sql.caseSensitive": "false",
    "spark.sql.ansi.doubleQuotedIdentifiers": "false",
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.parser.quotedRegexColumnNames": "false",
    # A file that is broken or gone is an error, not fewer rows.
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    # How Parquet's types are read and written.
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.int96TimestampConversion": "false",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
    # JSON and maps.
    "spark.sql.json.enablePartialResults": "true",
    "spark.sql.jsonGenerator.ignoreNullFields": "true",
    "spark.sql.mapKeyDedupPolicy": "EXCEPTION",
    "spark.sql.variant.allowDuplicateKeys": "false",
}
IN_BUCKETS: Mapping[str, str] = {
    "spark.sql.sources.commitProtocolClass": "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol",
    "spark.sql.parquet.output.committer.class": "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter",
    "mapreduce.outputcommitter.factory.scheme.s3a": "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory",
    "fs.s3a.committer.name": "magic",
}
"""Where tables are in a bucket: a task's files are uploads that the end of the whole job completes.

So nothing is renamed, which S3 does by copying, and of a task or job that died there is no file. The classes are those
of `spark-hadoop-cloud` (`jars.S3A`).
"""
LEGACY = "spark.sql.legacy."  # the behaviour of older versions: none of it


class OtherResults(LakehouseError):
    """A session in which the same code gives other results."""


def settle(session: "ConnectSession", url: str, *, in_bucket: bool) -> None:
    """Set on a new session what results depend on, and ask whether it holds. Raises OtherResults.

    `in_bucket`: it writes tables in a bucket.
    """
    import pyspark.sql.connect.proto as pb2
    from pyspark.errors import PySparkException

    ask = pb2.ConfigRequest.Operation
    required = {**REQUIRED, **(IN_BUCKETS if in_bucket else {})}
    pairs = [pb2.KeyValue(key=key, value=value) for key, value in required.items()]
    client = session.client
    try:
        client.config(ask(set=pb2.ConfigRequest.Set(pairs=pairs)))
        older = client.config(ask(get_all=pb2.ConfigRequest.GetAll(prefix=LEGACY))).pairs
        if older:
            keys = [key if key.startswith(LEGACY) else LEGACY + key for key, _ in older]
            client.config(ask(unset=pb2.ConfigRequest.Unset(keys=keys)))
        found = dict(client.config(ask(get=pb2.ConfigRequest.Get(keys=list(required)))).pairs)
    except PySparkException as error:
        raise _refused(url, str(error).splitlines()[0]) from error
    other = [f"{k} is {found.get(k)}, not {v}" for k, v in required.items() if not _same(found.get(k), v)]
    if other:
        raise _refused(url, "; ".join(other))


def check_overrides(overrides: Mapping[str, object]) -> None:
    """Raises OtherResults when settings for a session are others than results need."""
    wrong = sorted(
        key
        for key, value in overrides.items()
        if key.startswith(LEGACY) or not _same(str(value), {**REQUIRED, **IN_BUCKETS}.get(key))
    )
    if wrong:
        raise OtherResults(
            f"spark_config sets {', '.join(wrong)}, on which results depend. All sessions have the same: "
            "leave it out, and convert in the transformation instead."
        )


def _same(found: str | None, value: str | None) -> bool:
    return value is None or (found or "").casefold() == value.casefold()


def _refused(url: str, why: str) -> OtherResults:
    return OtherResults(
        f"The Spark server at {url} does not take the settings that results depend on: {why}. It would give other "
        "results, so it is not used. Leave them to the session in the server's configuration, or use another server: "
        "LAKEHOUSE_SPARK_REMOTE"
    )
