"""The embedded Spark server: one per home, found again, replaced only when dead; sessions of dead runs are ended."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from pyspark.errors import PySparkException

from lakehouse_assets.cli import spark_commands
from lakehouse_assets.cli.doctor import examine
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.process_id import ProcessId
from lakehouse_assets.platform.runtime import jars, session_records, session_settings, sessions, spark_launch
from lakehouse_assets.platform.runtime.jar_sets import COORDINATES, SPARK
from lakehouse_assets.platform.runtime.sessions import close_session, open_session
from lakehouse_assets.platform.runtime.spark_server import ensure_server, server_status, stop_server
from lakehouse_assets.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home with a server of its own, one core and a small heap. Tests that replace its server come last."""
    here = Settings(home=tmp_path_factory.mktemp("small") / "a home", spark_heap="600m", spark_cores="1")
    yield here
    stop_server(here)


def in_another_process(code: str, here: Settings, *arguments: str) -> subprocess.Popen[str]:
    """Run Python code in a process of its own, with the same settings."""
    environment = os.environ | {
        "LAKEHOUSE_HOME": str(here.home),
        "LAKEHOUSE_SPARK_HEAP": here.spark_heap,
        "LAKEHOUSE_SPARK_CORES": here.spark_cores,
    }
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )


ENSURE = """
from lakehouse_assets.platform.runtime.spark_server import ensure_server
from lakehouse_assets.settings import settings
print(ensure_server(settings()).server)
"""


def test_processes_that_ask_at_once_get_the_same_server(small: Settings) -> None:
    askers = [in_another_process(ENSURE, small) for _ in range(3)]
    answers = {asker.communicate(timeout=150)[0] for asker in askers}
    assert [asker.returncode for asker in askers] == [0, 0, 0]
    assert len(answers) == 1
    # It outlives those who started it and is found again, in no time.
    begin = time.monotonic()
    assert ensure_server(small).server == answers.pop().strip()
    assert time.monotonic() - begin < 1
    assert server_status(small).running


