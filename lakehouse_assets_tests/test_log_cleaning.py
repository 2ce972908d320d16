"""What a Delta log says of rows: bounds of no personal column, whoever wrote, and after an erasure of nobody erased."""

import os
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from hypothesis import example, given
from hypothesis import strategies as st

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.common.identifier import NormalForm
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.statistics_columns import stats_columns
from lakehouse_assets.platform.ingest.delivery import of_subject, without_erased
from lakehouse_assets.platform.ingest.pseudonyms import pseudonym
from lakehouse_assets.platform.orchestration.staleness import TableVersions
from lakehouse_assets.platform.results import audit_log
from lakehouse_assets.platform.storage.commit_actions import DAYS_TAG, rows_per_day
from lakehouse_assets.platform.storage.commit_log import read_entry
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, Kind
from lakehouse_assets.platform.storage.delta_table import commits
from lakehouse_assets.platform.storage.log_cleaning import clean_log, keep_statistics, named_files
from lakehouse_assets.platform.storage.log_statistics import may_hold
from lakehouse_assets.platform.storage.statistics_properties import CHANNEL, stats_properties
from lakehouse_assets.platform.storage.sweep import FilesMissing, sweep
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.traces import traces

ANA, BIA = "ana@example.org", "bia@example.org"
D1, D2, D3 = date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)


def rows(*of: tuple[date, str]) -> pa.Table:
    return pa.table({DAY_COLUMN: [day for day, _ in of], "email": [who for _, who in of], "n": list(range(len(of)))})


