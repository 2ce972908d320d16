"""Deadlines and alerts: what is late by its data, told once to a real HTTP server and a real command."""

import json
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import DagsterEventType
from deltalake import CommitProperties, write_deltalake

from lakehouse_assets import defs as domains
from lakehouse_assets.definitions import definitions
from lakehouse_assets.ops import alerts as alerts_module
from lakehouse_assets.ops.alerts import Alert, Event, Row, Subject, Trouble, read_alerts, record
from lakehouse_assets.ops.deadline_sensor import REPORT, deadline_sensor
from lakehouse_assets.ops.hooks import HookError, hooks
from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import DeclarationError, Table, TableKey
from lakehouse_assets.platform.ingest.landing import land
from lakehouse_assets.platform.orchestration.sla import WATCHED_DAYS, deadline, late_days, sources
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.audit_log import AUDIT, append_audit
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, DayRows, InputVersion, Kind
from lakehouse_assets.serving.day_state import State
from lakehouse_assets.serving.quality import read_quality
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake

CATALOG: Catalog = discover(domains)
USERS = CATALOG.table(TableKey("store", "bronze", "users"))
SILVER_USERS = replace(CATALOG.table(TableKey("store", "silver", "users")), sla=timedelta(hours=7))
ORDER_EVENTS = CATALOG.table(TableKey("orders", "bronze", "order_events"))
SALES = CATALOG.table(TableKey("orders", "gold", "sales_by_country"))
LEDGER = CATALOG.table(TableKey("gmv", "gold", "gmv"))
PURCHASE = replace(CATALOG.table(TableKey("gmv", "silver", "purchase")), sla=timedelta(hours=7))
D0, D1 = date(2025, 3, 1), date(2025, 3, 2)
IN_TIME = datetime(2025, 3, 3, 5, 59, tzinfo=UTC)
TOO_LATE = datetime(2025, 3, 3, 7, 0, tzinfo=UTC)
ROWS = DayRows(1, 1, 0, 0, "d")


class Feeds:
    """A lake in which files are landed and days committed as runs commit them, without Spark."""

    def __init__(self, folder: Path) -> None:
        self.lake, self.folder = Lake(folder / "lake", folder / "landing"), folder
        self.staleness = Staleness(self.lake, CATALOG)
        folder.mkdir(exist_ok=True)

    def land(self, table: Table, *days: date, content: str = "1") -> None:
        assert table.source is not None
        for day in days:
            file = self.folder / f"{table.key.name}-{day}.csv"
            row = [str(day) if name == table.source.day_column else content for name in table.source.columns]
            file.write_text(",".join(table.source.columns) + "\n" + ",".join(row) + "\n", encoding="utf-8")
            name = f"{table.key.domain}/{table.key.name}"
            given = None if table.source.day_column else day
            land(self.lake.landing, name, table.source, file, day=given, today=datetime.now(UTC).date())

    def commit(self, table: Table, *days: date, kind: Kind = Kind.STEP, rows: DayRows = ROWS, **message: Any) -> None:
        input_versions = {name: InputVersion(self.lake.version(read.table), "") for name, read in table.reads.items()}
        held = dict.fromkeys(days, rows) if kind is Kind.STEP else {}
        named = frozenset(days) if kind is Kind.STEP else frozenset[date]()
        metadata = CommitMetadata(
            str(table.key), "run", f"run {days}", named, "code", input_versions, held, kind=kind, **message
        )
        write_deltalake(
            str(self.lake.path(table.key)),
            pa.table({"feed_day": pa.array(days, pa.date32())}),
            mode="append",
            commit_properties=CommitProperties(custom_metadata={"userMetadata": metadata.dump()}),
        )

    def fail(self, table: Table, day: date, status: str = "failed") -> None:
        row = dict.fromkeys(AUDIT.names) | {"table": str(table.key), "feed_day": day, "run_id": "r", "status": status}
        row |= {"base_version": self.lake.version(table.key) or -1, "input_versions": "{}", "digest": "d"}
        row["finished"] = datetime.now(UTC)
        append_audit(self.lake.tables, table.key.domain, pa.Table.from_pylist([row], schema=AUDIT))

    def late(self, table: Table, now: datetime = TOO_LATE, also: tuple[date, ...] = ()) -> dict[date, str]:
        self.staleness.refresh()
        return late_days(self.staleness, CATALOG, table, now, also)


