"""A stream of orders in a process of its own, to be killed; forked of one that has imported everything already."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Self

LONGEST_WAIT = 300
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["lakehouse_assets.defs.orders.gold", "lakehouse_assets.streaming.run", "pyspark.sql.connect.session", __name__]
)


@dataclass
class StreamProcess:
    """The process, and the end of the pipe on which it says a line for every batch and every error."""

    process: ForkServerProcess
    message: Connection

    @classmethod
    def start(cls, folder: Path, topic: str, batch: int = 150, live: bool = False, **environment: str) -> Self:
        """Run a stream on until it is killed: its lake in `folder`, on the Spark server of this process's settings."""
        ours, theirs = CONTEXT.Pipe(duplex=False)
        given = {**os.environ, "LAKEHOUSE_ROOT": str(folder), **environment}
        process = CONTEXT.Process(target=_run, args=(topic, batch, live, given, theirs), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours)

    def until(self, wanted: Callable[[str], bool]) -> list[str]:
        """The lines it says, up to the first that is wanted."""
        lines: list[str] = []
        while not lines or not wanted(lines[-1]):
            assert self.message.poll(LONGEST_WAIT), f"nothing said for {LONGEST_WAIT} s after {lines}"
            lines.append(self.message.recv())
        return lines

    def end(self) -> int | None:
        """Wait until it has ended; its exit code."""
        self.process.join(LONGEST_WAIT)
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()
        self.end()


def _run(topic: str, batch: int, live: bool, environment: Mapping[str, str], message: Connection) -> None:
    os.environ.clear()
    os.environ.update(environment)
    from lakehouse_assets import defs
    from lakehouse_assets.platform.common.source_days import SourceDays
    from lakehouse_assets.platform.declare.discovery import discover
    from lakehouse_assets.platform.declare.table import TableKey
    from lakehouse_assets.platform.orchestration.staleness import Staleness
    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.platform.planning.step import Step
    from lakehouse_assets.settings import settings
    from lakehouse_assets.streaming.kafka_topic import KafkaTopic
    from lakehouse_assets.streaming.live import keep
    from lakehouse_assets.streaming.live_tables import live_tables
    from lakehouse_assets.streaming.run import Stream

    settings.cache_clear()
    here, catalog = settings(), discover(defs)
    table = catalog.table(TableKey.parse("orders/bronze/order_events"))
    staleness = Staleness(Lake(here.lake, here.landing), catalog)

    def keep_live(step: Step) -> None:
        for one in live_tables(catalog, table.key) if live else ():
            keep(step, staleness, one)

    source = KafkaTopic(topic, SourceDays(date(2009, 1, 1)), batch)
    Stream(
        settings=here, catalog=catalog, table=table, source=source, interval=0.2, keep=keep_live, told=message.send
    ).run_continuously()
