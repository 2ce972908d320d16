"""Settings of one lakehouse, from the environment (`LAKEHOUSE_*`) and `.env`. Nothing is read at import."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lakehouse_assets.platform.common import plaintext
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.storage.location import SCHEMES, Location, location
from lakehouse_assets.platform.storage.s3 import S3Path
from lakehouse_assets.renamed_settings import either_name, warn_of_former_names

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MISREAD = re.compile(r'[\x00-\x1f\x7f\ud800-\udfff"$`,*?|^\[\]{}\\]|%[0-9A-Fa-f]{2}')
"""What of a path Spark takes for a pattern, delta-rs for an encoded character, PostgreSQL and its shell for an end."""


def _readable(path: Any) -> None:
    if found := MISREAD.search(str(path)):
        raise ValueError(
            f"has {found[0]!r} in its path, {str(path)!r}, which Spark, Delta or PostgreSQL would read as something "
            "else; blanks, accents and other signs are no trouble. Name another folder"
        )


def _folder(value: Any) -> Any:
    """Refuses a bucket where a folder is meant (it would become a folder called `s3a:`), and a path misread by some."""
    if str(value).startswith(SCHEMES):
        raise ValueError("is a folder of this machine; a bucket can be LAKEHOUSE_LAKE and LAKEHOUSE_LANDING")
    _readable(Path(value).absolute())
    return value


def _place(value: Any, info: ValidationInfo) -> Location:
    """A path or `s3a://bucket/prefix`; where nothing is said, a folder of the root, else of the home."""
    if isinstance(value, Path | S3Path):
        found: Location = value.absolute()
    elif not value:
        return _in_root(str(info.field_name), info.data)
    else:
        try:
            found = location(str(value), info.data.get("s3_endpoint"))
        except LakehouseError as error:
            raise ValueError(str(error)) from error
    _readable(found)
    return found


def _in_root(name: str, values: Mapping[str, Any]) -> Path:
    base: Path = values.get("root") or values.get("home") or Path()
    return base.absolute() / name


Folder = Annotated[Path, BeforeValidator(_folder)]
Root = Annotated[Location, BeforeValidator(_place)]


class Settings(BaseSettings):
    """Where this lakehouse keeps its files and which Spark it talks to. Every field is `LAKEHOUSE_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="LAKEHOUSE_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    home: Folder = Field(
        Path(".lakehouse"),
        validate_default=True,
        description="folder of the instance: lake, landed files, Spark server, Dagster's storage",
    )
    root: Folder | None = Field(None, description="folder of the lake and the landed files; unset: LAKEHOUSE_HOME")
    s3_endpoint: str | None = Field(
        None,
        description="S3 endpoint, http://host:port; it precedes AWS_ENDPOINT_URL_S3; credentials come from AWS_*; "
        "unset: AWS, for documents and `lakehouse bucket` the local server while it runs",
    )
    landing: Root = Field(
        None,
        validate_default=True,
        description="raw: the landed files, a folder or s3a://bucket/prefix; unset: in the root",
    )
    lake: Root = Field(
        None,
        validate_default=True,
        description="processed: the tables, a folder or s3a://bucket/prefix; unset: in the root",
    )
    drop: Folder | None = Field(
        None, description="folder in which sources drop files, watched by a sensor; unset: drop in LAKEHOUSE_HOME"
    )
    spark_remote: str | None = Field(
        None,
        description="Spark Connect URL of a cluster; a session sets the options that results depend on (time zone, "
        "ANSI mode, …), and a server that rejects them is refused; unset: an embedded server",
    )
    first_days: str | None = Field(
        None,
        pattern=r"^(declared|\w+=\d{4}-\d{2}-\d{2}(,\w+=\d{4}-\d{2}-\d{2})*)$",
        description="first partition of domains, gmv=2023-01-01,store=2023-02-01, or declared; unset: the file "
        "first_days of the home, which the demo writes",
    )
    spark_token: SecretStr | None = Field(None, description="token of that cluster's Spark Connect server")
    spark_heap: str = Field("2g", pattern=r"^\d+[mg]$", description="heap of the embedded server's JVM")
    spark_cores: str = Field("*", pattern=r"^(\*|\d+)$", description="cores of the embedded server")
    pseudonym_key: SecretStr | None = Field(
        None,
        description="key of pseudonyms (HMAC-SHA256), 32 characters or more; the loyalty domain needs it; `make dev` "
        "generates one for development",
    )
    pseudonym_key_id: str = Field("1", description="name of that key, stored beside every pseudonym")
    warehouse_url: SecretStr | None = Field(
        None,
        description="PostgreSQL to publish to, postgresql://user:password@host:5432/database; unset: an embedded one",
    )
    analyst_url: SecretStr | None = Field(
        None, description="the same PostgreSQL for dashboards, with a login that only reads"
    )
    alert_webhook: SecretStr | None = Field(None, description="URL to which alerts are posted as JSON")
    alert_command: SecretStr | None = Field(
        None, description="command that receives an alert as an e-mail message, such as: sendmail ops@example.com"
    )
    debounce_seconds: float = Field(
        2.0,
        ge=0,
        validation_alias=either_name("LAKEHOUSE_DEBOUNCE_SECONDS"),
        description="debounce: seconds without new upstream commits before a sensor requests a run",
    )
    jars: Path | None = Field(None, description="folder of Spark's jars; unset: inside the Python environment")
    inbox: Folder | None = Field(None, description="folder in which files of streams arrive: <domain>/<table>/<file>")
    documents: str | None = Field(
        None, description="source of the marketplace's documents: s3://bucket/input/ or a folder"
    )
    stream_batch_bytes: int = Field(
        32 * 2**20, ge=2**10, description="maximum bytes of a stream's batch; a larger record is a batch of its own"
    )
    kafka_bootstrap: str | None = Field(None, description="Kafka's brokers, host:port,…; unset: the local broker")
    kafka_security_protocol: str = Field("PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
    kafka_sasl_mechanism: str | None = Field(None, description="PLAIN or SCRAM-SHA-512, if Kafka requires a login")
    kafka_username: str | None = Field(None, description="user of Kafka")
    kafka_password: SecretStr | None = Field(None, description="password of that user")
    kafka_ca: Path | None = Field(None, description="PEM file of the authority that signed Kafka's certificate")
    plaintext_hosts: str | None = Field(
        None,
        description="hosts, with commas, to which credentials may go without TLS; *: any; unset: this machine only",
    )

    @model_validator(mode="after")
    def _over_tls(self) -> Self:
        """Refuses what would send a credential in clear to another machine, unless told otherwise."""
        if found := plaintext.refused(self.exposures, self.plaintext_hosts or ""):
            raise ValueError(". ".join(one.refusal() for one in found))
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, in which landed files and tables lie in the copy's root, where they lay in this one's."""
        ours = {"root": self.root, "home": self.home}
        theirs = ours | dict(update or {})
        moved = [name for name in ("landing", "lake") if getattr(self, name) == _in_root(name, ours)]
        return super().model_copy(
            update={name: _in_root(name, theirs) for name in moved} | dict(update or {}), deep=deep
        )

    @property
    def exposures(self) -> tuple[plaintext.Exposure, ...]:
        """Hosts to which these settings would send a credential without TLS, allowed or not."""
        warehouse, analyst, webhook = (
            url.get_secret_value() if url else None
            for url in (self.warehouse_url, self.analyst_url, self.alert_webhook)
        )
        return (
            *plaintext.of_spark(self.spark_remote, self.spark_token is not None),
            *plaintext.of_s3(self.s3_endpoint),
            *plaintext.of_postgres(warehouse, "LAKEHOUSE_WAREHOUSE_URL"),
            *plaintext.of_postgres(analyst, "LAKEHOUSE_ANALYST_URL"),
            *plaintext.of_kafka(self.kafka_bootstrap, self.kafka_security_protocol),
            *plaintext.of_url(webhook, "LAKEHOUSE_ALERT_WEBHOOK", "The URL of the webhook"),
        )

    @property
    def drop_folder(self) -> Path:
        """Where sources drop their files: `<drop>/<domain>/<day>/<table>.csv`."""
        return (self.drop or self.home / "drop").absolute()

    @property
    def spark_dir(self) -> Path:
        """State, token and logs of the embedded Spark server."""
        return self.home.absolute() / "spark"


class SettingsError(LakehouseError):
    """A setting that cannot be used."""


@cache
def settings() -> Settings:
    """The settings of this process, read on first use, with a notice of former names. Raises SettingsError."""
    warn_of_former_names(Settings)
    return read_settings()


def read_settings() -> Settings:
    """The settings as environment and `.env` are now. Raises SettingsError."""
    try:
        return Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        # Not the error itself: it quotes what was given, which may be a secret.
        raise SettingsError(". ".join(_said(one) for one in error.errors()) + ".") from None


def _said(error: "ErrorDetails") -> str:
    text = error["msg"].removeprefix("Value error, ")
    name = str(error["loc"][0]).upper().removeprefix("LAKEHOUSE_") if error["loc"] else ""
    return f"LAKEHOUSE_{name}: {text}" if name else text
