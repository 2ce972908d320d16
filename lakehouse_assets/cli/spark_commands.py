"""`lakehouse spark start|stop|status`, `lakehouse jars` and `lakehouse doctor`."""

from dataclasses import asdict
from typing import Any

import click

from lakehouse_assets.cli.doctor import examine
from lakehouse_assets.cli.output import format_option, show_record
from lakehouse_assets.platform.runtime import jars as spark_jars
from lakehouse_assets.platform.runtime import spark_server
from lakehouse_assets.platform.runtime.jar_sets import SETS, SPARK
from lakehouse_assets.settings import settings


@click.group()
def spark() -> None:
    """The embedded Spark server of this home."""


@spark.command()
@format_option
def start(output: str) -> None:
    """Start the server, or find the one that runs."""
    address = spark_server.ensure_server(settings())
    show_record({"url": address.url, **_status()}, output, f"Spark Connect server: {address.url}")


@spark.command()
@click.option("--timeout", default=20.0, show_default=True, help="Seconds to wait before it is killed.")
@format_option
def stop(timeout: float, output: str) -> None:
    """End the server and all runs on it."""
    sessions = spark_server.server_status(settings()).sessions
    stopped = spark_server.stop_server(settings(), timeout)
    runs = [session.run_id for session in sessions]
    text = "Stopped." + (f" Cut off: {', '.join(runs)}" if runs else "") if stopped else "No server was running."
    show_record({"stopped": stopped, "cut_off": runs}, output, text)


@spark.command()
@format_option
def status(output: str) -> None:
    """Show the server. Exit code 1 when none runs."""
    found = spark_server.server_status(settings())
    if found.running and found.uptime is not None and found.memory is not None:
        text = (
            f"Running: process {found.pid}, port {found.port}, up {found.uptime / 60:.0f} min, "
            f"{found.memory / 1024**2:.0f} MiB, sessions: {len(found.sessions)}"
        )
        text += "".join(f"\n  {user.run_id}: process {user.process.pid}" for user in found.sessions)
    else:
        text = "Not running." if found.pid is None else f"Process {found.pid} runs but does not answer."
    show_record(_status(), output, text)
    if not found.running:
        raise SystemExit(1)


@spark.command("take-over", hidden=True, deprecated=True)
@format_option
def take_over(output: str) -> None:
    """Do nothing: any number of homes writes tables in one bucket."""
    text = "Nothing to take over: any number of homes may write the tables in a bucket. Leave this command out."
    show_record({"needed": False, "notice": text}, output, text)


@click.command()
@click.option("--lock", is_flag=True, help="For maintainers: resolve again and rewrite the lock.")
@click.option("--of", type=click.Choice(list(SETS)), default=SPARK.name, help="Spark's, or a server's.")
@format_option
def jars(lock: bool, of: str, output: str) -> None:
    """Resolve Spark's jars as locked (or those of the Kafka or S3 server); nothing to do when they are there."""
    wanted = SETS[of]
    resolve = spark_jars.rewrite_lock if lock else spark_jars.ensure_jars
    folder = resolve(settings(), wanted)
    names = sorted(wanted.locked())
    show_record({"folder": str(folder), "jars": names}, output, f"{len(names)} jars: {folder}")


@click.command()
@format_option
def doctor(output: str) -> None:
    """Look at what the lakehouse needs from this machine and say what to do. Exit code 1 on a problem."""
    findings = examine(settings())
    lines = [f"{'ok     ' if one.ok else 'problem'}  {one.check}: {one.text}" for one in findings]
    show_record(
        {"ok": all(one.ok for one in findings), "checks": [asdict(one) for one in findings]}, output, "\n".join(lines)
    )
    if not all(one.ok for one in findings):
        raise SystemExit(1)


def _status() -> dict[str, Any]:
    return asdict(spark_server.server_status(settings()))
