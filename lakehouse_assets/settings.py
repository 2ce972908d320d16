"""Settings of one lakehouse, from the environment (`LAKEHOUSE_*`) and `.env`. Nothing is read at import."""

from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where this lakehouse keeps its files and which Spark it talks to. Every field is `LAKEHOUSE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="LAKEHOUSE_", env_file=".env", extra="ignore", frozen=True)

    home: Path = Field(Path(".lakehouse"), description="folder of lake, landing, Spark server and Dagster's storage")
    root: Path | None = Field(None, description="folder of the lake and the landed files; unset: the home")
    drop: Path | None = Field(None, description="folder in which sources drop files; unset: drop in the home")
    spark_remote: str | None = Field(None, description="Spark Connect URL of a cluster; unset: the embedded server")
    spark_token: SecretStr | None = Field(None, description="token of that cluster's Spark Connect server")
    spark_heap: str = Field("2g", pattern=r"^\d+[mg]$", description="heap of the embedded server's JVM")
    spark_cores: str = Field("*", pattern=r"^(\*|\d+)$", description="cores of the embedded server")
    pseudonym_key: SecretStr | None = Field(None, description="key of pseudonyms (HMAC-SHA256), 32 characters or more")
    pseudonym_key_id: str = Field("1", description="name of that key; it is stored beside every pseudonym")
    warehouse_url: SecretStr | None = Field(
        None, description="URL of a PostgreSQL to publish to; unset: an embedded one"
    )
    analyst_url: SecretStr | None = Field(
        None, description="URL of that PostgreSQL for dashboards: a login that only reads"
    )
    quiet_seconds: float = Field(2.0, ge=0, description="how long inputs must be quiet before a sensor asks for a run")
    jars: Path | None = Field(None, description="folder of Spark's jars; unset: inside the Python environment")
    inbox: Path | None = Field(None, description="folder in which files of streams arrive: <domain>/<table>/<file>")
    documents: str | None = Field(
        None, description="where the marketplace's documents arrive: s3://bucket/input/ or a folder"
    )
    s3_endpoint: str | None = Field(
        None, description="S3 endpoint, http://host:port; unset: this home's server, else AWS"
    )
    kafka_bootstrap: str | None = Field(None, description="Kafka's brokers, host:port,…; unset: this home's broker")
    kafka_security_protocol: str = Field("PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
    kafka_sasl_mechanism: str | None = Field(None, description="PLAIN or SCRAM-SHA-512, where Kafka asks for a login")
    kafka_username: str | None = Field(None, description="user of Kafka")
    kafka_password: SecretStr | None = Field(None, description="password of that user")
    kafka_ca: Path | None = Field(None, description="PEM file of the authority that signed Kafka's certificate")

    @property
    def lake(self) -> Path:
        """Root of the Delta tables: `<lake>/<domain>/<layer>/<table>`."""
        return (self.root or self.home).absolute() / "lake"

    @property
    def landing(self) -> Path:
        """Root of the landed files: `<landing>/<domain>/<table>/<feed day>/`."""
        return (self.root or self.home).absolute() / "landing"

    @property
    def drop_folder(self) -> Path:
        """Where sources drop their files: `<drop>/<domain>/<day>/<table>.csv`."""
        return (self.drop or self.home / "drop").absolute()

    @property
    def spark_dir(self) -> Path:
        """State, token and logs of the embedded Spark server."""
        return self.home.absolute() / "spark"


@cache
def settings() -> Settings:
    """The settings of this process, read on first use."""
    return Settings()  # type: ignore[call-arg]
