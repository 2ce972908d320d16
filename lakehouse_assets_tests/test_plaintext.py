"""A credential goes to another machine over TLS only, unless a setting names the host."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from lakehouse_assets.cli import main
from lakehouse_assets.cli.doctor import examine
from lakehouse_assets.platform.common.plaintext import S3_ENDPOINTS, is_loopback, of_spark
from lakehouse_assets.settings import Settings, settings

HERE = ["localhost", "LOCALHOST", "localhost.", "db.localhost", "127.0.0.1", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]"]
AWAY = [
    *("warehouse", "db.example.org", "10.0.0.5", "0.0.0.0", "128.0.0.1", "[2001:db8::1]", "[::ffff:10.0.0.1]"),
    *("localhost.example.org", "127.0.0.1.example.org", "127.1", "mylocalhost"),
]
FORMS: dict[str, tuple[str, dict[str, str]]] = {
    "Spark": ("spark_remote", {"spark_remote": "sc://{}:15002", "spark_token": "geheim"}),
    "Spark, token in the URL": ("spark_remote", {"spark_remote": "sc://{}:15002/;token=geheim"}),
    "Spark, a header": ("spark_remote", {"spark_remote": "sc://{}/;x-key=geheim;user_id=me"}),
    "Spark, no TLS": ("spark_remote", {"spark_remote": "sc://{}:15002/;use_ssl=false", "spark_token": "geheim"}),
    "S3": ("s3_endpoint", {"s3_endpoint": "http://{}:9000"}),
    "S3 in capitals": ("s3_endpoint", {"s3_endpoint": "HTTP://{}"}),
    "PostgreSQL": ("warehouse_url", {"warehouse_url": "postgresql://me:geheim@{}:5432/db"}),
    "PostgreSQL, prefer": ("warehouse_url", {"warehouse_url": "postgres://me:geheim@{}/db?sslmode=prefer"}),
    "PostgreSQL, host as parameter": ("warehouse_url", {"warehouse_url": "postgresql://me:geheim@/db?host={}"}),
    "PostgreSQL, second host": ("warehouse_url", {"warehouse_url": "postgresql://me:geheim@127.0.0.1:1,{}:2/db"}),
    "PostgreSQL of analysts": ("analyst_url", {"analyst_url": "postgresql://me:geheim@{}/db?sslmode=disable"}),
    "Kafka": (
        "kafka_bootstrap",
        {"kafka_bootstrap": "127.0.0.1:9092,{}:9092", "kafka_security_protocol": "sasl_plaintext"},
    ),
    "webhook": ("alert_webhook", {"alert_webhook": "http://{}/geheim"}),
}
ENCRYPTED: list[dict[str, str]] = [
    {"spark_remote": "sc://away:15002/;use_ssl=true", "spark_token": "geheim"},
    {"spark_remote": "sc://away:15002/;use_ssl=True;token=geheim"},
    {"spark_remote": "sc://away:15002/;user_id=me;session_id=1"},  # without a credential
    {"s3_endpoint": "https://away:9000"},
    *[{"warehouse_url": f"postgresql://me:geheim@away/db?sslmode={mode}"} for mode in ("require", "verify-full")],
    {"warehouse_url": "postgresql://me:geheim@/db?host=/run/postgresql"},
    {"kafka_bootstrap": "away:9092", "kafka_security_protocol": "SASL_SSL"},
    {"kafka_bootstrap": "away:9092", "kafka_security_protocol": "PLAINTEXT"},
    {"alert_webhook": "https://away/geheim"},
]


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGSSLMODE", "PGHOST", *S3_ENDPOINTS):
        monkeypatch.delenv(name, raising=False)


def at(form: str, host: str, **others: Any) -> Settings:
    """Settings of a form with this host. In a parameter of a URL, brackets are no part of an address."""
    given = {
        name: value.format(host.strip("[]") if "host={" in value else host) for name, value in FORMS[form][1].items()
    }
    return Settings(**given, **others)


@pytest.mark.parametrize("host", HERE)
def test_this_machine_is_told_secrets(host: str) -> None:
    assert all(at(form, host) for form in FORMS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("host", AWAY)
def test_another_machine_is_told_none_without_tls(form: str, host: str) -> None:
    name = host.strip("[]")
    with pytest.raises(ValueError, match=r"in clear") as refused:
        at(form, host)
    message = str(refused.value).partition("[type=")[0]
    assert f"(LAKEHOUSE_{FORMS[form][0].upper()})" in message
    assert f"LAKEHOUSE_PLAINTEXT_HOSTS={name}" in message
    assert at(form, host, plaintext_hosts=f"other, {host.upper()}")
    assert at(form, host, plaintext_hosts="*")
    with pytest.raises(ValueError, match=r"in clear"):
        at(form, host, plaintext_hosts="other")


@pytest.mark.parametrize("given", ENCRYPTED)
def test_what_is_encrypted_or_no_credential_is_let_through(given: dict[str, str]) -> None:
    assert Settings(**given).exposures == ()  # type: ignore[arg-type]


def test_the_environment_of_postgresql_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "away")
    with pytest.raises(ValueError, match="would go to away in clear"):
        Settings(warehouse_url="postgresql://me:geheim@/db")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert Settings(warehouse_url="postgresql://me:geheim@/db")


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_an_endpoint_of_s3_in_the_environment_counts_where_no_setting_says_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://away:9000")
    with pytest.raises(ValueError, match=rf"keys of S3 would go to away in clear.*\({name}\)"):
        Settings()
    assert Settings(s3_endpoint="https://there").exposures == (), "the setting goes before it"
    assert Settings(plaintext_hosts="away")
    monkeypatch.setenv(name, "http://127.0.0.1:9000")
    assert Settings().exposures == ()


@given(st.one_of(st.ip_addresses().map(str), st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True)))
@example("127.255.255.255")
@example("::1")
@example("126.255.255.255")
@limits(deadline=None)
def test_only_the_loopback_interface_is_this_machine(host: str) -> None:
    first = host.split(".")[0]
    as_known = (first == "127" and host.count(".") == 3 and host.replace(".", "").isdigit()) or host == "::1"
    named = host.removesuffix(".") == "localhost" or host.removesuffix(".").endswith(".localhost") or host == "."
    mapped = host.startswith("::ffff:7f")
    if is_loopback(host):
        assert as_known or named or mapped
    elif as_known:
        assert any((len(part) > 1 and part[0] == "0") or not part or int(part) > 255 for part in host.split("."))


@pytest.mark.parametrize(
    "url",
    ["sc://a", "sc://a:1/", "sc://a:1/;use_ssl=true", "sc://a/;use_ssl=TRUE", "sc://a/;use_ssl=1"],
)
def test_a_url_of_spark_is_read_as_pyspark_reads_it(url: str) -> None:
    from pyspark.sql.connect.client.core import DefaultChannelBuilder

    theirs = DefaultChannelBuilder(url)
    in_clear = not theirs.use_ssl and not is_loopback(theirs.host)
    assert [one.host for one in of_spark(url, token=True)] == ([theirs.host] if in_clear else [])


def test_every_command_refuses_and_the_secret_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAKEHOUSE_WAREHOUSE_URL", "postgresql://me:geheim@warehouse/db")
    for command in (["doctor"], ["gmv"], ["warehouse", "publish"]):
        settings.cache_clear()
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1
        assert "The login of PostgreSQL would go to warehouse in clear" in result.output
        assert isinstance(result.exception, SystemExit)
        assert "geheim" not in result.output + repr(result.exc_info)
    settings.cache_clear()
    there = Settings(home=tmp_path, warehouse_url="postgresql://me:geheim@warehouse/db", plaintext_hosts="warehouse")
    (found,) = [finding for finding in examine(there) if finding.check == "credentials"]
    assert found.text == "in clear to warehouse, as LAKEHOUSE_PLAINTEXT_HOSTS allows"
