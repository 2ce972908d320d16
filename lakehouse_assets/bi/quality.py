"""The dashboard of data quality: how every table's days are, by dimension, what is in quarantine, what is late."""

from lakehouse_assets.bi.declaration import (
    Choice,
    Dashboard,
    Days,
    Heat,
    Listing,
    Measure,
    Newest,
    Number,
    Rows,
    Series,
    Shape,
    Where,
    greatest,
    total,
)
from lakehouse_assets.serving.quality_tables import CHECK_RESULTS, QUARANTINE

VERDICTS = Newest(
    CHECK_RESULTS,
    "feed_day",
    of=("table", "feed_day"),
    by=(("evaluated_at", "DESC"), ("run_id", "ASC")),
)
"""All rules of the run that judged a table's day last."""
IN_QUARANTINE = Rows(QUARANTINE, "feed_day")
QUARANTINED = total("Rows in quarantine", "rows", ",d")

_DAY = '("table", "feed_day")'
_RULE = ("table", "feed_day", "passed", "blocking")
JUDGED = Measure("Days", f"COUNT(DISTINCT {_DAY})", ("table", "feed_day"), ",d")
FAILED = Measure("Failed days", f'COUNT(DISTINCT {_DAY}) FILTER (WHERE NOT "passed" AND "blocking")', _RULE, ",d")
LATE = Measure("Late days", f'COUNT(DISTINCT {_DAY}) FILTER (WHERE NOT "passed" AND NOT "blocking")', _RULE, ",d")
STATES = ("no rows", "passed", "rows warned", "rows quarantined", "late", "failed")
BROKEN = """MAX(CASE WHEN NOT "passed" AND "blocking" THEN 5 WHEN NOT "passed" THEN 4
    WHEN "failed" > 0 AND "action" = 'quarantine' THEN 3 WHEN "failed" > 0 THEN 2 ELSE 0 END)"""
_OF_STATE = ("passed", "blocking", "failed", "action", "rows", "rule")
# A rule of the whole day is evaluated once also where there are no rows, a deadline has none: the least says it.
WORST = Measure(
    "Worst",
    f"""GREATEST({BROKEN}, CASE WHEN MIN("rows") FILTER (WHERE "rule" <> 'deadline') > 0 THEN 1 ELSE 0 END)""",
    _OF_STATE,
    "d",
)
WORST_OF_TABLES = Measure(
    "Worst of tables", f"""GREATEST({BROKEN}, CASE WHEN MAX("rows") > 0 THEN 1 ELSE 0 END)""", _OF_STATE, "d"
)
RATE = Measure("Rate", 'SUM("failed")::float / NULLIF(SUM("rows"), 0)', ("failed", "rows"), ".2%")
ON_TIME = Measure(
    "On time on its newest day",
    """(array_agg("passed" ORDER BY "feed_day" DESC))[1]""",
    ("passed", "feed_day"),
    "",
)

DASHBOARD = Dashboard(
    "quality",
    "Data quality",
    filters=(
        Days("Feed days"),
        Choice("Table", VERDICTS, "table"),
        Choice("Dimension", VERDICTS, "dimension"),
    ),
    names={"rows": "Rows evaluated", "failed": "Rows that failed", "run_id": "Run"},
    filled_by=("make demo", "lakehouse warehouse catch-up"),
    charts=(
        (
            Number(title="Judged days of tables", source=VERDICTS, measure=JUDGED),
            Number(title="Failed", source=VERDICTS, measure=FAILED),
            Number(title="Late", source=VERDICTS, measure=LATE),
            Number(title="Rows in quarantine", source=IN_QUARANTINE, measure=QUARANTINED),
        ),
        (
            Heat(
                title="Tables by day",
                about="The newest check result of every table and day; of the dimensions chosen above.",
                source=VERDICTS,
                x="feed_day",
                y="table",
                measure=WORST,
                states=STATES,
                height=100,
            ),
        ),
        (
            Heat(
                title="Dimensions by day",
                source=VERDICTS,
                x="feed_day",
                y="dimension",
                measure=WORST_OF_TABLES,
                states=STATES,
            ),
        ),
        (
            Listing(
                title="Failed days",
                about="Nothing of these days was committed; what reads them waits.",
                source=VERDICTS,
                shown=("table", "feed_day", "rule", "failed", "rows", "run_id"),
                newest="feed_day",
                where=(Where("passed", (False,)), Where("blocking", (True,))),
                width=7,
            ),
            Listing(
                title="Freshness",
                source=VERDICTS,
                shown=("table",),
                figures=(greatest("Newest day", "feed_day"), greatest("Judged", "evaluated_at"), ON_TIME),
                where=(Where("dimension", ("timeliness",)),),
                width=5,
            ),
        ),
        (
            Listing(
                title="Rules that rows broke",
                about="Rows that broke a rule, of all rows evaluated. Their days are committed, or failed.",
                source=VERDICTS,
                shown=("table", "rule", "action"),
                figures=(total("Rows", "failed", ",d"), RATE),
            ),
        ),
        (
            Listing(title="Quarantine by rule", source=IN_QUARANTINE, shown=("table", "rules"), figures=(QUARANTINED,)),
            Series(
                title="Quarantine by day",
                source=IN_QUARANTINE,
                x="feed_day",
                figures=(QUARANTINED,),
                split="table",
                shape=Shape.BAR,
                stacked=True,
            ),
        ),
    ),
)
