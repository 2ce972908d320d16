"""`lakehouse gmv`: the figures of GMV as they were known on any day."""

from datetime import date

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.settings import settings

COLUMNS = {"subsidiary": "subsidiary", "product": "product_id"}


@click.command()
@click.option("--as-of", help="The day whose knowledge is asked for, as 2023-03-31; default: the latest.")
@click.option("--month", help="Only GMV days of this month, as 2023-01.")
@click.option("--by", default="subsidiary", show_default=True, help="subsidiary, product, or both with a comma.")
@format_option
def gmv(as_of: str | None, month: str | None, by: str, output: str) -> None:
    """GMV by day, as known on a day: the same question about a closed day has the same answer for ever."""
    from lakehouse_assets.platform.days import parse_day

    known = parse_day(as_of) if as_of else None
    first = parse_day(f"{month}-01") if month else None
    unknown = [name for name in by.split(",") if name not in COLUMNS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r}: choose from subsidiary, product", param_hint="--by")
    show(figures(known, first, tuple(COLUMNS[name] for name in by.split(","))), output)


def figures(as_of: date | None, month: date | None, by: tuple[str, ...]) -> Rows:
    """Figures per GMV day and `by`, as known at the end of `as_of`; `month` is the first day of a month."""
    from lakehouse_assets.serving.query import query

    dimensions = ", ".join(("gmv_date", *by))
    statement = f"""
        WITH known AS (
            SELECT * FROM gmv.gold.gmv
            WHERE effective_date <= coalesce(?, DATE '9999-12-31')
            QUALIFY row_number() OVER (
                PARTITION BY gmv_date, subsidiary, product_id ORDER BY effective_date DESC, version DESC
            ) = 1
        )
        SELECT {dimensions}, sum(gmv)::DECIMAL(38, 2) AS gmv, sum(purchases)::BIGINT AS purchases,
               max(effective_date) AS effective_date, max(version) AS version
        FROM known
        WHERE coalesce(date_trunc('month', gmv_date) = ?, true)
        GROUP BY {dimensions} ORDER BY {dimensions}
    """  # noqa: S608  (column names come from COLUMNS)
    result = query(settings(), statement, [as_of, month])
    return Rows(result.columns, result.rows)
