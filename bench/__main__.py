"""Run measures: `python -m bench [--only c,d] [--size tiny|small|full] [--dir DIR]`, as `make bench` does.

Prints a table of figures against their bars and writes DIR/bench.json. Exit code 0 whatever the figures: a bar that is
missed is reported, not hidden behind a failed command.
"""

import argparse
import json
import logging
import os
import tempfile
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.harness import SIZES, Result, Size, surroundings

MEASURES = {
    "a": "year",
    "b": "new_day",
    "c": "long_history",
    "d": "contract",
    "e": "imports",
    "f": "overhead",
    "g": "event_log",
    "h": "memory",
    "i": "trigger",
    "j": "history",
    "k": "publish",
    "l": "drain",
    "m": "shop_year",
}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", default="", help="letters of measures, as a,c; default: all")
    parser.add_argument("--size", default="small", choices=sorted(SIZES))
    parser.add_argument("--dir", type=Path, help="folder for data and bench.json; default: a temporary one")
    parser.add_argument("--files", type=Path, help="folder of a shop's daily files for m, instead of generated ones")
    given = parser.parse_args()
    wanted = given.only.replace(",", " ").split() or list(MEASURES)
    unknown = [letter for letter in wanted if letter not in MEASURES]
    if unknown:
        parser.error(f"{unknown[0]!r} is no measure; there are {', '.join(MEASURES)}")
    folder = given.dir or Path(tempfile.mkdtemp(prefix="lakehouse-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    measure(wanted, replace(SIZES[given.size], files=given.files), folder.absolute())


def measure(letters: list[str], size: Size, folder: Path) -> list[Result]:
    """Run these measures, each in a folder of its own, and write what was found after each of them."""
    from bench.lab import stop_server

    settled()
    report: dict[str, Any] = surroundings(size, folder)
    results: list[Result] = []
    os.environ["LAKEHOUSE_HOME"] = str(folder / "home")
    try:
        for letter in letters:
            print(f"== {letter}: bench/{MEASURES[letter]}.py, load {os.getloadavg()[0]:.1f}", flush=True)
            place = folder / letter
            place.mkdir(exist_ok=True)
            results.append(import_module(f"bench.{MEASURES[letter]}").measure(size, place))
            show(results[-1])
            report["results"] = [result.as_json() for result in results]
            report["load_after"] = [round(load, 2) for load in os.getloadavg()]
            (folder / "bench.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    finally:
        stop_server()
    print(f"{folder / 'bench.json'}")
    return results


def settled() -> None:
    """No log lines between the figures."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")


def show(result: Result) -> None:
    """The figures of a measure, with their bars."""
    print(f"   {result.title}")
    bars = {bar.figure: bar for bar in result.bars}
    for name, value in result.figures.items():
        bar = bars.get(name)
        verdict = f"  (bar {bar}: {'met' if bar.met(value) else 'MISSED'})" if bar else ""
        print(f"   {name:<44} {value:10.2f}{verdict}", flush=True)
    if result.remark:
        print(f"   {result.remark}")


if __name__ == "__main__":
    main()
