"""`table(…)` reads the lake into a notebook; `lakehouse notebook` starts JupyterLab for the user of this machine."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from lakehouse_assets.notebook import table
from lakehouse_assets.notebook.lab import ENVIRONMENT, KERNEL, SHIPPED, prepare
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.runtime.dev_server import accepts
from lakehouse_assets.platform.runtime.spark_launch import free_port
from lakehouse_assets.serving.query import QueryError
from lakehouse_assets.settings import settings

ONE, TWO, THREE = (date(2024, 1, day) for day in (1, 2, 3))


def figure(gmv: str, effective: date, version: int) -> dict[str, object]:
    key = {"gmv_date": ONE, "subsidiary": "nacional", "product_id": 7}
    return key | {"gmv": Decimal(gmv), "effective_date": effective, "version": version}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A lake with a ledger and with a table of two versions."""
    lake = tmp_path / "lake"
    ledger = pa.Table.from_pylist([figure("10.00", ONE, 1), figure("12.00", THREE, 2)])
    write_deltalake(str(lake / "gmv" / "gold" / "gmv"), ledger)
    for purchase in (1, 2):
        rows = pa.Table.from_pylist([{"purchase_id": purchase, "feed_day": ONE}])
        write_deltalake(str(lake / "gmv" / "silver" / "purchase"), rows, mode="append")
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


# --- table(…) ---


def test_a_table_is_a_frame(home: Path) -> None:
    frame = table("gmv/silver/purchase").to_pandas()
    assert sorted(frame.purchase_id) == [1, 2]
    assert list(frame.feed_day) == [ONE, ONE]
    assert table("gmv/silver/purchase").to_arrow().num_rows == 2


def test_of_an_earlier_version(home: Path) -> None:
    assert table("gmv/silver/purchase").to_pandas(version=0).purchase_id.tolist() == [1]


@pytest.mark.parametrize(("day", "known"), [(ONE, "10.00"), ("2024-01-02", "10.00"), (THREE, "12.00"), (None, None)])
def test_a_table_with_history_as_it_was_known_on_a_day(home: Path, day: date | str | None, known: str | None) -> None:
    found = table("gmv/gold/gmv").to_pandas(as_of=day).gmv.tolist()
    assert found == ([Decimal(known)] if known else [Decimal("10.00"), Decimal("12.00")])


def test_a_table_without_history_has_no_earlier_day(home: Path) -> None:
    with pytest.raises(QueryError, match="has a history"):
        table("gmv/silver/purchase").to_arrow(as_of=ONE)


def test_an_unknown_table_names_those_that_are_declared() -> None:
    with pytest.raises(LakehouseError, match=r"There is no table gmv/silver/sale.*gmv/silver/purchase"):
        table("gmv/silver/sale")


def test_the_kernel_of_a_home_reads_its_lake_and_has_polars(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform's Python with the packages of the notebooks' environment, wherever the notebook lies."""
    jupyter = prepare(settings(), 1, print).environment
    monkeypatch.delenv("LAKEHOUSE_HOME")
    monkeypatch.setenv("JUPYTER_PATH", jupyter["JUPYTER_PATH"])
    code = (
        "from lakehouse_assets.notebook import table\n"
        "frame = table('gmv/gold/gmv').to_polars(as_of='2024-01-01')\n"
        "print(type(frame).__module__.split('.')[0], frame['gmv'].to_list())\n"
    )
    notebook = new_notebook(cells=[new_code_cell(code)])
    NotebookClient(notebook, kernel_name=KERNEL, resources={"metadata": {"path": "/"}}).execute()
    (output,) = notebook.cells[0].outputs
    assert output.text.strip() == "polars [Decimal('10.00')]"


# --- JupyterLab ---


@pytest.fixture
def lab(home: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """`lakehouse notebook`, once it serves: its process, its address and its token."""
    ENVIRONMENT.ensure()
    port = free_port()
    command = [str(Path(sys.executable).with_name("lakehouse")), "notebook", "--port", str(port)]
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout
            message = next(line for line in process.stdout if "token=" in line)
            while not accepts(port):
                assert process.poll() is None, (home / "log").read_text()
            found = re.search(r"(http://127\.0\.0\.1:\d+)/lab\?token=(\S+)", message)
            assert found, message
            yield process, found[1], found[2]
        finally:
            process.terminate()


def asked(url: str, token: str | None = None) -> dict[str, object]:
    headers = {"Authorization": f"token {token}"} if token else {}
    with urlopen(Request(url, headers=headers), timeout=30) as answer:
        return dict(json.loads(answer.read()))


def test_only_who_has_the_token_is_served_and_only_on_this_machine(
    lab: tuple[subprocess.Popen[str], str, str], home: Path
) -> None:
    process, url, token = lab
    for wrong in (None, "", "another"):
        with pytest.raises(HTTPError) as refused:
            asked(f"{url}/api/contents", wrong)
        assert refused.value.code == 403
    contents = asked(f"{url}/api/contents", token)["content"]
    assert isinstance(contents, list)
    assert {one["name"] for one in contents} == {path.name for path in SHIPPED.glob("*.ipynb")}
    listening = [one.laddr.ip for one in psutil.Process(process.pid).net_connections() if one.status == "LISTEN"]
    assert set(listening) == {"127.0.0.1"}
    kernel = json.dumps(asked(f"{url}/api/kernelspecs", token))
    assert sys.executable in kernel
    assert str(home) in kernel


def test_what_somebody_changed_in_a_notebook_stays(home: Path) -> None:
    first = prepare(settings(), 1, print)
    own = next(first.folder.glob("*.ipynb"))
    own.write_text("mine")
    second = prepare(settings(), 1, print)
    assert own.read_text() == "mine"
    assert first.url != second.url, "a token for each start"
