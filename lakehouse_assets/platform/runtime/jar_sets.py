"""Which jars Spark and the other servers need: coordinates, exclusions, and the locks of their hashes."""

from dataclasses import dataclass
from pathlib import Path

COORDINATES: tuple[str, ...] = (
    "io.delta:delta-spark_4.0_2.13:4.4.0",
    # The connector of the newest Spark 4.0 whose token provider is published; the same binary interface.
    "org.apache.spark:spark-sql-kafka-0-10_2.13:4.0.0",
)
"""What Spark needs beyond pyspark, as group:artifact:version. After a change: `lakehouse jars --lock`."""

EXCLUDED: tuple[str, ...] = (
    # A second netty breaks Spark Connect: clients see "end-of-stream mid-frame".
    "io.netty:*",
    "io.unitycatalog:*",
    # pyspark ships these in the version that Spark was built with; ours would come first on the class path.
    "com.fasterxml.jackson.core:*",
    "com.github.luben:zstd-jni",
    "com.google.code.findbugs:jsr305",
    "commons-logging:commons-logging",
    "io.airlift:aircompressor",
    "org.apache.hadoop:hadoop-client-api",
    "org.apache.hadoop:hadoop-client-runtime",
    "org.apache.logging.log4j:*",
    "org.apache.parquet:*",
    "org.apache.spark:spark-tags_2.13",
    "org.lz4:lz4-java",
    "org.roaringbitmap:*",
    "org.scala-lang:*",
    "org.scala-lang.modules:*",
    "org.slf4j:*",
    "org.xerial.snappy:snappy-java",
)


@dataclass(frozen=True)
class JarSet:
    """Jars that are locked and installed together. `beside_pyspark`: on a class path with pyspark's own."""

    name: str
    coordinates: tuple[str, ...]
    excluded: tuple[str, ...]
    beside_pyspark: bool = False

    @property
    def lock(self) -> Path:
        """The file of their hashes."""
        return Path(__file__).with_name(f"{self.name}.lock")

    def locked(self) -> dict[str, str]:
        """File name -> SHA-256 of every jar of the lock."""
        lines = (line.split() for line in self.lock.read_text().splitlines())
        return {name: digest for digest, name in lines}


SPARK = JarSet("jars", COORDINATES, EXCLUDED, beside_pyspark=True)
KAFKA = JarSet("kafka", ("org.apache.kafka:kafka_2.13:4.0.1", "org.slf4j:slf4j-simple:1.7.36"), ())
S3 = JarSet(
    "s3",
    # The annotations that s3proxy asks for are too old for its own Jackson.
    ("org.gaul:s3proxy:4.1.0", "com.fasterxml.jackson.core:jackson-annotations:2.21"),
    (),
)
AWS_SDK = "2.25.53"
S3A = JarSet(
    "s3a",
    (
        "org.apache.hadoop:hadoop-aws:3.4.1",
        # Spark's binding to the committers of S3A; of Spark 4.0 the newest that is published.
        "org.apache.spark:spark-hadoop-cloud_2.13:4.0.0",
        # In the place of the SDK's bundle, which has 686 MB.
        *(
            f"software.amazon.awssdk:{module}:{AWS_SDK}"
            for module in ("s3", "s3-transfer-manager", "sts", "apache-client")
        ),
    ),
    (
        *EXCLUDED,
        "software.amazon.awssdk:bundle",
        "org.apache.httpcomponents:*",
        "commons-codec:*",
        # Clients of other clouds, and what they need.
        "org.apache.hadoop:hadoop-azure",
        "org.apache.hadoop:hadoop-cloud-storage",
        "com.google.cloud.bigdataoss:*",
        "com.squareup.okhttp3:*",
        "com.squareup.okio:*",
        "org.eclipse.jetty:*",
        "joda-time:*",
        "com.fasterxml.jackson.dataformat:*",
    ),
    beside_pyspark=True,
)
"""What Spark needs to read and write `s3a://`. Resolved where a root of the lakehouse is a bucket, not before."""
JDBC = JarSet("jdbc", ("org.postgresql:postgresql:42.7.7",), ("org.checkerframework:*",))
"""PostgreSQL's driver: `make bench` alone writes by JDBC, to be compared with."""

SETS = {jars.name: jars for jars in (SPARK, KAFKA, S3, S3A, JDBC)}
