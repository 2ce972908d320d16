"""A contract and its stored table: what may differ, and what is refused before anything is read. No Spark."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import pyspark.sql.types as T
import pytest
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lakehouse_assets.defs.gmv import contracts, gold
from lakehouse_assets.platform.contracts.contract import Contract, column, table_metadata
from lakehouse_assets.platform.declare.table import ReplaceDays, Table, TableKey
from lakehouse_assets.platform.planning.contract_change import key_of, nullable_of
from lakehouse_assets.platform.planning.plan import Lake, LostInput, make_plan
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.delta_table import version_of
from lakehouse_assets.platform.storage.schema_evolution import SchemaMismatch
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.judged_days import Judge

D1 = date(2023, 1, 1)
KINDS = (T.StringType(), T.LongType(), T.DecimalType(28, 2), T.DecimalType(30, 2), T.DecimalType(28, 3), T.DateType())


def create(lake: Lake, table: Table, rows: bool = True) -> Path:
    """The table as a step leaves it: its columns, all of them nullable to Delta, and a note; maybe a row of NULLs."""
    path = lake.path(table.key)
    schema = T.StructType([T.StructField(f.name, f.dataType, True) for f in table.compiled.spark_schema])
    metadata = CommitMetadata(
        str(table.key), "r", "a", frozenset({D1}), "c", {}, key=key_of(table), nullable=nullable_of(table)
    )  # fmt: skip
    message = CommitProperties(custom_metadata={"userMetadata": metadata.dump()})
    made = DeltaTable.create(str(path), Schema.from_json(schema.json()), commit_properties=message)
    if rows:
        empty = made.to_pyarrow_table()
        write_deltalake(str(path), empty.from_pylist([{}], empty.schema), mode="append", commit_properties=message)
    assert isinstance(path, Path)
    return path


def widened(digits: int) -> type[Contract]:
    """The ledger's contract with figures of so many digits."""

    class Gmv(contracts.Gmv):
        gmv: Annotated[T.DecimalType, digits, 2] = column("the figure")  # type: ignore[valid-type]

    return Gmv


def test_another_type_of_a_ledgers_figure_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", tmp_path / "landing")
    now = gold.gmv.compiled.spark_schema["gmv"].dataType.precision
    path = create(lake, gold.gmv)
    make_plan(lake, gold.gmv, [D1])
    wider = replace(gold.gmv, contract=widened(now + 2))
    with pytest.raises(SchemaMismatch) as refused:
        make_plan(lake, wider, [D1])
    message = str(refused.value)
    assert f"gmv is decimal({now},2), declared decimal({now + 2},2)" in message
    assert "nothing was read or written" in message
    assert "ove the folder" not in message
    assert version_of(path) == 1


def test_a_ledger_that_was_published_is_not_made_anew(tmp_path: Path) -> None:
    here = Settings(home=tmp_path)
    judge = Judge.of(here)
    key = "gmv/gold/gmv"
    judge.write(key, [judge.day(key, D1, rows=1)])
    with pytest.raises(LostInput, match=r"gmv/gold/gmv is gone, which was published up to 2023-01-01: .* Restore"):
        make_plan(Lake(here.lake, here.landing), gold.gmv, [D1])


@dataclass(frozen=True)
class Said:
    """A column as a contract says it."""

    kind: int
    nullable: bool


Columns = Mapping[str, Said]


def declared(columns: Columns, key: tuple[str, ...]) -> Table:
    fields = {name: column(name, nullable=message.nullable) for name, message in sorted(columns.items())}
    hints = {name: KINDS[message.kind] for name, message in columns.items()}
    config = type("Config", (), {"metadata": table_metadata(key=key)})
    contract = type("Made", (Contract,), {**fields, "Config": config, "__annotations__": hints, "__doc__": "Made."})
    return Table(TableKey("t", "silver", "t"), contract, lambda: None, MappingProxyType({}), ReplaceDays())  # type: ignore[arg-type,return-value]


def allowed(before: Columns, now: Columns, rows: bool) -> bool:
    kept = before.keys() <= now.keys() and all(now[name].kind == message.kind for name, message in before.items())
    new = all(message.nullable for name, message in now.items() if name not in before)
    required = not rows or all(now[n].nullable or not message.nullable for n, message in before.items() if n in now)
    return kept and new and required


some = st.dictionaries(
    st.sampled_from("abc"), st.builds(Said, st.integers(0, len(KINDS) - 1), st.booleans()), min_size=1
)
A = Said(2, False)


@settings(max_examples=40, deadline=None)
@given(some, some, st.booleans())
@example({"a": A}, {"a": Said(3, False)}, True)  # 28 digits to 30
@example({"a": A}, {"a": A, "b": Said(0, True)}, True)  # a nullable column more
@example({"a": A}, {"a": A, "b": Said(0, False)}, True)  # one that may not be NULL
@example({"a": A, "b": A}, {"a": A}, True)  # a column less
@example({"a": A, "b": A}, {"a": A, "c": A}, True)  # renamed
@example({"a": A, "b": Said(0, True)}, {"a": A, "b": Said(0, False)}, True)
@example({"a": A, "b": Said(0, False)}, {"a": A, "b": Said(0, True)}, True)
def test_only_nullable_columns_may_be_added(
    tmp_path_factory: pytest.TempPathFactory, before: Columns, now: Columns, rows: bool
) -> None:
    folder = tmp_path_factory.mktemp("lake")
    lake = Lake(folder / "lake", folder / "landing")
    create(lake, declared(before, ()), rows)
    if allowed(before, now, rows):
        make_plan(lake, declared(now, ()), [D1])
    else:
        with pytest.raises(SchemaMismatch, match="nothing was read or written"):
            make_plan(lake, declared(now, ()), [D1])


def test_another_key_is_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", tmp_path / "landing")
    create(lake, declared({"a": A, "b": A}, ("a",)))
    with pytest.raises(SchemaMismatch, match="its key is a, declared a, b"):
        make_plan(lake, declared({"a": A, "b": A}, ("a", "b")), [D1])
