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
    warehouse_url: SecretStr | None = Field(
        None, description="URL of a PostgreSQL to publish to; unset: an embedded one"
    )
    quiet_seconds: float = Field(2.0, ge=0, description="how long inputs must be quiet before a sensor asks for a run")
    jars: Path | None = Field(None, description="folder of Spark's jars; unset: inside the Python environment")

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
