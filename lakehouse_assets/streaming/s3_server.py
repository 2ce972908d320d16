"""An S3 server of this home (s3proxy over a folder, loopback), for development, the demo and tests."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lakehouse_assets.platform.runtime.jar_sets import S3
from lakehouse_assets.streaming.java_server import java_server


def _prepare(folder: Path, port: int, java: Callable[[Sequence[str]], None]) -> Sequence[str]:
    """Write the configuration."""
    data, properties = folder / "data", folder / "s3proxy.properties"
    data.mkdir(exist_ok=True)
    properties.write_text(
        f"s3proxy.endpoint=http://127.0.0.1:{port}\n"
        "s3proxy.authorization=none\n"
        "jclouds.provider=filesystem-nio2\n"
        f"jclouds.filesystem.basedir={data}\n"
    )
    (folder / "logback.xml").write_text(LOGBACK)
    return [
        f"-Dlogback.configurationFile={folder / 'logback.xml'}",
        "org.gaul.s3proxy.Main",
        "--properties",
        str(properties),
    ]


SERVER = java_server("s3", S3, "256m", _prepare)

LOGBACK = """\
<configuration>
  <appender name="console" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %level %logger{0}: %msg%n</pattern></encoder>
  </appender>
  <root level="warn"><appender-ref ref="console"/></root>
</configuration>
"""