def test_it_listens_on_loopback_alone_and_keeps_its_token_secret(small: Settings) -> None:
    address = ensure_server(small)
    process = psutil.Process(server_status(small).pid)
    listening = {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert address.token is not None
    assert address.token not in repr(address) + address.url
    assert not any(address.token in argument for argument in process.cmdline())
    token = small.spark_dir / "token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    others = [path for path in small.spark_dir.rglob("*") if path.is_file() and path != token]
    assert not [path for path in others if address.token.encode() in path.read_bytes()]


def test_a_session_reads_and_writes_delta_and_is_forgotten_when_closed(small: Settings, tmp_path: Path) -> None:
    spark = open_session(small, "run-1")
    assert [record.run_id for record in server_status(small).sessions] == ["run-1"]
    spark.range(3).write.format("delta").save(str(tmp_path / "t"))
    assert spark.read.format("delta").load(str(tmp_path / "t")).count() == 3
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"
    close_session(spark)
    close_session(spark)
    assert server_status(small).sessions == ()


def test_a_wrong_token_and_an_unreachable_server_are_said_at_once(
    small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "CONNECT_SECONDS", 3.0)
    ours = ensure_server(small)
    wrong = Settings(home=small.home, spark_remote=ours.url, spark_token=SecretStr("wrong"))
    with pytest.raises(LakehouseError, match="refuses the token"):
        open_session(wrong, "run")
    nobody = f"sc://localhost:{spark_launch.free_port()}"
    with pytest.raises(LakehouseError, match="does not answer within 3 s"):
        open_session(Settings(home=small.home, spark_remote=nobody, spark_token=SecretStr("t")), "run")
    assert session_records.recorded(small.spark_dir) == []


def test_a_cluster_is_reached_by_any_name_without_tls(small: Settings) -> None:
    ours = ensure_server(small)
    by_address = ours.url.replace("localhost", "127.0.0.1")
    spark = open_session(
        Settings(home=small.home, spark_remote=by_address, spark_token=SecretStr(ours.token or "")), "r"
    )
    assert spark.range(2).count() == 2
    close_session(spark)


ELSEWHERE = {
    "spark.sql.session.timeZone": "America/Sao_Paulo",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.caseSensitive": "true",
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    "spark.sql.files.ignoreCorruptFiles": "true",
    "spark.sql.mapKeyDedupPolicy": "LAST_WIN",
    "spark.sql.legacy.timeParserPolicy": "LEGACY",
    "spark.sql.legacy.castComplexTypesToString.enabled": "true",
}
RESULTS = """
    SELECT CAST(TIMESTAMP '2023-01-31 23:30:00Z' AS DATE), CAST(TIMESTAMP '2023-01-31 23:30:00' AS LONG),
           A, "text", CAST(array(1, NULL) AS STRING), to_date('31/1/2023', 'd/M/yyyy') FROM VALUES (1) AS t(a)
"""


def test_a_server_with_other_defaults_gives_the_same_results_or_is_refused(
    fresh_settings: Settings, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = open_session(small, "run")
    expected = ours.sql(RESULTS).collect()
    close_session(ours)
    embedded = spark_launch.spark_conf
    monkeypatch.setattr(spark_launch, "spark_conf", lambda *config: embedded(*config) | ELSEWHERE)
    elsewhere = ensure_server(fresh_settings)
    monkeypatch.undo()
    try:
        remote = Settings(
            home=fresh_settings.home, spark_remote=elsewhere.url, spark_token=SecretStr(elsewhere.token or "")
        )
        spark = open_session(remote, "run")
        assert spark.sql(RESULTS).collect() == expected
        with pytest.raises(PySparkException, match="CAST_INVALID_INPUT"):
            spark.sql("SELECT CAST('x' AS INT)").collect()
        with pytest.raises(PySparkException, match="DUPLICATED_MAP_KEY"):
            spark.sql("SELECT map(1, 1, 1, id) FROM range(1)").collect()
        close_session(spark)
        # A setting that the server keeps for itself: it cannot be set by a session.
        fixed = {**session_settings.REQUIRED, "spark.sql.warehouse.dir": "/elsewhere"}
        monkeypatch.setattr(session_settings, "REQUIRED", fixed)
        with pytest.raises(LakehouseError, match=r"does not take the settings.*spark\.sql\.warehouse\.dir"):
            open_session(remote, "run")
        assert session_records.recorded(remote.spark_dir) == []
    finally:
        stop_server(fresh_settings)


def test_a_run_may_tune_its_session_but_not_change_what_results_depend_on() -> None:
    session_settings.check_overrides({"spark.sql.shuffle.partitions": 8, "spark.sql.ansi.enabled": True})
    for key, value in (("spark.sql.session.timeZone", "America/Sao_Paulo"), ("spark.sql.legacy.sizeOfNull", "true")):
        with pytest.raises(LakehouseError, match=f"sets {key}, on which results depend"):
            session_settings.check_overrides({key: value})


# Prints "running" when its write has a task at work. 150 rows of 0.1 s each: the write would end after 15 s.
LONG_WRITE = """
import sys
from lakehouse_assets.platform.runtime.sessions import open_session
from lakehouse_assets.settings import settings

spark = open_session(settings(), "killed run")

def progress(stages, inflight_tasks, operation_id, done):
    if inflight_tasks:
        print("running", flush=True)

spark.registerProgressHandler(progress)
slow = spark.range(0, 150, 1, 1).selectExpr("id", "reflect('java.lang.Thread', 'sleep', 100L) AS slept")
slow.write.parquet(sys.argv[1])
"""


def recorded(here: Settings) -> set[str]:
    return {record.run_id for record in session_records.recorded(here.spark_dir)}


def test_the_session_of_a_killed_run_is_ended_with_its_job_when_the_next_opens(small: Settings, tmp_path: Path) -> None:
    files = tmp_path / "files"
    killed = in_another_process(LONG_WRITE, small, str(files))
    assert killed.stdout is not None
    assert killed.stdout.readline() == "running\n"
    living = open_session(small, "living run")
    assert recorded(small) == {"killed run", "living run"}, "it lives: it is not touched"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    begin = time.monotonic()
    following = open_session(small, "following run")
    assert recorded(small) == {"living run", "following run"}
    # The server has one core, so this query gets its turn only when the write's task is gone.
    assert living.range(10).count() == 10
    assert time.monotonic() - begin < 10, "before the write would have ended by itself"
    assert not list(files.glob("*.parquet"))
    close_session(following)
    close_session(living)


def test_what_cannot_be_ended_keeps_nobody_from_opening(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    server, us = ensure_server(small).server, ProcessId.of(os.getpid())
    assert us is not None
    dead, elsewhere = ProcessId(us.host, us.pid, "earlier"), ProcessId("another-host", 1, "then")
    for name, of, process in (
        ("dead", server, dead),
        ("of another host", server, elsewhere),
        ("of a server that is gone", "embedded:this:1:gone", dead),
        ("of a cluster", "sc://cluster:15002", dead),
    ):
        session_records.add(small.spark_dir, session_records.SessionRecord(name, name, of, process))
    monkeypatch.setattr(sessions, "RELEASE_SECONDS", 0)
    for kept in ({"dead"}, set[str]()):
        spark = open_session(small, "run")
        assert spark.range(2).count() == 2
        close_session(spark)
        assert recorded(small) >= kept | {"of another host", "of a cluster"}
        monkeypatch.undo()
    assert recorded(small) == {"of another host", "of a cluster"}
    for name in recorded(small):
        session_records.remove(small.spark_dir, name)


def test_a_server_whose_state_file_is_lost_is_recognized(small: Settings) -> None:
    address = ensure_server(small)
    (small.spark_dir / "server.json").unlink()
    assert ensure_server(small) == address


def test_another_configuration_is_refused_while_runs_use_the_server(small: Settings) -> None:
    spark = open_session(small, "run-7")
    bigger = Settings(home=small.home, spark_heap="700m", spark_cores="1")
    with pytest.raises(LakehouseError, match=r"heap: 600m runs, 700m is asked for.*run-7.*lakehouse spark stop"):
        ensure_server(bigger)
    assert spark.range(2).count() == 2
    close_session(spark)


def test_another_configuration_replaces_a_server_that_nobody_uses_and_a_killed_one_is_replaced(small: Settings) -> None:
    first = ensure_server(small)
    spark = open_session(small, "before")
    with ThreadPoolExecutor() as threads:
        psutil.Process(server_status(small).pid).kill()
        # Its sessions are gone with it: closing one says nothing and is quick.
        threads.submit(close_session, spark).result(timeout=60)
    assert not server_status(small).running
    second = ensure_server(small)
    assert second.server != first.server
    assert second.token == first.token
    third = ensure_server(Settings(home=small.home, spark_heap="500m", spark_cores="1"))
    assert third.server != second.server
    assert server_status(small).running
    assert len(list((small.spark_dir / "logs").glob("*.log"))) == 3
    assert stop_server(small)
    assert not stop_server(small)
    assert server_status(small).running is False


def test_a_server_that_does_not_come_up_shows_its_log(fresh_settings: Settings) -> None:
    tiny = Settings(home=fresh_settings.home, spark_heap="100m")
    with pytest.raises(LakehouseError, match=r"(?s)ended while it started.*System memory"):
        ensure_server(tiny)
    assert not server_status(tiny).running


def test_the_lock_holds_every_coordinate_and_nothing_that_pyspark_ships(fresh_settings: Settings) -> None:
    for coordinate in COORDINATES:
        assert "{}_{}-{}.jar".format(*coordinate.split(":")) in SPARK.locked()
    folder = jars.ensure_jars(fresh_settings)
    assert jars.shipped_by_pyspark(folder) == []


def test_a_jar_that_is_not_the_locked_one_is_named(fresh_settings: Settings, tmp_path: Path) -> None:
    elsewhere = fresh_settings.model_copy(update={"jars": tmp_path / "jars"})
    folder = shutil.copytree(jars.ensure_jars(fresh_settings), jars.jars_folder(elsewhere))
    jars.verify(elsewhere)
    changed = min(folder.iterdir())
    changed.write_bytes(b"something else")
    with pytest.raises(LakehouseError, match=f"other content: {changed.name}"):
        jars.verify(elsewhere)
    changed.unlink()
    with pytest.raises(LakehouseError, match="lakehouse jars"):
        jars.verify(elsewhere)


def test_old_logs_are_dropped(tmp_path: Path) -> None:
    for hour in range(14):
        (tmp_path / f"server-20230101T{hour:02}0000.log").touch()
    spark_launch._new_log(tmp_path).touch()
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) == spark_launch.LOGS_KEPT
    assert kept[0] == "server-20230101T050000.log"


def test_a_process_is_told_from_another_with_its_pid_and_from_its_unreaped_remains() -> None:
    us = ProcessId.of(os.getpid())
    assert us is not None
    assert us.alive
    assert ProcessId(us.host, us.pid, "earlier").dead
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = ProcessId.of(child.pid)
    assert identity is not None
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity.dead
    child.communicate()
    assert identity.dead


def test_the_doctor_says_what_to_do(fresh_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert [finding for finding in examine(fresh_settings) if not finding.ok] == []

    a_file = tmp_path / "file"
    a_file.touch()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "relative")
    monkeypatch.setenv("LAKEHOUSE_HOME", str(a_file / "home"))
    monkeypatch.setattr(spark_commands, "settings", Settings)
    result = CliRunner().invoke(spark_commands.doctor, ["--format", "json"])
    assert result.exit_code == 1
    problems = {check["check"]: check["text"] for check in json.loads(result.output)["checks"] if not check["ok"]}
    assert problems.keys() == {"java", "home", "dagster"}
    assert "install it" in problems["java"]
    assert "set LAKEHOUSE_HOME" in problems["home"]