@pytest.fixture
def feeds(tmp_path: Path) -> Feeds:
    return Feeds(tmp_path)


# --- what is late ---


def test_a_day_without_data_is_late_once_its_time_has_come_and_a_run_alone_does_not_help(feeds: Feeds) -> None:
    feeds.land(USERS, D0)
    feeds.commit(USERS, D0)
    assert deadline(USERS, D1) == datetime(2025, 3, 3, 6, tzinfo=UTC)
    assert feeds.late(USERS, IN_TIME) == {}
    nothing = f"Nothing of {D1} was delivered to store/bronze/users."
    assert feeds.late(USERS) == {D1: nothing}
    feeds.commit(USERS, D1, rows=DayRows(0, 0, 0, 0, ""))  # the schedule made an empty day
    assert feeds.late(USERS) == {D1: nothing}
    feeds.land(USERS, D1)
    feeds.commit(USERS, D1)
    assert feeds.late(USERS) == {}


def test_what_is_made_of_data_is_late_with_them_and_when_it_was_not_made_of_them(feeds: Feeds) -> None:
    feeds.land(USERS, D0, D1)
    feeds.commit(USERS, D0, D1)
    feeds.commit(SILVER_USERS, D0)
    assert sources(SILVER_USERS, CATALOG) == [USERS]
    assert "was not made" in feeds.late(SILVER_USERS)[D1]
    feeds.commit(SILVER_USERS, D1)
    assert feeds.late(SILVER_USERS) == {}
    feeds.land(USERS, D0, content="2")
    feeds.commit(USERS, D0)  # its commit's time is now: silver has its seven hours from then on
    now = datetime.now(UTC)
    assert feeds.late(SILVER_USERS, now, also=(D0,)) == {}
    stale = feeds.late(SILVER_USERS, now + timedelta(hours=7, minutes=1), also=(D0,))
    assert stale == {D0: "It was made before landed changed, and was not made again."}


def test_a_failed_day_is_late_and_so_are_old_records(feeds: Feeds) -> None:
    purchase = CATALOG.table(TableKey("gmv", "bronze", "purchase"))
    feeds.land(purchase, D0, D1)
    feeds.commit(purchase, D0, D1)
    feeds.commit(PURCHASE, D0, rows=replace(ROWS, newest=datetime(2025, 3, 1, 12)))
    feeds.fail(PURCHASE, D1)
    assert feeds.late(PURCHASE) == {D1: "A blocking check failed: nothing of the day was committed."}
    feeds.commit(PURCHASE, D1, rows=replace(ROWS, newest=datetime(2025, 3, 1, 12)))
    assert feeds.late(PURCHASE) == {D1: "The newest record is 1 day, 12:00:00 older than the end of the day."}


def test_a_stream_delivers_too(feeds: Feeds) -> None:
    assert sources(SALES, CATALOG) == [ORDER_EVENTS]
    feeds.commit(ORDER_EVENTS, D0, kind=Kind.STREAM, position={})
    assert "was not made" in feeds.late(SALES)[D0]
    assert "was delivered to orders/bronze/order_events" in feeds.late(SALES)[D1]
    lines = CATALOG.table(TableKey("orders", "silver", "order_lines"))
    feeds.commit(lines, D0)
    feeds.commit(SALES, D0)
    assert set(feeds.late(SALES)) == {D1}


def test_a_ledger_has_every_day_up_to_the_one_it_published(feeds: Feeds) -> None:
    for name in ("product_item", "purchase", "purchase_extra_info"):
        bronze, silver = (CATALOG.table(TableKey("gmv", layer, name)) for layer in ("bronze", "silver"))
        feeds.land(bronze, D0, D1)
        feeds.commit(bronze, D0, D1)
        feeds.commit(silver, D0, D1)
    feeds.commit(LEDGER, D1, published=D1)
    evening = datetime(2025, 3, 3, 20, tzinfo=UTC)
    assert feeds.late(LEDGER, evening) == {}
    assert set(feeds.late(LEDGER, evening + timedelta(days=1))) == {date(2025, 3, 3)}


