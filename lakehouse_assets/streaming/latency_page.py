"""Latency as a page that stands alone: one HTML file without scripts or external resources, the same for the same log.

`lakehouse stream latency NAME --html FILE`. Both axes start at zero; the bar is what is promised.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

from lakehouse_assets.streaming.latency import Latency, Moment

BAR = 15.0
"""Seconds within which 95 of 100 events are to be in the live table."""

WIDTH, HEIGHT, LEFT, BELOW = 880, 300, 52, 34
LINES: tuple[tuple[str, str, Callable[[Moment], float]], ...] = (
    ("live-p95", "live table, 95 of 100", lambda m: m.live[0.95]),
    ("live-median", "live table, median", lambda m: m.live[0.5]),
    ("bronze-p95", "bronze, 95 of 100", lambda m: m.bronze[0.95]),
)
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #d0d7de; --met: #1a7f37; --missed: #cf222e;
  --live: #0969da; --median: #54aeff; --bronze: #9a6700 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --faint: #30363d; --met: #3fb950;
  --missed: #f85149; --live: #58a6ff; --median: #1f6feb; --bronze: #d29922 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse } th, td { padding: .3rem .8rem; text-align: right;
  border-bottom: 1px solid var(--faint) }
th:first-child, td:first-child { text-align: left }
.met { color: var(--met) } .missed { color: var(--missed) } .met, .missed { font-weight: 600 }
svg { width: 100%; height: auto } svg text { font-size: 12px; fill: var(--ink) }
.grid { stroke: var(--faint) } .bar { stroke: var(--missed); stroke-dasharray: 6 4 }
polyline { fill: none; stroke-width: 2 } .live-p95 { stroke: var(--live) } .live-median { stroke: var(--median) }
.bronze-p95 { stroke: var(--bronze) } ul { list-style: none; padding: 0; display: flex; gap: 1.5rem; flex-wrap: wrap }
li svg { width: 2rem; height: .6rem; margin-right: .4rem }
"""


def write_page(measured: Sequence[Latency], file: Path) -> None:
    """Write the page."""
    file.write_text(page(measured), encoding="utf-8")


def page(measured: Sequence[Latency]) -> str:
    """The page as text."""
    policy = f"default-src 'none'; style-src 'sha256-{_hash(STYLE)}'; base-uri 'none'; form-action 'none'"
    body = "".join(_section(one) for one in measured) or "<p>No event of a stream is in a live table yet.</p>"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>From event to figure</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>From event to figure</h1>
<p>Seconds from an event's sending until a table has it, from stored timestamps: the producer's header, the commits.</p>
</header>
<main>{body}</main>
</body>
</html>
"""


def _section(found: Latency) -> str:
    met = found.live[0.95] <= BAR
    verdict = f'<span class="{"met" if met else "missed"}">{"met" if met else "missed"}</span>'
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{_s(of[0.5])}</td><td>{_s(of[0.95])}</td><td>{_s(of[1.0])}</td></tr>"
        for name, of in ((found.source, found.bronze), (found.table, found.live))
    )
    first, last = found.course[0].at, found.course[-1].at
    legend = "".join(
        f'<li><svg viewBox="0 0 20 6" aria-hidden="true"><polyline class="{kind}" points="0,3 20,3"/></svg>'
        f"{escape(says)}</li>"
        for kind, says, _ in LINES
    )
    return f"""
<section><h2>{escape(found.table)}</h2>
<p>{found.events:,} events, {found.rate:,.0f} a second, sent from {first:%Y-%m-%d %H:%M:%S} to {last:%H:%M:%S} UTC.
95 of 100 within {BAR:.0f} s: {verdict}.</p>
<table><thead><tr><th>until it is in</th><th>median</th><th>95 of 100</th><th>longest</th></tr></thead>
<tbody>{rows}</tbody></table>
{_chart(found)}
<ul>{legend}<li><svg viewBox="0 0 20 6" aria-hidden="true"><line class="bar" x1="0" x2="20" y1="3" y2="3"/></svg>the
bar, {BAR:.0f} s</li></ul></section>
"""


def _chart(found: Latency) -> str:
    top = max(BAR, *[m.live[0.95] for m in found.course]) * 1.1
    first = found.course[0].at
    span = max((found.course[-1].at - first).total_seconds(), found.seconds)

    def x(moment: Moment) -> float:
        return LEFT + (WIDTH - LEFT) * (moment.at - first).total_seconds() / span

    def y(seconds: float) -> float:
        return (HEIGHT - BELOW) * (1 - seconds / top)

    lines = "".join(
        f'<polyline class="{kind}" points="{" ".join(f"{x(m):.1f},{y(of(m)):.1f}" for m in found.course)}"/>'
        for kind, _, of in LINES
    )
    says = "Seconds until the tables have an event, by time of sending"
    bar = f'<line class="bar" x1="{LEFT}" x2="{WIDTH}" y1="{y(BAR):.1f}" y2="{y(BAR):.1f}"/>'
    return f"""<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{says}">
{"".join(_grid(top, y))}{bar}{lines}
<text x="{LEFT}" y="{HEIGHT - 8}">{first:%H:%M:%S}</text>
<text x="{WIDTH}" y="{HEIGHT - 8}" text-anchor="end">{found.course[-1].at:%H:%M:%S} UTC, time of sending</text></svg>"""


def _grid(top: float, y: Callable[[float], float]) -> Iterator[str]:
    step = next((n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if top / n <= 8), 5000)
    for seconds in range(0, int(top) + 1, step):
        at = y(seconds)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{seconds} s</text>'


def _s(seconds: float) -> str:
    return f"{seconds:.1f} s"


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
