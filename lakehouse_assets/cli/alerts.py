"""`lakehouse alerts`: what is late or failed and who was told, and a trial of the hooks."""

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.settings import settings


@click.command()
@click.option("--all", "resolved_too", is_flag=True, help="Resolved alerts as well.")
@click.option("--try", "try_hooks", is_flag=True, help="Send a trial alert to every hook of the settings.")
@format_option
def alerts(resolved_too: bool, try_hooks: bool, output: str) -> None:
    """List late days, days with failed checks, and the hooks that were notified."""
    from lakehouse_assets.ops.alerts import read_alerts

    if try_hooks:
        _try_hooks()
        return
    found = [one for one in read_alerts(settings().lake) if resolved_too or not one.resolved]
    rows = [
        (
            one.subject.table, one.subject.day, one.subject.trouble.value, one.raised, one.resolved or "",
            ",".join(sorted(one.sent)), sum(map(len, one.refused.values())), one.message,
        )
        for one in found
    ]  # fmt: skip
    show(Rows(("table", "feed_day", "state", "raised", "resolved", "told", "refused", "why"), rows), output)


def _try_hooks() -> None:
    from datetime import UTC, datetime

    from lakehouse_assets.ops.alerts import Alert, Subject, Trouble
    from lakehouse_assets.ops.hooks import hooks
    from lakehouse_assets.platform.common.errors import LakehouseError

    now = datetime.now(UTC)
    trial = Alert(
        Subject("this/is/a_trial", now.date(), Trouble.LATE), "Nothing is wrong: somebody tries the hooks.", now
    )
    found = hooks(settings())
    if not found:
        raise LakehouseError("No hook is set: LAKEHOUSE_ALERT_WEBHOOK or LAKEHOUSE_ALERT_COMMAND.")
    for name, deliver in found.items():
        deliver(trial)
        click.echo(f"{name}: taken")