def test_a_feed_is_watched_from_its_first_day_and_until_it_has_been_silent_for_a_week(feeds: Feeds) -> None:
    assert feeds.late(USERS) == {}, "never began"
    feeds.land(USERS, D0)
    feeds.commit(USERS, D0)
    after = datetime(2025, 3, 1, 12, tzinfo=UTC)
    count = [len(feeds.late(USERS, after + timedelta(days=n))) for n in range(12)]
    assert count == [0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0]
    assert WATCHED_DAYS == 7
    assert set(feeds.late(USERS, after + timedelta(days=30), also=(D1,))) == {D1}, "one that was told stays so"
    assert feeds.late(replace(USERS, sla=None)) == {}


@pytest.mark.parametrize("sla", [timedelta(hours=-1), timedelta(days=6)])
def test_an_sla_before_the_end_of_the_day_or_of_a_day_no_longer_watched_is_no_sla(sla: timedelta) -> None:
    with pytest.raises(DeclarationError, match="is not from 0 to 6 days"):
        replace(USERS, sla=sla)


# --- what becomes of an alert ---

LATE = Subject("store/bronze/users", D1, Trouble.LATE)
NOW = datetime(2025, 3, 3, 7, tzinfo=UTC)


def test_the_journal_folds_to_alerts_and_a_day_that_is_late_again_is_a_new_one(tmp_path: Path) -> None:
    assert read_alerts(tmp_path) == []
    record(
        tmp_path,
        [Row(LATE, Event.RAISED, NOW, message="why"), Row(replace(LATE, trouble=Trouble.FAILED), Event.RAISED, NOW)],
    )
    record(tmp_path, [Row(LATE, Event.REFUSED, NOW, "webhook"), Row(LATE, Event.SENT, NOW, "command")])
    late, failed = read_alerts(tmp_path, "store")
    assert (late.message, late.sent, late.refused, failed.sent) == ("why", {"command"}, {"webhook": [NOW]}, set())
    record(tmp_path, [Row(LATE, Event.RESOLVED, NOW)])
    record(tmp_path, [Row(LATE, Event.RAISED, NOW + timedelta(hours=1))])
    first, _, again = read_alerts(tmp_path)
    assert (first.resolved, again.resolved, again.sent) == (NOW, None, set())
    assert first.id != again.id
    assert read_alerts(tmp_path, "gmv") == []


def test_a_hook_that_refuses_is_asked_again_after_pauses_that_double_as_long_as_it_is_open() -> None:
    alert = Alert(LATE, "why", NOW)
    assert alert.due("webhook", NOW)
    alert.refused["webhook"] = [NOW]
    assert not alert.due("webhook", NOW + timedelta(seconds=59))
    assert alert.due("webhook", NOW + timedelta(seconds=60))
    alert.refused["webhook"] = [NOW] * 3
    assert not alert.due("webhook", NOW + timedelta(minutes=3))
    assert alert.due("webhook", NOW + timedelta(minutes=4))
    alert.refused["webhook"] = [NOW] * 10
    assert not alert.due("webhook", NOW + timedelta(minutes=59))
    alert.refused["webhook"] = [NOW] * 2000
    assert alert.due("webhook", NOW + timedelta(hours=1)), "a receiver that was away for months is told when it is back"
    assert alert.due("command", NOW), "the other one has not refused"
    alert.resolved = NOW
    assert not alert.due("webhook", NOW + timedelta(days=10))


# --- hooks ---


