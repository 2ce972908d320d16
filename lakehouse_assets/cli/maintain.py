"""`lakehouse maintain`: fewer files, so that a day costs the same however long the history is."""

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.settings import settings


@click.command()
@click.argument("table", required=False)
@click.option("--dry-run", is_flag=True, help="Only list the work.")
@format_option
def maintain(table: str | None, dry_run: bool, output: str) -> None:
    """Compact small files and remove files that no kept version needs; of TABLE (or domain), or of all tables.

    Safe while runs write: no row changes, and every version stays readable for its table's retention.
    """
    from rich.console import Console
    from rich.progress import Progress

    from lakehouse_assets.cli.declared import declared_tables
    from lakehouse_assets.platform.maintenance.maintenance import maintain as maintain_one
    from lakehouse_assets.platform.maintenance.maintenance import stored_tables, survey
    from lakehouse_assets.platform.planning.plan import Lake

    here = settings()
    found = stored_tables(Lake(here.lake, here.landing), declared_tables(), table)
    if dry_run:
        states = [survey(place) for place in found]
        rows = [(s.place.name, s.files, s.small, "yes" if s.due else "no", s.dead) for s in states]
        show(Rows(("table", "files", "small", "compact", "to_remove"), rows), output)
        return
    results = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(found))
        for place in found:
            progress.update(task, description=place.name)
            results.append(maintain_one(survey(place)))
            progress.advance(task)
    done = [(r.before.place.name, r.before.files, r.files, r.removed, r.message) for r in results]
    show(Rows(("table", "files_before", "files_after", "removed", "remark"), done), output)
