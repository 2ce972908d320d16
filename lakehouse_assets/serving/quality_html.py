"""Quality as a page that stands alone: one HTML file without external resources, for any browser, also offline.

Data come from files that strangers wrote. They stand in the page as JSON in which no `<` is left, the script puts them
on the page as text only, and a content security policy lets nothing run but that script, known by its hash.
"""

import base64
import hashlib
import html
import json
from collections.abc import Iterator, Mapping
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from lakehouse_assets.platform.common.days import ranges
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.results.check_results import CONTRACT, DESCRIPTIONS
from lakehouse_assets.serving.day_state import State
from lakehouse_assets.serving.quality import Quality, RuleCount, Verdict

SAMPLES = 3
SAMPLE_CHARACTERS = 160
DAY_MARK = "{day}"
STATES = tuple(State)
LISTED = 60


def write_page(quality: Quality, catalog: Catalog, file: Path) -> int:
    """Write the page. Its size in bytes; the same journals give the same bytes."""
    content = page(quality, catalog).encode()
    file.write_bytes(content)
    return len(content)


def page(quality: Quality, catalog: Catalog) -> str:
    """The page as text."""
    files = resources.files("lakehouse_assets.serving") / "quality_page"
    style = (files / "page.css").read_text(encoding="utf-8")
    script = (files / "page.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    message = f"{quality.days} · {len(quality.tables)} tables · as of {quality.as_of:%Y-%m-%d %H:%M} UTC"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Quality of {quality.days}</title>
<style>{style}</style>
</head>
<body>
<header><h1>Quality</h1><p>{message}</p></header>
<main>
<ul id="legend" aria-label="What the cells mean">{"".join(_legend(quality))}</ul>
<noscript><p>The map needs JavaScript; what needs a look is listed below.</p></noscript>
<div id="tools" hidden></div>
<div id="map" tabindex="-1"></div>
<section id="detail" aria-live="polite" hidden></section>
<section><h2>Needs a look</h2>{_attention(quality)}</section>
</main>
<script type="application/json" id="data">{_json(_data(quality, catalog))}</script>
<script>{script}</script>
</body>
</html>
"""


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _legend(quality: Quality) -> Iterator[str]:
    counts = dict.fromkeys(STATES, 0)
    for table in quality.tables:
        for day in quality.days:
            counts[quality.state(table, day)] += 1
    for state in reversed(STATES):
        glyph, number = html.escape(state.glyph), STATES.index(state)
        yield (
            f'<li title="{html.escape(state.meaning)}"><span class="cell s{number}" aria-hidden="true">{glyph}</span>'
            f" <b>{counts[state]}</b> {html.escape(state.value)}</li>"
        )


def _attention(quality: Quality) -> str:
    """Failed days, newest first, then what waits; links that open the day."""
    failed, waiting = [], []
    for table in quality.tables:
        states = {day: quality.state(table, day) for day in quality.days}
        failed += [(day, table) for day, state in states.items() if state is State.FAILED]
        waiting += [(part, table) for part in ranges(d for d, state in states.items() if state is State.WAITING)]
    lines = [
        _item(State.FAILED, table, day, str(day), quality.why(table, day))
        for day, table in sorted(failed, reverse=True)
    ]
    lines += [
        _item(State.WAITING, table, part.last, str(part), quality.why(table, part.last)[:1])
        for part, table in sorted(waiting, reverse=True)
    ]
    if not lines:
        return "<p>Nothing failed and nothing waits.</p>"
    more = f"<p>… and {len(lines) - LISTED} more: see the map.</p>" if len(lines) > LISTED else ""
    return f'<ul id="attention">{"".join(lines[:LISTED])}</ul>{more}'


def _item(state: State, table: str, day: date, message: str, why: list[str]) -> str:
    return (
        f'<li><span class="cell s{STATES.index(state)}" aria-hidden="true">{state.glyph}</span> '
        f'<a href="#{html.escape(table)}/{day}">{html.escape(table)} {message}</a> '
        f"<span>{state.value}: {html.escape('; '.join(why[:3]))}</span></li>"
    )


def _data(quality: Quality, catalog: Catalog) -> dict[str, Any]:
    """What the script draws. Texts that repeat are written once and referred to by number."""
    runs, codes = _Numbers(), _Numbers()
    tables = [_table(quality, catalog, table, runs, codes) for table in quality.tables]
    return {
        "first": str(quality.days.first),
        "days": len(list(quality.days)),
        "states": [{"name": state.value, "glyph": state.glyph, "meaning": state.meaning} for state in STATES],
        "tables": tables,
        "runs": runs.texts,
        "codes": codes.texts,
    }


class _Numbers:
    """Texts by number, in the order in which they were first met."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def of(self, text: Any) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def texts(self) -> list[Any]:
        return list(self._numbers)


def _table(quality: Quality, catalog: Catalog, table: str, runs: _Numbers, codes: _Numbers) -> dict[str, Any]:
    described = _descriptions(catalog, table)
    rules, sets, queries = _Numbers(), _Numbers(), _Numbers()
    cells: dict[int, Any] = {}
    why: dict[int, list[str]] = {}
    for number, day in enumerate(quality.days):
        verdict = quality.verdicts.get((table, day))
        state = quality.state(table, day)
        if state in (State.WAITING, State.NONE) and quality.why(table, day):
            why[number] = quality.why(table, day)[:1]
        if verdict is not None:
            cells[number] = _cell(verdict, day, rules, sets, queries, runs, codes)
    return {
        "name": table,
        "inputs": _inputs(catalog, table),
        "states": "".join(str(STATES.index(quality.state(table, day))) for day in quality.days),
        "rules": [[*rule, described.get(rule[1], "")] for rule in rules.texts],
        "sets": sets.texts,
        "sql": queries.texts,
        "why": why,
        "cells": cells,
    }


def _cell(
    verdict: Verdict, day: date, rules: _Numbers, sets: _Numbers, queries: _Numbers, runs: _Numbers, codes: _Numbers
) -> list[Any]:
    counts = [
        (rules.of((count.check, count.rule, count.dimension, count.action, count.blocking)), count)
        for count in verdict.rules
    ]
    return [
        runs.of(verdict.run_id),
        f"{verdict.evaluated_at:%Y-%m-%d %H:%M:%S} UTC",
        verdict.version,
        verdict.rows_in,
        verdict.kept,
        verdict.quarantined,
        verdict.duplicates,
        verdict.ties,
        codes.of(verdict.code_version),
        sets.of(tuple(number for number, _ in counts)),
        max((count.rows for _, count in counts if count.check == CONTRACT), default=verdict.rows_in),
        [_broken(number, count, day, queries) for number, count in counts if count.failed or not count.passed],
    ]


def _broken(number: int, count: RuleCount, day: date, queries: _Numbers) -> list[Any]:
    query = queries.of(count.sql.replace(str(day), DAY_MARK)) if count.sql else -1
    return [
        number,
        count.rows,
        count.failed,
        int(count.passed),
        query,
        len(count.samples),
        [_short(sample) for sample in count.samples[:SAMPLES]],
    ]


def _short(sample: Mapping[str, Any]) -> dict[str, str | None]:
    texts = {name: None if value is None else str(value) for name, value in sample.items()}
    return {
        name: text[:SAMPLE_CHARACTERS] + "…" if text and len(text) > SAMPLE_CHARACTERS else text
        for name, text in texts.items()
    }


def _declared(catalog: Catalog, table: str) -> Table | None:
    """The table as declared today; None where it was judged once and is gone."""
    return next((one for one in catalog.tables if str(one.key) == table), None)


def _descriptions(catalog: Catalog, table: str) -> dict[str, str]:
    """What the rules of today's contract say, and what the checks do."""
    declared = _declared(catalog, table)
    return DESCRIPTIONS | ({rule.name: rule.description for rule in declared.compiled.rules} if declared else {})


def _inputs(catalog: Catalog, table: str) -> list[str]:
    """SQL names of what the table is made of."""
    declared = _declared(catalog, table)
    return [".".join(read.table.parts) for read in declared.reads.values()] if declared else []