class Receiver:
    """A real HTTP server that notes what is posted to it, and answers what it is told to."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = receiver.answers.pop(0) if receiver.answers else 204
                receiver.posts.append((dict(self.headers), content))
                self.send_response(answer)
                if answer == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?token=geheim"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


def mailer(folder: Path, code: int = 0) -> str:
    """A command that appends what it is given to `<folder>/mails`."""
    script = folder / "mailer.py"
    script.write_text(
        f"import sys; open({str(folder / 'mails')!r}, 'a').write(sys.stdin.read() + '--end--'); sys.exit({code})",
        encoding="utf-8",
    )
    return f"{sys.executable} {script} --password geheim"


def refusal(here: Settings) -> str:
    (deliver,) = hooks(here).values()
    with pytest.raises(HookError) as message:
        deliver(Alert(LATE, "why", NOW))
    assert "geheim" not in f"{message.value} {message.value.__cause__} {here!r} {here.model_dump_json()}", (
        "no secret is told"
    )
    return str(message.value)


def test_a_webhook_is_posted_the_alert_and_what_it_does_not_take_is_said_without_its_url() -> None:
    with receiving() as receiver:
        here = Settings(alert_webhook=receiver.url)
        alert = Alert(LATE, "why", NOW)
        hooks(here)["webhook"](alert)
        ((headers, content),) = receiver.posts
        assert headers["Idempotency-Key"] == content["id"] == alert.id
        assert (content["table"], content["day"], content["state"]) == ("store/bronze/users", str(D1), "late")
        assert content["text"] == f"store/bronze/users {D1} is late\nwhy"
        receiver.answers = [500, 302]
        assert refusal(here) == "The webhook answered 500."
        assert refusal(here) == "The webhook answered 302.", "a redirected alert would be lost"
    assert refusal(here) == "The webhook cannot be reached (ConnectionRefusedError)."
    assert "no http or https URL" in refusal(Settings(alert_webhook="file:///geheim"))


@pytest.mark.parametrize("secret", ["user:geheim@127.0.0.1/hook", "127.0.0.1/hook with geheim"])
def test_a_url_that_cannot_be_called_is_not_told_either(secret: str) -> None:
    assert refusal(Settings(alert_webhook=f"http://{secret}")) == "The webhook cannot be reached (InvalidURL)."


def test_what_is_no_web_server_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as beside:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.invalid ESMTP\r\n")

        beside.submit(answer)
        here = Settings(alert_webhook=f"http://127.0.0.1:{other.getsockname()[1]}/geheim")
        assert refusal(here) == "The webhook cannot be reached (BadStatusLine)."


def test_a_command_is_given_the_alert_as_a_message(tmp_path: Path) -> None:
    hooks(Settings(alert_command=mailer(tmp_path)))["command"](Alert(LATE, "so spät", NOW))
    mail = (tmp_path / "mails").read_text()
    assert f"Subject: lakehouse: store/bronze/users {D1} is late\n" in mail
    assert refusal(Settings(alert_command=mailer(tmp_path, 3))) == "The alert command ended with exit code 3."
    missing = Settings(alert_command="/nowhere/sendmail geheim")
    assert refusal(missing) == "The alert command cannot be run (FileNotFoundError)."
    assert "cannot be run" in refusal(Settings(alert_command='geheim "'))


def test_without_settings_there_are_no_hooks() -> None:
    assert hooks(Settings(alert_webhook=None, alert_command=None)) == {}


# --- the sensor ---


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterLake]:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(alerts_module, "FIRST_PAUSE", timedelta(0))
    with dagster_lake(tmp_path) as found:
        yield found


def tick(lake: DagsterLake, *tables: Table) -> str:
    """What one evaluation of the store's sensor over these tables says; the run that it asks for is run first."""
    sensor = deadline_sensor("store", Catalog(tables))
    found = sensor(dg.build_sensor_context(instance=lake.instance))
    if isinstance(found, dg.RunRequest):
        job = definitions.get_repository_def().get_job(REPORT)
        assert job.execute_in_process(found.run_config, lake.instance, tags=dict(found.tags)).success
        return tick(lake, *tables)
    assert isinstance(found, dg.SkipReason)
    return str(found.skip_message)


@dg.job
def nothing() -> None:
    """A job to make run records of."""


def planned_and_killed(instance: dg.DagsterInstance, key: dg.AssetKey, day: date) -> None:
    """What is left of a run that said which check it would evaluate, and did not come to it."""
    days = definitions.get_repository_def().asset_graph.get(key).partitions_def
    assert days is not None
    of_day = days.subset_with_partition_keys([str(day)]).to_serializable_subset()
    planned = AssetCheckEvaluationPlanned(asset_key=key, check_name="freshness", partitions_subset=of_day)
    kind = DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED.value
    run = instance.create_run_for_job(nothing)
    instance.report_dagster_event(dg.DagsterEvent(kind, nothing.name, event_specific_data=planned), run.run_id)


