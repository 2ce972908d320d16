"""`lakehouse materialize`: days of tables, in a run of Dagster started from here."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAYS
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from lakehouse_assets.ops.runs import RunEnd
    from lakehouse_assets.platform.common.days import DayRange


@click.command()
@click.argument("selection")
@click.option("--days", required=True, type=DAYS, help="Feed days, as 2023-01-01..2023-02-28, or one day.")
@format_option
def materialize(selection: str, days: "DayRange", output: str) -> None:
    """Materialize days of SELECTION in one Dagster run, and wait for it.

    SELECTION is a domain (gmv), a table (gmv/silver/purchase, gmv/silver/*), or Dagster's selection syntax
    ('tag:domain=gmv and kind:gold'). The run is recorded as any other: the UI shows its log, and its id and link are
    printed. Exit code 1: a step failed, and why is printed.
    """
    console = terminal()
    with progress_on(console) as progress:
        done = run_with_progress(progress, selection, days, f"Materialize {selection} {days}")
    states: dict[str, list[str]] = {step.step: [step.state] for step in done.steps}
    rows = [(step, state[0], len(done.days.get(step, ())), done.run_id) for step, state in states.items()]
    show(Rows(("step", "state", "days", "run_id"), rows), output)
    raise_failed(done)


def run_with_progress(progress: "Progress", selection: str, days: "DayRange", title: str) -> "RunEnd":
    """Run, and show each step's end as it comes."""
    from lakehouse_assets.ops.runs import StepEnd, run, select
    from lakehouse_assets.ops.ui import run_link

    selected = select(selection)
    task = progress.add_task(title, total=selected.steps)

    def begun(run_id: str) -> None:
        progress.console.print(f"Run {run_id}: {run_link(settings().home, run_id)}", highlight=False, soft_wrap=True)

    def ended(step: StepEnd) -> None:
        progress.advance(task)
        if step.state != "materialized" or not progress.console.is_terminal:
            progress.console.print(f"  {step.step}: {step.state}", highlight=False, soft_wrap=True)

    return run(selected, days, begun=begun, ended=ended)


def raise_failed(done: "RunEnd") -> None:
    """Raises LakehouseError with the reasons where a run failed."""
    if not done.success:
        reasons = "\n".join(f"{step.step}: {step.message}" for step in done.failures)
        raise LakehouseError(f"Run {done.run_id} failed.\n{reasons}".rstrip())


def terminal() -> "Console":
    """A console on a copy of the standard error: Dagster captures the original while a step works."""
    from rich.console import Console

    try:
        return Console(file=os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8"), stderr=True)
    except (OSError, AttributeError, ValueError):  # no file: a test's, or a notebook's
        return Console(file=sys.stderr)


@contextmanager
def progress_on(console: "Console") -> Iterator["Progress"]:
    """A progress display; on no terminal, only what is printed to it."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
    )
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        yield progress
