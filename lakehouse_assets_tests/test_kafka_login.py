"""A broker that asks for TLS and a login: producer, offsets and Spark get in with them, and nobody without."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.platform.runtime.jar_sets import KAFKA
from lakehouse_assets.platform.runtime.jars import find_java
from lakehouse_assets.platform.streams.stream_ingest import drain_available
from lakehouse_assets.samples.orders.producer import send
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets.streaming import kafka_client
from lakehouse_assets.streaming.java_server import java_server
from lakehouse_assets.streaming.kafka_client import KafkaError, client_options, topic_state
from lakehouse_assets.streaming.kafka_server import prepare
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.test_kafka import bronze, coordinates, numbered, step, topic_of

pytestmark = pytest.mark.slow

PASSWORD = "only for this test"
STORE = ("-storetype", "PKCS12", "-storepass", PASSWORD)


def keytool(*arguments: str | Path) -> None:
    tool = find_java().path.with_name("keytool")
    subprocess.run([tool, *map(str, arguments)], check=True, capture_output=True)


def guarded(folder: Path, port: int, java: Callable[[Sequence[str]], None]) -> Sequence[str]:
    """The home's broker, but that its listener speaks TLS and asks for a password."""
    store, authority = folder / "keys.p12", folder / "authority.pem"
    names = ("-dname", "CN=127.0.0.1", "-ext", "SAN=ip:127.0.0.1", "-validity", "2")
    keytool("-genkeypair", "-alias", "broker", "-keyalg", "EC", "-keystore", store, *STORE, *names)
    keytool("-exportcert", "-rfc", "-alias", "broker", "-keystore", store, *STORE, "-file", authority)
    users = " ".join(f'user_{name}="{PASSWORD}"' for name in ("broker", "orders"))
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    secured = {
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{login} username="broker" password="{PASSWORD}" {users};',
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(store),
        "ssl.keystore.password": PASSWORD,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority),
    }
    return prepare(folder, port, java, secured, "SASL_SSL")


@pytest.fixture
def login(spark_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A guarded broker, and this process's settings for it."""
    server = java_server("guarded", KAFKA, "512m", guarded)
    home = Settings(home=tmp_path / "home")
    running = server.start(home)
    for name, value in {
        "BOOTSTRAP": f"127.0.0.1:{running.port}", "SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "PLAIN",
        "USERNAME": "orders", "PASSWORD": PASSWORD, "CA": str(server.folder(home) / "authority.pem"),
    }.items():  # fmt: skip
        monkeypatch.setenv(f"LAKEHOUSE_KAFKA_{name}", value)
    settings.cache_clear()
    yield monkeypatch
    server.stop(home)
    settings.cache_clear()


def test_with_a_login_over_tls_everything_works_and_without_nothing(
    login: pytest.MonkeyPatch, spark: SparkSession, tmp_path: Path
) -> None:
    driver, source = LakeDriver.at(spark, tmp_path), topic_of(settings(), "guarded")
    send(client_options(settings()), numbered(20), source.topic)
    drain_available(step(driver), bronze(driver), source)
    assert len(coordinates(driver)) == 20
    assert PASSWORD not in repr(settings())
    login.setenv("LAKEHOUSE_KAFKA_PASSWORD", "another")
    login.setattr(kafka_client, "SECONDS", 8.0)  # how long a broker is asked that lets nobody in
    settings.cache_clear()
    with pytest.raises(KafkaError, match="Authentication failed") as refused:
        topic_state(settings(), source.topic)
    assert "another" not in str(refused.value)
