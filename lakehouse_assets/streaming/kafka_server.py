"""A real Kafka broker of this home (KRaft, one node, loopback), for development, the demo and tests."""

import base64
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from lakehouse_assets.platform.runtime.jar_sets import KAFKA
from lakehouse_assets.platform.runtime.spark_launch import free_port
from lakehouse_assets.streaming.java_server import java_server


def prepare(
    folder: Path,
    port: int,
    java: Callable[[Sequence[str]], None],
    listener: Mapping[str, str] = MappingProxyType({}),
    protocol: str = "PLAINTEXT",
) -> Sequence[str]:
    """Write the configuration; format the storage the first time.

    `protocol`: what the listener speaks; `listener`: what it needs for that.
    """
    properties = folder / "server.properties"
    data = folder / "data"
    first = not (data / "meta.properties").exists()
    configuration = _configuration(data, port, free_port(), protocol) | dict(listener)
    properties.write_text("".join(f"{name}={value}\n" for name, value in configuration.items()))
    properties.chmod(0o600)
    logging = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    if first:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        java([logging, "kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", str(properties)])
    return [logging, "kafka.Kafka", str(properties)]


def _configuration(data: Path, port: int, controller_port: int, protocol: str) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"{protocol}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"{protocol}://127.0.0.1:{port}",
        "listener.security.protocol.map": f"{protocol}:{protocol},CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": protocol,
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "auto.create.topics.enable": "false",
        # Records of the demo are kept for ever: their timestamps are those of the events, years ago.
        "log.retention.ms": "-1",
        "log.roll.ms": "9223372036854775807",
    }


SERVER = java_server("kafka", KAFKA, "512m", prepare)
