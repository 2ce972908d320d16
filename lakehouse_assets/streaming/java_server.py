"""A Java server of this home, for development and tests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse_assets.platform.runtime.dev_server import HomeServer, Launch, accepts, plain_environment, run_before
from lakehouse_assets.platform.runtime.jar_sets import JarSet
from lakehouse_assets.platform.runtime.jars import ensure_jars, find_java
from lakehouse_assets.settings import Settings

if TYPE_CHECKING:
    from io import BufferedWriter

Layout = Callable[[Path, int, Callable[[Sequence[str]], None]], Sequence[str]]
"""Writes what a server needs for a port into its folder, runs what must run before (it is given `java`), and returns
the main class with its arguments."""


@dataclass(frozen=True)
class JavaKind:
    """A kind of Java server: its jars, heap, and how it is laid out in its folder."""

    jars: JarSet
    heap: str
    layout: Layout

    def prepare(self, settings: Settings, folder: Path, port: int, log: "BufferedWriter") -> Launch:
        """Lay it out."""
        java = [str(find_java().path), f"-Xmx{self.heap}", "-cp", f"{ensure_jars(settings, self.jars)}/*"]
        environment = plain_environment("KAFKA_", "S3PROXY_")

        def run(arguments: Sequence[str]) -> None:
            run_before(folder.name, [*java, *arguments], folder, log, environment)

        return Launch([*java, *self.layout(folder, port, run)], environment)

    def answers(self, port: int) -> bool:
        """It listens."""
        return accepts(port)


def java_server(name: str, jars: JarSet, heap: str, layout: Layout) -> HomeServer:
    """A Java server of a home."""
    return HomeServer(name, JavaKind(jars, heap, layout))