def test_a_late_day_is_red_and_told_once_to_each_hook_until_it_is_there(
    lake: DagsterLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC).date()
    before, late = today - timedelta(days=3), today - timedelta(days=2)
    feeds = Feeds(tmp_path / "root")
    with receiving() as receiver:
        monkeypatch.setenv("LAKEHOUSE_ALERT_WEBHOOK", receiver.url)
        monkeypatch.setenv("LAKEHOUSE_ALERT_COMMAND", mailer(tmp_path))
        settings.cache_clear()
        feeds.land(USERS, before, today - timedelta(days=1))
        feeds.commit(USERS, before, today - timedelta(days=1))
        receiver.answers = [503]
        assert tick(lake, USERS) == "1 days are late, failed or stuck."
        assert lake.check_days("store/bronze/users", "freshness") == {"FAILED": {str(late)}}
        for _ in range(3):
            assert tick(lake, USERS) == "1 days are late, failed or stuck."
        posted = [content for _, content in receiver.posts]
        assert (posted[0]["table"], posted[0]["day"]) == ("store/bronze/users", str(late))
        assert posted == posted[:1] * 2, "answered 503, then 204"
        assert (tmp_path / "mails").read_text().count("--end--") == 1

        quality = read_quality(settings(), CATALOG, "store", DayRange(before, today))
        assert quality.state("store/bronze/users", late) is State.LATE
        assert quality.why("store/bronze/users", late)[0].startswith(f"Nothing of {late} was delivered")

        key = dg.AssetKey(["store", "bronze", "users"])
        planned_and_killed(lake.instance, key, late)
        tick(lake, USERS)
        assert lake.check_days("store/bronze/users", "freshness") == {"FAILED": {str(late)}}

        # A run that makes an empty day finds nothing wrong with it.
        passed = dg.AssetCheckEvaluation(key, "freshness", True, {}, partition=str(late))
        lake.instance.report_runless_asset_event(passed)
        assert lake.check_days("store/bronze/users", "freshness") == {"SUCCEEDED": {str(late)}}
        tick(lake, USERS)
        assert lake.check_days("store/bronze/users", "freshness") == {"FAILED": {str(late)}}

        feeds.land(USERS, late)
        feeds.commit(USERS, late)
        assert tick(lake, USERS) == "Nothing is late, failed or stuck."
        assert lake.check_days("store/bronze/users", "freshness") == {"SUCCEEDED": {str(late)}}
        assert read_quality(settings(), CATALOG, "store", None).state("store/bronze/users", late) is State.PASSED
        assert len(receiver.posts) == 2
        assert "webhook: taken\ncommand: taken" in lake.cli("alerts", "--try").output
        assert f"store/bronze/users,{late},late" in lake.cli("alerts", "--all", "--format", "csv").output
    assert "cannot be reached" in lake.cli("alerts", "--try", fails=True).output
    (alert,) = read_alerts(settings().lake)
    assert (alert.sent, len(alert.refused["webhook"])) == ({"webhook", "command"}, 1)
    assert alert.resolved


def test_a_failed_contract_check_is_told_once_too_with_or_without_an_sla(
    lake: DagsterLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds = Feeds(tmp_path / "root")
    silver = CATALOG.table(TableKey("store", "silver", "payments"))
    assert silver.sla is None
    with receiving() as receiver:
        monkeypatch.setenv("LAKEHOUSE_ALERT_WEBHOOK", receiver.url)
        settings.cache_clear()
        feeds.commit(silver, D0)
        feeds.fail(silver, D1)
        for _ in range(3):
            assert tick(lake, silver) == "1 days are late, failed or stuck."
        feeds.fail(silver, D1)  # tried again, failed again: the same trouble
        tick(lake, silver)
        feeds.commit(silver, D1)
        assert tick(lake, silver) == "Nothing is late, failed or stuck."
        (post,) = receiver.posts
    assert (post[1]["table"], post[1]["day"], post[1]["state"]) == ("store/silver/payments", str(D1), "failed")
    assert "lakehouse quality --domain store" in post[1]["message"]


def test_every_domain_has_its_sensor_and_it_is_on() -> None:
    repository = definitions.get_repository_def()
    for domain in {table.key.domain for table in CATALOG.tables}:
        sensor = repository.get_sensor_def(f"{domain}_deadlines")
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert {table.key.domain for table in CATALOG.tables if table.sla} >= {"gmv", "loyalty", "orders", "store"}
