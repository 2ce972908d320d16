"""Quality one can see: states, the terminal's map, rows, and the page in Chromium; from journals without Spark."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner
from playwright.sync_api import Page, expect, sync_playwright

from lakehouse_assets.cli import main
from lakehouse_assets.cli.heatmap import fit
from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.contracts.rules import Action
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.results import audit_log, audit_rows
from lakehouse_assets.platform.results.step_result import DayOutcome, Status
from lakehouse_assets.platform.storage.commit_metadata import DayRows
from lakehouse_assets.platform.validation.day_result import percent
from lakehouse_assets.serving.day_state import State
from lakehouse_assets.serving.quality import read_quality
from lakehouse_assets.serving.quality_html import page as render
from lakehouse_assets.serving.query import query
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.browser import SWITCHES, require_chromium
from lakehouse_assets_tests.judged_days import Judge

FIRST = date(2023, 1, 2)
DAYS = [FIRST + timedelta(days=n) for n in range(6)]
GOOD, ASIDE, REPAIRED, RED, AFTER, LAST = DAYS
SILVER, OTHERS = "gmv/silver/purchase", ("gmv/silver/product_item", "gmv/silver/purchase_extra_info")
BRONZE = [f"gmv/bronze/{name}" for name in ("product_item", "purchase", "purchase_extra_info")]
GOLD = ("gmv/gold/gmv", "gmv/gold/gmv_current")
RULE, TOLERATED = "release_date:parses", "purchase_id:not_null"
NASTY = "</script><img src=x onerror=\"document.title='owned'\"><!--<script>\u2028`${1}`"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield settings()
    settings.cache_clear()


@pytest.fixture
def validated(home: Settings) -> Judge:
    """A week: some rows set aside on its second day, a day repaired, a red day on which gold waits from there."""
    judge = Judge.of(home)
    judge.write(SILVER, [judge.day(SILVER, REPAIRED, {RULE: 150})])
    for table in (*BRONZE, *OTHERS):
        judge.write(table, [judge.day(table, day) for day in DAYS])
    samples = {RULE: [{"release_date": NASTY, "row_number": n} for n in range(20)]}
    counts: dict[date, dict[str, int]] = {ASIDE: {TOLERATED: 3}, RED: {RULE: 120, TOLERATED: 2}}
    judge.write(SILVER, [judge.day(SILVER, day, counts.get(day), samples if day == RED else None) for day in DAYS])
    for table in GOLD:
        judge.write(table, [judge.day(table, day, rows=7) for day in DAYS if day < RED])
    return judge


def states(judge: Judge, table: str) -> list[State]:
    quality = read_quality(judge.settings, judge.catalog, None, None)
    return [quality.state(table, day) for day in DAYS]


def lakehouse(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["quality", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


# --- what the journals say ---


def test_each_day_has_the_state_of_its_newest_verdict(validated: Judge) -> None:
    assert states(validated, SILVER) == [
        State.PASSED, State.QUARANTINED, State.PASSED, State.FAILED, State.PASSED, State.PASSED,
    ]  # fmt: skip


def test_what_reads_a_red_day_waits_from_that_day_on_and_its_companion_with_it(validated: Judge) -> None:
    for table in GOLD:
        assert states(validated, table) == [State.PASSED] * 3 + [State.WAITING] * 3
    quality = read_quality(validated.settings, validated.catalog, None, None)
    assert quality.why("gmv/gold/gmv", LAST) == [f"waits for {SILVER} of {RED}"]


def test_nothing_waits_once_the_day_is_repaired(validated: Judge) -> None:
    validated.write(SILVER, [validated.day(SILVER, RED)])
    assert states(validated, SILVER)[3] is State.PASSED
    assert states(validated, "gmv/gold/gmv") == [State.PASSED] * 3 + [State.NONE] * 3


def test_counts_rates_and_the_equation_of_rows_are_those_of_the_verdict(validated: Judge) -> None:
    verdict = read_quality(validated.settings, validated.catalog, "gmv", None).verdicts[SILVER, RED]
    assert (verdict.rows_in, verdict.kept, verdict.quarantined, verdict.version) == (200, 0, 122, None)
    worst = next(rule for rule in verdict.rules if rule.rule == RULE)
    assert (worst.failed, worst.rows, worst.rate, worst.passed, worst.dimension) == (120, 200, 0.6, False, "validity")
    assert len(worst.samples) == 20
    assert verdict.why()[0] == f"{RULE}: 120 of 200 rows"


def test_a_day_that_no_rule_could_judge_is_red_too(home: Settings) -> None:
    judge = Judge.of(home)
    day = DayOutcome(RED, Status.FAILED, DayRows(0, 0, 0, 0, ""), reasons=("rows of another shape",))
    run = judge.write(SILVER, [day])
    assert states(judge, SILVER)[3] is State.FAILED
    why = read_quality(home, judge.catalog, None, None).why(SILVER, RED)
    assert why[0] == f"could not be judged by its rules: see run {run}"


def test_a_journal_of_before_samples_were_kept_is_read(home: Settings) -> None:
    older = pa.schema([field for field in audit_log.CHECK_RESULTS if field.name != "samples"])
    judge = Judge.of(home)
    with pytest.MonkeyPatch.context() as before:
        before.setattr(audit_rows, "CHECK_RESULTS", older)
        judge.write(SILVER, [judge.day(SILVER, RED, {RULE: 120})])
    assert states(judge, SILVER)[3] is State.FAILED
    judge.write(SILVER, [judge.day(SILVER, AFTER, {RULE: 120}, {RULE: [{"a": 1}]})])
    verdicts = read_quality(home, judge.catalog, None, None).verdicts
    kept = {day: [rule.samples for rule in v.rules if rule.rule == RULE] for (_, day), v in verdicts.items()}
    assert kept == {RED: [()], AFTER: [({"a": 1},)]}


def test_the_audit_says_of_a_failed_day_whether_only_another_of_its_run_was_bad(home: Settings) -> None:
    """Also beside an audit of before that was said."""
    judge = Judge.of(home)
    bad = judge.day(SILVER, RED, {RULE: 120})
    good = replace(judge.day(SILVER, GOOD), status=Status.FAILED, reasons=bad.reasons)
    older = pa.schema([field for field in audit_log.AUDIT if field.name != "along"])
    path = home.lake / "gmv" / "silver" / "purchase"
    with pytest.MonkeyPatch.context() as before:
        before.setattr(audit_rows, "AUDIT", older)
        judge.write(SILVER, [good, bad])
    assert set(audit_log.failed_days(home.lake, "gmv", SILVER, path)) == {GOOD, RED}
    assert not any(one.along for one in audit_log.failures(home.lake, "gmv", SILVER, {}).values())
    judge.write(SILVER, [good, bad])
    failures = audit_log.failures(home.lake, "gmv", SILVER, {})
    assert {day: one.along for day, one in failures.items()} == {GOOD: True, RED: False}


def test_broken_ties_are_in_the_audit_and_on_the_page_also_beside_an_audit_of_before_they_were_counted(
    home: Settings,
) -> None:
    judge, table = Judge.of(home), "loyalty/silver/transacao"
    first, second = judge.day(table, RED), judge.day(table, AFTER)
    older = pa.schema([field for field in audit_log.AUDIT if field.name != "ties"])
    with pytest.MonkeyPatch.context() as before:
        before.setattr(audit_rows, "AUDIT", older)
        judge.write(table, [first])
    (verdict,) = read_quality(home, judge.catalog, None, None).verdicts.values()
    assert (verdict.rows_in, verdict.ties) == (200, None)
    judge.write(table, [replace(second, rows=replace(second.rows, ties=7))])
    found = read_quality(home, judge.catalog, None, None)
    assert [found.verdicts[table, day].ties for day in (RED, AFTER)] == [None, 7]
    audit = query(home, "SELECT feed_day, ties FROM loyalty.audit ORDER BY feed_day")
    assert audit.rows == [(RED, None), (AFTER, 7)]
    (data,) = re.findall(r'id="data">(.*?)</script>', render(found, judge.catalog), re.DOTALL)
    cells = next(one for one in json.loads(data)["tables"] if one["name"] == table)["cells"]
    assert [cell[3:8] for cell in cells.values()] == [[200, 200, 0, 0, None], [200, 200, 0, 0, 7]]


@pytest.mark.browser
def test_a_cell_says_how_many_ties_were_broken(home: Settings, chromium: Page, tmp_path: Path) -> None:
    judge, table = Judge.of(home), "loyalty/silver/transacao"
    days = [judge.day(table, day) for day in (RED, AFTER)]
    judge.write(table, [replace(days[0], rows=replace(days[0].rows, ties=7)), days[1]])
    chromium.goto(write(judge, tmp_path / "quality.html").as_uri())
    detail = chromium.locator("#detail")
    chromium.get_by_role("gridcell", name=f"{table}, {RED}: passed").click()
    expect(detail.locator("dl.facts").first).to_contain_text(re.compile("ties broken.*7", re.DOTALL))
    chromium.get_by_role("gridcell", name=f"{table}, {AFTER}: passed").click()
    expect(detail.locator("dl.facts").first).not_to_contain_text("ties")


def test_asking_where_nothing_was_judged_says_so(home: Settings, validated: Judge) -> None:
    for domain, days in (("shop", None), (None, "2020-01-01..2020-02-01")):
        with pytest.raises(LakehouseError, match="Nothing was judged"):
            read_quality(home, validated.catalog, domain, DayRange.parse(days) if days else None)
    with pytest.raises(LakehouseError, match="materialize some days first"):
        read_quality(Settings(home=home.home / "empty"), validated.catalog, None, None)


def test_a_day_without_a_delivery_is_another_state_than_a_day_whose_rows_pass(home: Settings) -> None:
    judge = Judge.of(home)
    judge.write(SILVER, [judge.day(SILVER, GOOD), judge.day(SILVER, ASIDE, rows=0)])
    assert states(judge, SILVER)[:2] == [State.PASSED, State.EMPTY]
    line = next(line for line in lakehouse().splitlines() if line.startswith(SILVER))
    assert line.split() == [SILVER, "·", "○"]


def test_warned_and_quarantined_rows_have_different_signs(home: Settings) -> None:
    judge, table = Judge.of(home), "store/silver/orders"
    rules = judge.catalog.table(TableKey.parse(table)).compiled.rules
    warns, leaves = (next(r.name for r in rules if r.action is of) for of in (Action.WARN, Action.QUARANTINE))
    broken = [{warns: 3}, {leaves: 3}, {warns: 3, leaves: 3}]
    judge.write(table, [judge.day(table, day, of) for day, of in zip(DAYS, broken, strict=False)])
    assert states(judge, table)[:3] == [State.WARNED, State.QUARANTINED, State.QUARANTINED]
    line = next(line for line in lakehouse().splitlines() if line.startswith(table))
    assert line.split() == [table, "!", "+", "+"]
    results = {row["rule"]: row["result"] for row in json.loads(lakehouse("--format", "json", "--days", str(DAYS[0])))}
    assert {rule for rule, result in results.items() if result == "tolerated"} == {warns}
    assert set(results.values()) == {"tolerated", "passed"}


# --- the terminal ---


def test_the_map_is_read_without_colour(validated: Judge) -> None:
    message = lakehouse()
    line = next(line for line in message.splitlines() if line.startswith(SILVER))
    assert line.split() == [SILVER, "·", "+", "·", "✗", "·", "·"]
    gold = next(line for line in message.splitlines() if line.startswith("gmv/gold/gmv "))
    assert gold.split() == ["gmv/gold/gmv", "·", "·", "·", "…", "…", "…"]
    assert re.search(r"✗ +1 failed: a blocking check failed", message)
    assert f"✗ {SILVER} {RED}  {RULE}: 120 of 200 rows" in message
    assert f"… gmv/gold/gmv {RED}..{LAST}  waits for {SILVER} of {RED}" in message


def test_a_small_day_of_which_nothing_is_left_is_named_first(validated: Judge) -> None:
    validated.write(OTHERS[0], [validated.day(OTHERS[0], GOOD, {TOLERATED: 60}, rows=60)])
    _, _, look = lakehouse().partition("Needs a look")
    first, second, *_ = (line.strip() for line in look.strip().splitlines())
    assert first == f"✗ {OTHERS[0]} {GOOD}  no row is left of 60; {TOLERATED}: 60 of 60 rows"
    assert second.startswith(f"✗ {SILVER} {RED}")


@pytest.mark.parametrize(
    ("days", "room", "unit", "columns"),
    [(31, 93, "day", 31), (60, 93, "day", 60), (365, 93, "week", 53), (365, 40, "month", 12), (3650, 60, "month", 120)],
)
def test_many_days_become_weeks_or_months(days: int, room: int, unit: str, columns: int) -> None:
    span = DayRange(date(2025, 1, 1), date(2025, 1, 1) + timedelta(days=days - 1))
    grid = fit(span, room)
    assert (grid.unit, len(grid.columns)) == (unit, columns)
    assert [day for column in grid.columns for day in column] == list(span), "no day twice, none left out"


def test_rows_for_programs(validated: Judge) -> None:
    rows = json.loads(lakehouse("--format", "json", "--days", str(RED)))
    (bad,) = [row for row in rows if not row["passed"]]
    assert (bad["table"], bad["feed_day"], bad["rule"]) == (SILVER, str(RED), RULE)
    assert (bad["failed"], bad["rows"], bad["rate"], bad["state"]) == (120, 200, 0.6, "failed")
    same = list(csv.DictReader(io.StringIO(lakehouse("--format", "csv", "--days", str(RED)))))
    assert [row["rule"] for row in same] == [row["rule"] for row in rows]


# --- the page ---


@pytest.fixture
def chromium() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=list(SWITCHES))
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(10_000)
        yield page
        browser.close()


def write(judge: Judge, file: Path) -> Path:
    lakehouse("--html", str(file))
    assert "<script src" not in file.read_text(encoding="utf-8")
    return file


@pytest.mark.browser
def test_a_red_cell_is_found_and_opens_the_rule_with_its_count(
    validated: Judge, chromium: Page, tmp_path: Path
) -> None:
    requests: list[str] = []
    problems: list[str] = []
    chromium.on("request", lambda request: requests.append(request.url))
    chromium.on("pageerror", lambda error: problems.append(str(error)))
    chromium.on("console", lambda message: problems.append(message.text))
    file = write(validated, tmp_path / "quality.html")
    chromium.goto(file.as_uri())
    red = chromium.get_by_role("gridcell", name=f"{SILVER}, {RED}: failed")
    expect(red).to_have_text("✗")
    red.click()
    detail = chromium.locator("#detail")
    expect(detail.get_by_role("heading", level=2)).to_contain_text(f"{SILVER} {RED} ✗ failed")
    rule = detail.get_by_role("row").filter(has=chromium.get_by_text(RULE, exact=True))
    expect(rule).to_contain_text("✗ fails the day")
    assert [rule.locator("td").nth(n).inner_text() for n in (3, 4, 5)] == ["quarantine", "200", "120"]
    expect(rule).to_contain_text("60.0 %")
    expect(detail).to_contain_text("run-7")
    expect(detail.get_by_text(NASTY).first).to_be_visible()
    chromium.get_by_role("gridcell", name=f"{SILVER}, {ASIDE}: rows quarantined").click()
    detail.get_by_text("SQL that lists the rows").click()
    listing = f"FROM gmv.silver.purchase__quarantine WHERE feed_day = '{ASIDE}'"
    expect(detail).to_contain_text(listing)
    chromium.get_by_role("gridcell", name=f"gmv/gold/gmv, {LAST}: waiting").click()
    expect(detail).to_contain_text(f"waits for {SILVER} of {RED}")
    assert chromium.title().startswith("Quality of"), "what came from data did not run"
    assert chromium.locator("img").count() == 0
    assert problems == []
    assert requests == [file.as_uri()], "the page stands alone"


@pytest.mark.browser
def test_the_keyboard_is_enough(validated: Judge, chromium: Page, tmp_path: Path) -> None:
    chromium.goto(write(validated, tmp_path / "quality.html").as_uri())
    chromium.keyboard.press("n")
    focused = chromium.locator("td:focus")
    expect(focused).to_have_attribute("aria-label", f"{SILVER}, {RED}: failed")
    assert chromium.url.endswith(f"#{SILVER}/{RED}")
    for key in ("ArrowLeft", "ArrowLeft", "Enter"):
        chromium.keyboard.press(key)
    expect(chromium.locator("#detail h2")).to_contain_text(f"{SILVER} {ASIDE} + rows quarantined")
    expect(focused).to_have_attribute("aria-selected", "true")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_of_a_cell_stands_out_in_light_and_dark(
    validated: Judge, chromium: Page, tmp_path: Path, scheme: str
) -> None:
    """WCAG AA: 4.5 to 1 between glyph and cell; states differ by glyph as well as by colour."""
    chromium.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    chromium.goto(write(validated, tmp_path / "quality.html").as_uri())
    chromium.keyboard.press("n")
    colours = chromium.evaluate(
        """() => [...document.querySelectorAll('#legend .cell')].map((cell) => {
             const style = getComputedStyle(cell);
             const first = /rgb\\([^)]*\\)/.exec(style.backgroundImage);
             return [cell.textContent, style.color, first ? first[0] : style.backgroundColor]; })"""
    )
    assert len({glyph for glyph, _, _ in colours}) == len(State)
    for glyph, ink, paper in colours:
        assert not glyph.strip() or contrast(ink, paper) >= 4.5, (glyph, ink, paper)


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_what_came_from_data_cannot_leave_its_place(validated: Judge) -> None:
    content = render(read_quality(validated.settings, validated.catalog, None, None), validated.catalog)
    assert content.count("</script>") == 2
    assert "<img" not in content
    (data,) = re.findall(r'id="data">(.*?)</script>', content, re.DOTALL)
    cell = next(table for table in json.loads(data)["tables"] if table["name"] == SILVER)["cells"]["3"]
    broken = {rule[0]: rule for rule in cell[-1]}
    assert any(sample["release_date"] == NASTY for rule in broken.values() for sample in rule[6])


def test_a_year_of_eight_tables_is_a_light_page(home: Settings) -> None:
    """A clean year is a quarter of a megabyte; one whose every silver day breaks three rules, with samples, three."""
    judge = Judge.of(home)
    year = [FIRST + timedelta(days=n) for n in range(365)]
    sample = {f"column_{n}": f"a value {n}" for n in range(9)}
    sizes = []
    for broken in (0, 3):
        for table in (*BRONZE, SILVER, *OTHERS, *GOLD):
            rules = [rule.name for rule in judge.catalog.table(TableKey.parse(table)).compiled.rules][:broken]
            bad = dict.fromkeys(rules if "silver" in table else [], 3)
            judge.write(table, [judge.day(table, day, bad, {rule: [sample] * 3 for rule in bad}) for day in year])
        quality = read_quality(home, judge.catalog, None, None)
        sizes.append(len(render(quality, judge.catalog).encode()))
    assert 150_000 < sizes[0] < 250_000
    assert 1_000_000 < sizes[1] < 3_000_000


@pytest.mark.parametrize(
    ("part", "whole", "message"),
    [
        (0, 0, "0%"),
        (0, 7, "0%"),
        (1, 10**6, "<0.01%"),
        (2, 49, "4.08%"),
        (10**6 - 1, 10**6, ">99.99%"),
        (7, 7, "100.00%"),
    ],
)
def test_a_rate_never_rounds_to_nothing_or_to_everything(part: int, whole: int, message: str) -> None:
    assert percent(part, whole) == message
