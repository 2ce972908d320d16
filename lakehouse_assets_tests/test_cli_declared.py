"""The snapshot of the declarations says what the declarations say, and is forgotten when anything of them changes."""

import pickle
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from hypothesis import given
from hypothesis import strategies as st

from lakehouse_assets.cli import declared, main
from lakehouse_assets.cli.contract_summary import summarize
from lakehouse_assets.cli.declared import SnapshotTable, declared_tables, imported_tables, summary_of
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.fingerprint.code_version import code_version
from lakehouse_assets.settings import settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


@pytest.fixture
def snapshot() -> Catalog:
    """The declared tables, written and read again."""
    return declared._load(declared._dump(imported_tables()))


def test_a_snapshot_says_of_every_table_what_its_declaration_says(snapshot: Catalog) -> None:
    apart = {"contract", "function", "co_materialized"}
    assert [table.key for table in snapshot.tables] == [table.key for table in imported_tables().tables]
    for read, table in zip(snapshot.tables, imported_tables().tables, strict=True):
        assert isinstance(read, SnapshotTable)
        held = {one.name: getattr(read, one.name) for one in fields(Table) if one.name not in apart}
        assert held == {name: getattr(table, name) for name in held}
        assert [one.key for one in read.co_materialized] == [one.key for one in table.co_materialized]
        assert code_version(read) == code_version(table)
        assert summary_of(read) == summarize(table.compiled)


def test_contract_and_function_are_those_of_the_declaration(snapshot: Catalog) -> None:
    for read in snapshot.tables:
        table = imported_tables().table(read.key)
        assert (read.contract, read.function) == (table.contract, table.function)


def test_companions_are_the_same_objects_as_in_the_catalog(snapshot: Catalog) -> None:
    co_materialized = [one for table in snapshot.tables for one in table.co_materialized]
    assert co_materialized
    assert all(snapshot.table(one.key) is one for one in co_materialized)


def test_a_snapshot_names_nothing_but_classes_of_this_package() -> None:
    with pytest.raises(pickle.UnpicklingError, match="is no part of a declaration"):
        declared._load(pickle.dumps(Path("/etc")))


@pytest.mark.parametrize(
    ("module", "name"),
    [("lakehouse_assets.cli.found", "import_module"), ("lakehouse_assets.cli.declared", "os.getpid"), ("os", "system")],
)
def test_a_snapshot_calls_nothing_that_the_package_imports(module: str, name: str) -> None:
    calls = b"\x80\x04" + b"c" + f"{module}\n{name}\n".encode() + b"(tR."
    with pytest.raises(pickle.UnpicklingError, match="is no part of a declaration"):
        declared._load(calls)


@given(st.data())
def test_a_damaged_snapshot_is_none(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    file = tmp_path_factory.mktemp("damaged") / "catalog-1.pickle"
    declared._keep(file, imported_tables())
    whole = file.read_bytes()
    place, change = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    file.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
    assert declared._read(file) is None


def test_a_snapshot_that_others_can_write_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "catalog-1.pickle"
    declared._keep(file, imported_tables())
    assert declared._read(file) is not None
    file.chmod(0o620)
    assert declared._read(file) is None


def test_another_content_of_the_package_is_another_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declared, "PACKAGE", tmp_path)
    file = tmp_path / "contracts.py"
    file.write_text("A = 1")
    before = declared._fingerprint()
    assert declared._fingerprint() == before
    file.write_text("A = 2")
    assert declared._fingerprint() != before


@pytest.mark.parametrize("broken", [b"", b"no pickle", pickle.dumps(Path("/etc"))])
def test_a_broken_snapshot_is_written_anew(home: Path, monkeypatch: pytest.MonkeyPatch, broken: bytes) -> None:
    whole = imported_tables()
    imported_tables.cache_clear()
    monkeypatch.setattr(declared, "imported_tables", fresh := _Imports(whole))
    declared_tables()
    (file,) = (home / "cache").glob("catalog-*.pickle")
    written = file.read_bytes()
    file.write_bytes(broken)
    assert [table.key for table in declared_tables().tables] == [table.key for table in whole.tables]
    assert (fresh.times, file.read_bytes()) == (2, written)
    assert declared_tables().tables
    assert fresh.times == 2, "the one written anew is read"


class _Imports:
    """`imported_tables` in a process that has not imported a domain yet, and how often it was asked."""

    def __init__(self, tables: Catalog) -> None:
        self.tables, self.times = tables, 0

    def cache_info(self) -> "_Imports":
        return self

    @property
    def currsize(self) -> int:
        return 0

    def __call__(self) -> Catalog:
        self.times += 1
        return self.tables


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        (["describe"], "gmv/silver/purchase", ["gmv/silver/purchase", "gmv/silver/purchase_extra_info"]),
        (["lineage"], "gmv/gold/", ["gmv/gold/gmv", "gmv/gold/gmv_current"]),
        ([], "descr", ["describe"]),
        (["tables", "--format"], "", ["table", "json", "csv"]),
    ],
)
def test_a_shell_completes_commands_tables_and_formats(
    home: Path, words: list[str], incomplete: str, offered: list[str]
) -> None:
    found = ShellComplete(main, {}, "lakehouse", "_LAKEHOUSE_COMPLETE").get_completions(words, incomplete)
    assert [one.value for one in found] == offered