def message(attempt: str, *days: date, kind: Kind = Kind.STEP) -> CommitProperties:
    metadata = CommitMetadata("t", attempt, attempt, frozenset(days), "code", {}, kind=kind).dump()
    return CommitProperties({"userMetadata": metadata}, app_transactions=[Transaction("t", len(attempt))])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table as it was made before, with everything that a log can tell of a person; its newest version has only Bia.

    A step, a stream, a checkpoint, a step that replaces, somebody's DELETE, somebody's rows, and a compaction.
    """
    path = tmp_path / "t"
    write_deltalake(path, rows((D1, ANA), (D1, BIA)), commit_properties=message("a", D1))
    write_deltalake(path, rows((D1, ANA), (D2, BIA)), mode="append", commit_properties=message("bb", kind=Kind.STREAM))
    DeltaTable(path).create_checkpoint()
    replacing = f"{DAY_COLUMN} = '{D1}'"
    write_deltalake(path, rows((D1, BIA)), mode="overwrite", predicate=replacing, commit_properties=message("ccc", D1))
    write_deltalake(path, rows((D3, ANA), (D3, BIA)), mode="append")
    DeltaTable(path).delete(f"email = '{ANA}'", commit_properties=CommitProperties({"userMetadata": f"for {ANA}"}))
    DeltaTable(path).optimize.compact()
    return path


def entries(path: Path) -> dict[str, tuple[int, int]]:
    """Length and time of every entry of a log."""
    found = {file.name: file.stat() for file in (path / "_delta_log").glob("*.json")}
    return {name: (of.st_size, of.st_mtime_ns) for name, of in found.items()}


def known(path: Path) -> tuple[object, ...]:
    """What the platform reads in a log: commits, entries, levels, positions of writers."""
    staleness = TableVersions(path)
    staleness.refresh()
    newest = DeltaTable(path)
    return (
        [(c.version, c.operation, c.metadata, c.timestamp) for c in commits(path)],
        [read_entry(path, version) for version in range(newest.version() + 1)],
        (staleness.changed, staleness.built, staleness.unvalidated, staleness.streamed, staleness.newest),
        newest.transaction_version("t"),
        rows_per_day(path, 1),
    )


def test_an_erasure_leaves_nothing_in_the_log_and_the_log_tells_all_else(table: Path) -> None:
    before, columns, files = known(table), (DAY_COLUMN,), entries(table)
    assert len(traces(table / "_delta_log", {ANA})) > 3, "the test has something to find"
    keep_statistics(table, columns)
    clean_log(table, columns, erased=True)
    sweep(table, float("inf"), lambda _: False)
    assert traces(table, {ANA}) == []
    assert traces(table / "_delta_log", {BIA}) == []
    after = known(table)
    assert [c for c in after[0] if c[1] != "SET TBLPROPERTIES"] == before[0]  # type: ignore[attr-defined]
    assert after[1][: len(before[1])] == before[1]  # type: ignore[index, arg-type]
    assert after[2:] == before[2:], "also of files that are gone, as was looked up before"
    assert may_hold(table, DAY_COLUMN, [D3])
    assert not may_hold(table, DAY_COLUMN, [date(2026, 2, 1)]), "files are still selected by their day"
    for name, (length, time) in files.items():
        now, grew = entries(table)[name], DAYS_TAG in (table / "_delta_log" / name).read_text(encoding="utf-8")
        assert now == (length, time) or (grew and now[1] == time), "an entry grows where days of removed files go in"
    assert clean_log(table, columns, erased=True) == 0, "done once"


@pytest.mark.parametrize("days", [1, 40])
def test_an_entry_without_room_for_the_days_of_its_file_grows(tmp_path: Path, days: int) -> None:
    """Of one day there is room, where only the bounds of the day were there: they go, as the days say more."""
    path = tmp_path / "t"
    some = rows(*[(D1 + timedelta(days=number), BIA) for number in range(days)])
    stats = stats_properties((DAY_COLUMN,))
    write_deltalake(path, some, configuration=stats, commit_properties=message("a", kind=Kind.STREAM))
    write_deltalake(path, some, mode="overwrite")
    before, counted = entries(path), rows_per_day(path, 0)
    clean_log(path, (DAY_COLUMN,), erased=True)
    first = f"{0:020d}.json"
    assert (entries(path)[first] == before[first]) is (days == 1)
    DeltaTable(path).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert rows_per_day(path, 0) == counted


def test_an_entry_with_other_ends_of_lines_in_a_text_is_cleaned(tmp_path: Path) -> None:
    path, who = tmp_path / "t", f"\u2028{ANA}\x85"
    write_deltalake(path, rows((D1, who)), commit_properties=message("a", D1))
    write_deltalake(path, rows((D2, who)), mode="append", commit_properties=message("bb", kind=Kind.STREAM))
    before = entries(path)
    assert clean_log(path, (DAY_COLUMN,)) == 2
    assert (entries(path), traces(path / "_delta_log", {ANA})) == (before, [])
    assert rows_per_day(path, 1) == {D2: 1}


@pytest.mark.parametrize("writer", ["restored", "not heeding", "compacted"])
def test_whoever_writes_statistics_afterwards_they_go(table: Path, writer: str) -> None:
    keep_statistics(table, (DAY_COLUMN,))
    assert traces(table / "_delta_log", {BIA}) == []
    if writer == "restored":
        DeltaTable(table).restore(1)  # with its properties of then
    elif writer == "not heeding":
        DeltaTable(table).alter.set_table_properties(stats_properties((DAY_COLUMN, "email")))
    write_deltalake(table, rows((D3, BIA)), mode="append")
    if writer == "compacted":
        write_deltalake(table, rows((D2, BIA)), mode="append")
        DeltaTable(table).optimize.compact()
    else:
        assert traces(table / "_delta_log", {BIA}) != []
    keep_statistics(table, (DAY_COLUMN,))
    assert traces(table / "_delta_log", {BIA}) == []
    assert DeltaTable(table).count() >= 3


def test_a_log_whose_first_entries_expired_is_cleaned_in_its_checkpoints(table: Path) -> None:
    for version in (0, 1):
        (table / "_delta_log" / f"{version:020d}.json").unlink()
    count = DeltaTable(table).count()
    keep_statistics(table, (DAY_COLUMN,))
    clean_log(table, (DAY_COLUMN,), erased=True)
    assert traces(table / "_delta_log", {ANA, BIA}) == []
    assert DeltaTable(table).count() == count
    assert DeltaTable(table, version=1).count() == 4


def test_what_an_attempt_left_is_removed_and_not_what_a_run_is_writing(table: Path) -> None:
    fenced = (table / "_delta_log" / f"{DeltaTable(table).version():020d}.json").stat().st_mtime
    for name in ("orphan.parquet", "attempt-1/_state=kept/part-0.parquet", "_change_data/c.parquet"):
        (table / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows((D1, ANA)), table / name)
        (table / name).with_name(f".{(table / name).name}.crc").touch()
        os.utime(table / name, (fenced - 60, fenced - 60))
    for name, who in (("new-clean.parquet", BIA), ("new-theirs.parquet", ANA)):
        pq.write_table(rows((D1, who)), table / name)
        os.utime(table / name, (fenced + 60, fenced + 60))
    sweep(table, fenced, lambda file: ANA in pq.read_table(file)["email"].to_pylist())
    left = {str(file.relative_to(table)) for file in table.rglob("*.parquet*") if "_delta_log" not in file.parts}
    assert left == {*named_files(table), "new-clean.parquet"}
    (table / next(iter(named_files(table)))).unlink()
    pq.write_table(rows((D1, BIA)), table / "another.parquet")
    with pytest.raises(FilesMissing, match="No old file was removed"):
        sweep(table, float("inf"), lambda _: True)
    assert (table / "another.parquet").exists()


def test_no_declared_table_has_statistics_of_texts_or_of_personal_columns() -> None:
    for declared in discover(domains).tables:
        kept = stats_columns(declared)
        types = {field.name: field.dataType.simpleString() for field in declared.compiled.spark_schema}
        assert not declared.compiled.personal & set(kept)
        assert all(types[name] not in ("string", "binary") for name in kept if name != CHANNEL)
        if DAY_COLUMN in types:
            assert DAY_COLUMN in kept, "readers select files by it"


def test_journals_say_nothing_of_samples_in_their_logs(tmp_path: Path) -> None:
    path = audit_log.check_results_path(tmp_path)
    row = {"table": "t", "feed_day": D1, "samples": f'[{{"x": "{ANA}"}}]', "rule": "r"}
    audit_log.append(path, pa.Table.from_pylist([row], schema=audit_log.CHECK_RESULTS))
    assert traces(path / "_delta_log", {ANA}) == []
    assert may_hold(path, DAY_COLUMN, [D1])
    assert not may_hold(path, DAY_COLUMN, [D2])


IDENTIFIERS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=6)
CASES = st.sampled_from([str.upper, str.lower, str.title, str.swapcase, lambda text: f" {text}\t", lambda text: text])


@given(
    st.lists(IDENTIFIERS, min_size=1, max_size=6), st.lists(CASES, min_size=6, max_size=6), st.sampled_from(NormalForm)
)
@example(["abc-1"], [str.upper] * 6, NormalForm.CASELESS)
@example(["e\u0301va", "\u00e9va"], [lambda text: text] * 6, NormalForm.EXACT)
@example(["stra\u00dfe"], [str.upper] * 6, NormalForm.CASELESS)
@example(["123.456.789-09", "12345678909"], [lambda text: text] * 6, NormalForm.DIGITS)
def test_who_is_erased_is_who_has_the_same_normal_form(
    given_as: list[str], spelt: list[object], form: NormalForm
) -> None:
    """Judged against each value's normal form by itself; and what was landed and what is landed later agree."""
    values = [change(text) for text, change in zip(given_as, spelt, strict=False)]  # type: ignore[operator]
    table = pa.table({"who": pa.array([*values, None], pa.string())})
    for subject in given_as:
        if not form.of(subject):
            continue
        model = [form.of(value) == form.of(subject) for value in values]
        assert of_subject(table, "who", subject, form).to_pylist() == [*model, False]
        left = without_erased(frozenset({pseudonym(form.of(subject))}), "who", table, form)["who"].to_pylist()
        assert [value for value in left if value is not None and form.of(value) == form.of(subject)] == []
        assert form.of(form.of(subject)) == form.of(subject)


@pytest.fixture(autouse=True, scope="module")
def key() -> object:
    """A key of pseudonyms."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LAKEHOUSE_PSEUDONYM_KEY", "0123456789abcdef0123456789abcdef")
        settings.cache_clear()
        yield
    settings.cache_clear()


@pytest.mark.parametrize(
    ("form", "one", "other", "same"),
    [
        (NormalForm.EXACT, "Ab1", " Ab1\u00a0", True),
        (NormalForm.EXACT, "Ab1", "AB1", False),
        (NormalForm.EXACT, "caf\u00e9", "cafe\u0301", True),
        (NormalForm.CASELESS, "Ab1", "aB1", True),
        (NormalForm.CASELESS, "STRASSE", "stra\u00dfe", True),
        (NormalForm.CASELESS, "\u0130", "i\u0307", True),
        (NormalForm.DIGITS, "123.456-7", "1234567", True),
        (NormalForm.DIGITS, "\u0661\u0662", "12", True),
        (NormalForm.DIGITS, "0123", "123", False),
    ],
)
def test_normal_forms(form: NormalForm, one: str, other: str, same: bool) -> None:
    assert (form.of(one) == form.of(other)) is same
