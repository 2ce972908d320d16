"""The quarantine of a table: the rows that broke a rule, whole, with the rules, beside the table."""

from dataclasses import replace

from pyspark.sql import types as T

from lakehouse_assets.platform import evaluate, writer
from lakehouse_assets.platform.delta import Note, version_of
from lakehouse_assets.platform.erased_since import refuse_erased
from lakehouse_assets.platform.file_stats import may_hold
from lakehouse_assets.platform.marked import Marked
from lakehouse_assets.platform.plan import Lake, Plan
from lakehouse_assets.platform.table import DAY_COLUMN, Ledger

QUARANTINE = T.StructType(
    [
        T.StructField(DAY_COLUMN, T.DateType(), False, {"comment": "feed day of the row"}),
        T.StructField("rules", T.ArrayType(T.StringType()), False, {"comment": "rules that the row broke"}),
        T.StructField("source_file", T.StringType(), True, {"comment": "landed file it came from"}),
        T.StructField("row_number", T.LongType(), True, {"comment": "row of that file, from 1"}),
        T.StructField("version", T.IntegerType(), True, {"comment": "number of the feed day's landing"}),
        T.StructField("row", T.StringType(), False, {"comment": "the whole row as it came, as JSON"}),
    ]
)


def replace_quarantine(lake: Lake, plan: Plan, rows: Marked, note: Note) -> None:
    """Replace the quarantine of the days that are written; days without bad rows are touched only if they had some.

    A ledger has no quarantine: its figures are our own, and a bad one fails its day. Raises LostRace, WriteError.
    """
    if isinstance(plan.table.write, Ledger):
        return
    path = lake.quarantine(plan.table.key)
    of_days = {day: note.rows[day] for day in note.days}
    if not any(of.quarantined for of in of_days.values()) and not may_hold(path, DAY_COLUMN, note.days):
        return
    base = version_of(path)
    refuse_erased(lake, plan)  # after the version: an erasure that comes later moves it
    note = replace(note, rows=of_days, unchanged=frozenset(), base=base)
    target = writer.Target(path, f"{plan.table.key}__quarantine", QUARANTINE, parquet=plan.table.parquet)
    left = evaluate.quarantined(rows.bad, plan.table.compiled).where(writer.on_days(DAY_COLUMN, note.days))
    writer.replace_days(left.coalesce(1), target, note, base, DAY_COLUMN, note.days)
