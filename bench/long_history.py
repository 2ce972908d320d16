"""c: one new day after a long history against the same day after a short one, before and after compaction."""

from datetime import date
from pathlib import Path

from bench.harness import Bar, Result, Size, best, seconds
from bench.lab import FIRST, dagster_run, days, lake_at, land, spark_session
from lakehouse_assets.settings import settings


def measure(size: Size, folder: Path) -> Result:
    """Two lakes with a file a day and table; new days landed and made in each, in turns; then both are maintained."""
    lakes = {"short": size.short_days, "long": size.long_days}
    for name, count in lakes.items():
        with lake_at(folder / name):
            span = days(FIRST, count)
            land(folder / name, span[0], span[-1], size.purchases)
            dagster_run(span[0], span[-1])
            _a_file_a_day(count)
    took: dict[str, list[float]] = {}
    next_day = dict(lakes)
    for state in ("a file a day", "compacted"):
        if state == "compacted":
            for name in lakes:
                with lake_at(folder / name):
                    took[f"maintain, {name}"] = [seconds(_maintain)]
        warm_ups = 0 if size.name == "tiny" else 1
        for repeat in range(warm_ups + size.repeats):
            for name in lakes:
                day = days(FIRST, next_day[name] + 1)[-1]
                next_day[name] += 1
                with lake_at(folder / name):
                    spent = seconds(lambda n=name, d=day: _new_day(folder / n, d, size.purchases))  # type: ignore[misc]
                if repeat >= warm_ups:
                    took.setdefault(f"{state}, {name}", []).append(spent)
    found = {name: best(samples) for name, samples in took.items()}
    return Result(
        "c",
        f"a day of {size.purchases} purchases after {size.long_days} days and after {size.short_days}",
        {
            **{f"{name}, s": value for name, value in found.items()},
            "long against short, a file a day": found["a file a day, long"] / found["a file a day, short"],
            "long against short": found["compacted, long"] / found["compacted, short"],
        },
        (Bar("long against short", 1.2),),
        took,
    )


def _new_day(folder: Path, day: date, purchases: int) -> None:
    land(folder, day, day, purchases)
    dagster_run(day, day)


def _a_file_a_day(count: int) -> None:
    """Lay the tables out as if every day had been made by a run of its own. No row changes."""
    spark = spark_session()
    for path in sorted(settings().lake.glob("gmv/*/*")):
        if path.parent.name in ("bronze", "silver") and not path.name.endswith("__quarantine"):
            frame = spark.read.format("delta").load(str(path))
            laid_out = frame.repartition(count, "feed_day").write.format("delta").mode("overwrite")
            laid_out.option("dataChange", "false").save(str(path))


def _maintain() -> None:
    from lakehouse_assets.definitions import catalog
    from lakehouse_assets.platform.maintenance.maintenance import maintain, stored_tables, survey
    from lakehouse_assets.platform.planning.plan import Lake

    for place in stored_tables(Lake(settings().lake, settings().landing), catalog):
        maintain(survey(place))
