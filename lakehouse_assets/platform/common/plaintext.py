"""Credentials leave this machine over TLS only, but for hosts that a setting names.

What would carry one in clear is found in the settings, before anything is connected: a token, a password, S3 keys, a
URL that is a secret itself. The loopback interface and Unix sockets are this machine.
"""

import ipaddress
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

ANY = "*"
S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
ENCRYPTED = ("require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class Exposure:
    """A host to which a credential would go in clear, the setting (in capitals) that says so, and how to say TLS."""

    host: str
    setting: str
    what: str
    remedy: str

    def refusal(self) -> str:
        """What would happen, and both ways on."""
        return (
            f"{self.what} would go to {self.host} in clear, for anybody between to read ({self.setting}). "
            f"{self.remedy}; or, where that network is trusted, set LAKEHOUSE_PLAINTEXT_HOSTS={self.host}"
        )


def is_loopback(host: str) -> bool:
    """Whether a host, as URLs write it, is this machine: 127.0.0.0/8, ::1, localhost, or a Unix socket."""
    name = host.strip("[]").lower().removesuffix(".")
    if name == "" or name.startswith(("/", "@")) or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def allowed(setting: str) -> frozenset[str]:
    """The hosts that LAKEHOUSE_PLAINTEXT_HOSTS names."""
    return frozenset(host.strip().strip("[]").lower() for host in setting.split(",") if host.strip())


def refused(exposures: Collection[Exposure], plaintext_hosts: str) -> list[Exposure]:
    """Those that nobody allowed."""
    named = allowed(plaintext_hosts)
    return [one for one in exposures if ANY not in named and one.host.lower() not in named]


def of_spark(url: str | None, token: bool) -> Iterator[Exposure]:
    """A Spark Connect URL. All its parameters but these few go to the server as headers."""
    if url is None:
        return
    parts = urlsplit(url)
    given = dict(pair.partition("=")[::2] for pair in parts.path.lstrip("/").split(";") if pair)
    encrypted = given.pop("use_ssl", "").lower() == "true"
    secret = token or given.keys() - {"user_id", "user_agent", "session_id"}
    host = _host(url)
    if secret and not encrypted and not is_loopback(host):
        yield Exposure(
            host, "LAKEHOUSE_SPARK_REMOTE", "The token of Spark", "Give the server a certificate and add ;use_ssl=true"
        )


def of_url(url: str | None, setting: str, what: str) -> Iterator[Exposure]:
    """An http URL."""
    if url is not None and url.lower().startswith("http://") and not is_loopback(_host(url)):
        yield Exposure(_host(url), setting, what, "Use https://")


def of_s3(endpoint: str | None) -> Iterator[Exposure]:
    """The endpoint of the settings; where it is unset, those that the clients of S3 find in the environment."""
    found = {"LAKEHOUSE_S3_ENDPOINT": endpoint} if endpoint else {name: os.environ.get(name) for name in S3_ENDPOINTS}
    for name, url in found.items():
        yield from of_url(url, name, "Requests signed with the keys of S3")


def of_postgres(url: str | None, setting: str) -> Iterator[Exposure]:
    """Hosts of a PostgreSQL that the client may log in to without TLS: by default it falls back to that."""
    if url is None:
        return
    import psycopg2
    from psycopg2.extensions import parse_dsn

    try:
        given = parse_dsn(url)
    except psycopg2.ProgrammingError:
        return  # no URL of PostgreSQL, which whoever connects says
    mode = given.get("sslmode") or os.environ.get("PGSSLMODE", "")
    if mode in ENCRYPTED or given.get("gssencmode") == "require":
        return
    hosts = ",".join(given[name] for name in ("host", "hostaddr") if name in given) or os.environ.get("PGHOST", "")
    if not hosts and "service" in given:
        hosts = given["service"]
    for host in hosts.split(","):
        if not is_loopback(host):
            yield Exposure(host, setting, "The login of PostgreSQL", "Add ?sslmode=verify-full to the URL")


def of_kafka(bootstrap: str | None, protocol: str) -> Iterator[Exposure]:
    """Brokers to which a login goes without TLS."""
    if bootstrap is None or protocol.upper() != "SASL_PLAINTEXT":
        return
    for broker in bootstrap.split(","):
        host = _host(f"kafka://{broker.strip().rpartition('://')[2]}")
        if not is_loopback(host):
            yield Exposure(
                host,
                "LAKEHOUSE_KAFKA_BOOTSTRAP",
                "The login of Kafka",
                "Use LAKEHOUSE_KAFKA_SECURITY_PROTOCOL=SASL_SSL",
            )


def _host(url: str) -> str:
    """The host of a URL, without brackets; what cannot be told counts as a host."""
    try:
        return urlsplit(url).hostname or "an unknown host"
    except ValueError:
        return "an unknown host"
