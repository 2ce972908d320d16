"""A lake and a Dagster instance of a test's own, used as a user does: the project's dagster.yaml and definitions."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from dagster import DagsterEventType

from lakehouse_assets.cli import main
from lakehouse_assets.ops.home import prepare_dagster_home
from lakehouse_assets.ops.runs import RANGE_END, RANGE_START
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.storage.delta_table import version_of
from lakehouse_assets.serving.query import known_tables, query
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.gmv_histories import TABLES, Row, write_csv

Parts = dict[tuple[str, date], Sequence[Row]]
RUN_TIMES = ("processed_date", "processed_at", "run_id")


@dataclass
class DagsterLake:
    """One lake; its runs go to `instance`."""

    folder: Path
    instance: dg.DagsterInstance
    runs: list[dg.ExecuteInProcessResult] = field(default_factory=list)

    def land(self, parts: Mapping[tuple[str, date], Sequence[Row]], *options: str) -> None:
        """Land each part as a CSV file of its feed day, through the command line."""
        for (table, day), rows in parts.items():
            file = write_csv(self.folder / "feeds" / f"{table}-{day}.csv", table, rows)
            self.cli("land", f"gmv/{table}", str(file), "--day", str(day), *options)

    def run(self, selection: Iterable[str], first: date, last: date | None = None) -> dg.ExecuteInProcessResult:
        """Materialize the tables for one day, or for a range of days in one run. A failed run is returned."""
        from lakehouse_assets.definitions import definitions

        asked = (
            {"partition_key": str(first)} if last is None else {"tags": {RANGE_START: str(first), RANGE_END: str(last)}}
        )
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name.split("/")) for name in selection],
            raise_on_error=False,
            **asked,  # type: ignore[arg-type]
        )
        self.runs.append(result)
        return result

    def why(self, result: dg.ExecuteInProcessResult) -> str:
        """What the failed steps of a run say."""
        errors = [e.step_failure_data for e in result.all_events if e.event_type is DagsterEventType.STEP_FAILURE]
        message = [e.user_failure_data.description if e.user_failure_data else str(e.error) for e in errors]
        return "\n".join(text or "" for text in message)

    def cli(self, *arguments: str, fails: bool = False) -> Result:
        """Call `lakehouse`. A failure is one message: never a traceback."""
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code != 0) is fails, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.output
        return result

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        return query(settings(), statement).rows

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """Columns of a table, by default all but its run times; sorted."""
        found = query(settings(), f"select * from {table}")  # noqa: S608  (a test's own words)
        wanted = columns or [name for name in found.columns if name not in RUN_TIMES]
        places = [found.columns.index(name) for name in wanted]
        return sorted((tuple(row[place] for place in places) for row in found.rows), key=repr)

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every data table of the lake with its rows, run times apart."""
        return {name: self.rows(name) for name in known_tables(settings()) if name.count(".") == 2}

    def version(self, table: str) -> int | None:
        """Delta version of a table."""
        return version_of(settings().lake.joinpath(*TableKey.parse(table).parts))

    def materializations(self, table: str, run: str | None = None) -> dict[str, list[dg.AssetMaterialization]]:
        """Events of a table by partition, oldest first; those of one run, or all."""
        records = self.instance.fetch_materializations(dg.AssetKey(table.split("/")), limit=10_000).records
        found: dict[str, list[dg.AssetMaterialization]] = defaultdict(list)
        for record in reversed(records):
            event = record.asset_materialization
            if event is not None and run in (None, record.run_id):
                found[str(event.partition)].append(event)
        return dict(found)

    def evaluations(self, table: str, run: str | None = None) -> dict[str, dict[str, dg.AssetCheckEvaluation]]:
        """Newest check results of a table, of one run or of all: day -> check. No check has two of a day in a run."""
        found: dict[str, dict[str, dg.AssetCheckEvaluation]] = defaultdict(dict)
        for run_id in [run] if run else [result.run_id for result in self.runs]:
            seen: set[tuple[str, str]] = set()
            for entry in self.instance.all_logs(run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION):
                assert entry.dagster_event is not None
                result = entry.dagster_event.asset_check_evaluation_data
                if result.asset_key == dg.AssetKey(table.split("/")):
                    one = (str(result.partition), result.check_name)
                    assert one not in seen, f"{one} was evaluated twice in a run"
                    seen.add(one)
                    found[one[0]][one[1]] = result
        return dict(found)

    def check_days(self, table: str, check: str) -> dict[str, set[str]]:
        """Days by the newest result of a check, as the UI shows them."""
        from lakehouse_assets.definitions import definitions

        key = dg.AssetCheckKey(dg.AssetKey(table.split("/")), check)
        days = definitions.resolve_asset_graph().get(key).partitions_def
        state = self.instance.event_log_storage.get_asset_check_state([(key, days)])[key]
        by_status = {
            status.value: set(found.subset_value.get_partition_keys()) for status, found in state.subsets.items()
        }
        return {status: found for status, found in by_status.items() if found}


def marketplace_day(day: date, purchases: int) -> Parts:
    """What the marketplace delivers on a day: purchases of that day, paid, with their item and their subsidiary."""
    rows: dict[tuple[str, date], list[Row]] = {(table, day): [] for table in TABLES}
    for n in range(purchases):
        common = {
            "transaction_datetime": f"{day} 09:{n % 60:02}:00",
            "transaction_date": str(day),
            "purchase_id": str(day.toordinal() * 1000 + n),
        }
        rows["product_item", day].append(
            common | {"product_id": str(n % 3), "item_quantity": "1", "purchase_value": f"{n % 7 + 1},50"}
        )
        rows["purchase", day].append(
            common
            | {
                "buyer_id": "7",
                "prod_item_id": "5",
                "order_date": str(day),
                "release_date": str(day),
                "producer_id": "1",
            }
        )
        rows["purchase_extra_info", day].append(common | {"subsidiary": "nacional" if n % 2 else "internacional"})
    return dict(rows)


@contextmanager
def dagster_lake(folder: Path) -> Iterator[DagsterLake]:
    """An empty lake in `folder`, named by this process's settings until the context ends. Spark is the test run's."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LAKEHOUSE_ROOT", str(folder / "root"))
        environment.setenv("DAGSTER_HOME", str(folder / "dagster"))
        environment.setenv("LAKEHOUSE_DEBOUNCE_SECONDS", "0")
        settings.cache_clear()
        prepare_dagster_home(settings())
        try:
            with dg.DagsterInstance.get() as instance:
                yield DagsterLake(folder, instance)
        finally:
            settings.cache_clear()
    settings.cache_clear()
