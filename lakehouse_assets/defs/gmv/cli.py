"""`lakehouse gmv`: the figures of GMV as they were known on any day."""

from datetime import date

import click

from lakehouse_assets.declare.command import DAY, Rows, as_of_remark, format_option, parse_month, query, show

LEDGER = "gmv.gold.gmv"
COLUMNS = {"subsidiary": "subsidiary", "product": "product_id"}


@click.command()
@click.option("--as-of", type=DAY, help="As known at the end of this day, as 2023-03-31; default: the latest.")
@click.option("--month", help="Only GMV days of this month, as 2023-01.")
@click.option("--by", default="subsidiary", show_default=True, help="subsidiary, product, or both with a comma.")
@format_option
def gmv(as_of: date | None, month: str | None, by: str, output: str) -> None:
    """GMV by day, as known on a day: the same question about a closed day has the same answer for ever.

    `version` counts how often the figure shown has changed, `effective_date` says when it last did.
    """
    first = parse_month(month) if month else None
    asked = by.split(",")
    unknown = [name for name in asked if name not in COLUMNS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r}: choose from subsidiary, product", param_hint="--by")
    if len(set(asked)) < len(asked):
        raise click.BadParameter(f"{by!r} names one twice", param_hint="--by")
    show(figures(as_of, first, tuple(COLUMNS[name] for name in asked)), output)
    if as_of and (remark := as_of_remark(LEDGER, as_of)):
        click.echo(remark, err=True)


def figures(as_of: date | None, month: date | None, by: tuple[str, ...]) -> Rows:
    """Figures per GMV day and `by`, as known at the end of `as_of`; `month` is the first day of a month.

    A row of the ledger moves its key's figure; the moves of one publication and effective day are one step of the sum.
    """
    dimensions = ", ".join(("gmv_date", *by))
    statement = f"""
        WITH moves AS (
            SELECT gmv_date, subsidiary, product_id, effective_date, processed_at,
                   gmv - coalesce(lag(gmv) OVER of_key, 0) AS gmv,
                   purchases - coalesce(lag(purchases) OVER of_key, 0) AS purchases
            FROM gmv.gold.gmv
            WHERE effective_date <= coalesce(?, DATE '9999-12-31') AND coalesce(date_trunc('month', gmv_date) = ?, true)
            WINDOW of_key AS (PARTITION BY gmv_date, subsidiary, product_id ORDER BY effective_date, version)
        ), steps AS (
            SELECT {dimensions}, effective_date, processed_at, sum(gmv) AS gmv, sum(purchases) AS purchases
            FROM moves GROUP BY ALL
        )
        SELECT {dimensions}, sum(gmv)::DECIMAL(38, 2) AS gmv, sum(purchases)::BIGINT AS purchases,
               max(effective_date) FILTER (gmv != 0 OR purchases != 0) AS effective_date,
               count(*) FILTER (gmv != 0 OR purchases != 0) AS version
        FROM steps GROUP BY {dimensions} ORDER BY {dimensions}
    """  # noqa: S608  (column names come from COLUMNS)
    return query(statement, [as_of, month])
