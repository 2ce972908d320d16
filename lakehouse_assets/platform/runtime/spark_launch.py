"""The command, configuration and environment of one embedded Spark Connect server."""

import os
import re
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lakehouse_assets.platform.runtime.jar_sets import S3A
from lakehouse_assets.platform.runtime.jars import ensure_jars, find_java, pyspark_home
from lakehouse_assets.platform.runtime.session_settings import REQUIRED
from lakehouse_assets.platform.storage.s3 import S3Path, fingerprint, hadoop_options, region
from lakehouse_assets.settings import Settings

LOGS_KEPT = 10
S3_OF_SERVER = "spark.lakehouse.s3"
NO_DELTA_WRITES = "Delta_tables_in_a_bucket_are_read_by_Spark_and_written_by_delta_rs__see_docs_own_s3"
"""What the error of a session says that writes a Delta table to a bucket."""
SERVER_CLASS = "org.apache.spark.sql.connect.service.SparkConnectServer"


@dataclass(frozen=True)
class ServerConfig:
    """What a running server cannot change: heap, cores, jars, and where S3 is and who asks it (empty: no bucket).

    One that differs needs another server.
    """

    heap: str
    cores: str
    jars: str
    s3: str = ""

    def differences(self, running: "ServerConfig") -> list[str]:
        """One text for each setting in which the running server differs from this one."""
        return [
            f"{name}: {getattr(running, name)} runs, {getattr(self, name)} is asked for"
            for name in ("heap", "cores", "jars", "s3")
            if getattr(self, name) != getattr(running, name)
        ]


def config_of(settings: Settings) -> ServerConfig:
    """The server that these settings ask for. Resolves the jars when they are not there."""
    jars, s3 = str(ensure_jars(settings)), ""
    if buckets_of(settings):
        jars += f"/*:{ensure_jars(settings, S3A)}"
        s3 = f"{settings.s3_endpoint or 'AWS'} {region()} {fingerprint(token_of(settings.spark_dir))}"
    return ServerConfig(settings.spark_heap, settings.spark_cores, jars, s3)


def buckets_of(settings: Settings) -> list[S3Path]:
    """The roots that are in buckets."""
    return [root for root in (settings.landing, settings.lake) if isinstance(root, S3Path)]


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def token_of(spark_dir: Path) -> str:
    """The token that clients must show: made once, readable by its owner alone."""
    path = spark_dir / "token"
    spark_dir.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass
    token = path.read_text().strip()
    if not token:  # its maker was killed between the two lines above; nobody can have used it
        path.unlink()
        return token_of(spark_dir)
    return token


def launch(spark_dir: Path, config: ServerConfig, port: int) -> tuple[subprocess.Popen[bytes], Path]:
    """Start the server detached from this process and return it with its log file; it is not up yet."""
    find_java()  # its message is better than the launcher's
    for folder in ("logs", "conf", "tmp", "warehouse"):
        (spark_dir / folder).mkdir(parents=True, exist_ok=True)
    (spark_dir / "conf" / "log4j2.properties").write_text(LOG4J)
    properties = properties_file(spark_dir)
    properties.write_text("".join(f"{key} {value}\n" for key, value in spark_conf(spark_dir, config).items()))
    command = [
        str(pyspark_home() / "bin" / "spark-submit"),
        *("--properties-file", str(properties)),
        # On the command line, so that a server can be recognized without its state file.
        *("--conf", f"spark.connect.grpc.binding.port={port}"),
        *("--class", SERVER_CLASS, "local:/unused.jar"),
    ]
    log = _new_log(spark_dir / "logs")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(spark_dir),
            cwd=spark_dir,
            start_new_session=True,
        )
    return process, log


def properties_file(spark_dir: Path) -> Path:
    """The server's configuration; its path on a command line tells which home that server belongs to."""
    return spark_dir / "conf" / "server.properties"


def spark_conf(spark_dir: Path, config: ServerConfig) -> dict[str, str]:
    """Every Spark setting of the embedded server but its port."""
    number, unit = int(config.heap[:-1]), config.heap[-1]
    heap_mb = number * 1024 if unit == "g" else number
    java_options = [
        f"-XX:MaxDirectMemorySize={max(256, heap_mb // 2)}m",
        "-XX:MaxMetaspaceSize=512m",
        # After an OutOfMemoryError a JVM can do anything but work: end it, and the next run starts a sound one.
        "-XX:+ExitOnOutOfMemoryError",
        f'"-Dderby.system.home={spark_dir / "tmp"}"',
        f'"-Djava.io.tmpdir={spark_dir / "tmp"}"',
    ]
    return {
        "spark.app.name": "lakehouse",
        "spark.master": f"local[{config.cores}]",
        "spark.driver.memory": config.heap,
        "spark.driver.extraJavaOptions": " ".join(java_options),
        "spark.driver.extraClassPath": f"{config.jars}/*",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.local.dir": str(spark_dir / "tmp"),
        "spark.default.parallelism": "4",
        "spark.sql.warehouse.dir": str(spark_dir / "warehouse"),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.redaction.options.regex": "(?i)url|jaas|password|secret|access.key",
        **REQUIRED,
        "spark.sql.adaptive.enabled": "true",
        # A small machine: the defaults (200 and 50) cost more in scheduling than they gain.
        "spark.sql.shuffle.partitions": "4",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
    } | (_s3_conf(spark_dir, config.s3) if config.s3 else {})


def _s3_conf(spark_dir: Path, s3: str) -> dict[str, str]:
    """How Spark reaches S3; the credentials it takes from the environment, as everybody does."""
    endpoint, region, _ = s3.split(" ")
    options = hadoop_options(None if endpoint == "AWS" else endpoint, region) | {"buffer.dir": str(spark_dir / "tmp")}
    return {
        S3_OF_SERVER: s3,
        # Delta's writer in Spark could overwrite a commit there. This log store reads; to write it asks for a class
        # of Hadoop's, in whose place is one that is not there and says why.
        "spark.delta.logStore.s3a.impl": "io.delta.storage.HDFSLogStore",
        "spark.hadoop.fs.AbstractFileSystem.s3a.impl": NO_DELTA_WRITES,
        **{f"spark.hadoop.fs.s3a.{name}": value for name, value in options.items()},
    }


def last_lines(log: Path, count: int = 20) -> str:
    """The end of a log file, without the frames of Java's stack traces: they would crowd out what was wrong."""
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([line for line in lines if not line.startswith("\tat ")][-count:])


def _environment(spark_dir: Path) -> dict[str, str]:
    # Another Spark's settings (SPARK_HOME, PYSPARK_SUBMIT_ARGS, ...) must not reach this one.
    kept = {name: value for name, value in os.environ.items() if not re.match("(PY)?SPARK_", name)}
    return kept | {
        "SPARK_HOME": str(pyspark_home()),
        "SPARK_CONF_DIR": str(spark_dir / "conf"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_CONNECT_AUTHENTICATE_TOKEN": token_of(spark_dir),
        "PYSPARK_PYTHON": sys.executable,
        # Java writes names of files in the locale's encoding; in that of a cron job, é becomes a question mark.
        "LC_ALL": "C.UTF-8",
    }


def _new_log(folder: Path) -> Path:
    for old in sorted(folder.glob("server-*.log"))[: -(LOGS_KEPT - 1)]:
        old.unlink(missing_ok=True)
    return folder / f"server-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.log"


LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.stdout.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss} %p %c{1}: %m%n%ex
logger.server.name = org.apache.spark.sql.connect.service.SparkConnectServer
logger.server.level = info
"""
