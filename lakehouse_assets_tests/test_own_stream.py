"""The example of docs/write-your-own-stream.md, run as it is written there."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.serving.query import query
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming.api import IncompleteProcess, Process

PAGE = Path(__file__).parents[1] / "docs" / "write-your-own-stream.md"


def test_a_process_without_a_method_fails_where_it_is_written_and_says_which() -> None:
    with pytest.raises(IncompleteProcess, match=r"Half lacks process\(\), keys\(\)"):
        type("Half", (Process,), {"read": lambda self, documents, schema: documents})


@pytest.mark.slow
def test_the_example_of_the_page_works(
    spark: SparkSession, spark_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "rentals.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    rentals = import_module("rentals")
    folder = tmp_path / "bicycles" / "input"
    folder.mkdir(parents=True)

    def bring(name: str, minutes: int, changed: str) -> None:
        rental = {"id": name[0], "bicycle": "red", "minutes": minutes, "changed": changed}
        (folder / f"{name}.json").write_text(json.dumps(rental, indent=1), encoding="utf-8")

    bring("a2", 30, "2024-01-02T10:00:00Z")
    bring("a1", 10, "2024-01-02T09:00:00Z")
    (folder / "broken.json").write_text("{", encoding="utf-8")
    rentals.main(str(folder.parent))
    bring("b1", 5, "2024-01-02T09:30:00Z")
    for _ in range(2):
        rentals.main(str(folder.parent))
        assert query(spark_home, "SELECT * FROM rentals.silver.bicycles").rows == [("red", 2, 35)]
    assert query(spark_home, "SELECT count(*) FROM rentals.bronze.documents").rows == [(4,)]
