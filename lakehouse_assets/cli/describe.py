"""`lakehouse describe`: one table, by its declaration and by what the lake holds of it."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from lakehouse_assets.cli.output import Rows, format_option, show, show_record
from lakehouse_assets.cli.parameters import TABLE
from lakehouse_assets.cli.tables import deadline_of, write_of
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from lakehouse_assets.cli.contract_summary import ContractSummary
    from lakehouse_assets.platform.declare.table import Read, Table


@click.command()
@click.argument("table", type=TABLE)
@format_option
def describe(table: "Table", output: str) -> None:
    """Describe TABLE: its contract (columns, key, rules), what it reads, its days, newest version and deadline.

    JSON has everything in one object; CSV has a row for each column.
    """
    from lakehouse_assets.cli.declared import summary_of

    contract = summary_of(table)
    columns = Rows(
        ("column", "type", "nullable", "personal", "description"),
        [(one.name, one.type, one.nullable, one.personal, one.description) for one in contract.columns],
    )
    about = _facts(table, contract)
    if output == "csv":
        show(columns, output)
        return
    if output == "json":
        record = asdict(contract)
        show_record(about | {"columns": record["columns"], "rules": record["rules"]}, output, "")
        return
    show(
        Rows(("fact", "value"), [(name, _text(value)) for name, value in about.items()]),
        output,
        str(table.key),
    )
    show(columns, output, "Columns")
    rules = [(rule.name, rule.dimension, rule.action, rule.description) for rule in contract.rules]
    show(Rows(("rule", "dimension", "action", "description"), rules), output, "Rules")


def _facts(table: "Table", contract: "ContractSummary") -> dict[str, Any]:
    from lakehouse_assets.platform.common.days import write_days
    from lakehouse_assets.platform.orchestration.staleness import TableVersions
    from lakehouse_assets.platform.planning.plan import Lake

    here = settings()
    path = Lake(here.lake, here.landing).path(table.key)
    own = TableVersions(path, landed=False)
    own.refresh()
    return {
        "table": str(table.key),
        "description": contract.description,
        "contract": contract.name,
        "owners": list(contract.owners),
        "key": list(contract.key),
        "write": write_of(table),
        "reads": {name: _read(read) for name, read in table.reads.items()},
        "materialized_with": [str(one.key) for one in table.co_materialized],
        "days": write_days(own.built.keys() | own.changed.keys()),
        "version": own.seen if own.seen >= 0 else None,
        "deadline": deadline_of(table),
        "event_time": contract.event_time,
        "location": str(path),
    }


def _read(read: "Read") -> str:
    from lakehouse_assets.platform.declare.table import Span

    span = {
        Span.DAY: "the same day",
        Span.LAST: f"the last {read.days} days",
        Span.THROUGH: "all days through the day",
        Span.WHOLE: "the whole table",
    }
    return f"{read.table}, {span[read.span]}"


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case dict():
            return "\n".join(f"{name}: {one}" for name, one in value.items())
        case list():
            return ", ".join(map(str, value))
    return str(value)
