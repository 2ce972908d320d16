"""The first day of each domain's partitions, where a lakehouse begins later than the domain declares.

`LAKEHOUSE_FIRST_DAYS` says it, else a file of the home, which `lakehouse demo` writes. Days before it that were landed
or streamed are partitions all the same: nothing waits outside of them.
"""

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from lakehouse_assets.platform.common.days import DayError, parse_day
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.storage.changed_days import first_day
from lakehouse_assets.platform.storage.delta_table import version_of
from lakehouse_assets.settings import Settings

DECLARED = "declared"


def partition_starts(declared: Mapping[str, date], catalog: Catalog, here: Settings) -> dict[str, date]:
    """The first partition of each domain: the chosen day, or the oldest one with data; else the `declared` day.

    Raises LakehouseError for a file of the home that cannot be read as days, and for a setting that names no domain.
    """
    chosen = chosen_first_days(here)
    if here.first_days is not None and (unknown := sorted(chosen.keys() - declared.keys())):
        raise LakehouseError(
            f"LAKEHOUSE_FIRST_DAYS names {unknown[0]}, which is no domain. Domains are: {', '.join(declared)}."
        )
    return {
        domain: max(first, min(chosen[domain], _oldest(domain, catalog, here))) if domain in chosen else first
        for domain, first in declared.items()
    }


def chosen_first_days(here: Settings) -> dict[str, date]:
    """The first days that the setting says, else the home's file, by domain. Raises LakehouseError."""
    if here.first_days == DECLARED:
        return {}
    if here.first_days is not None:
        return _read(here.first_days, "LAKEHOUSE_FIRST_DAYS")
    file = first_days_file(here)
    try:
        return _read(file.read_text(encoding="utf-8").strip(), str(file))
    except FileNotFoundError:
        return {}


def first_days_file(here: Settings) -> Path:
    """Where a home keeps the first days of its domains."""
    return here.home.absolute() / "first_days"


def write_first_days(here: Settings, days: Mapping[str, date]) -> None:
    """Keep these first days in the home, beside those of other domains."""
    file = first_days_file(here)
    all_days = _read(file.read_text(encoding="utf-8").strip(), str(file)) if file.exists() else {}
    text = ",".join(f"{domain}={day}" for domain, day in sorted((all_days | dict(days)).items()))
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(f"{text}\n", encoding="utf-8")
    part.replace(file)


def _read(text: str, place: str) -> dict[str, date]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    try:
        return {domain.strip(): parse_day(day) for domain, _, day in pairs}
    except DayError as error:
        raise LakehouseError(
            f"{place}: {error}. The partitions of no domain can be known. Write it as gmv=2023-01-01,store=2023-02-01."
        ) from error


def _oldest(domain: str, catalog: Catalog, here: Settings) -> date:
    """The oldest day of a domain that was landed or streamed on this machine; of a bucket, where asking is slow, none.

    Landed parts lie in a folder of their day.
    """
    if not isinstance(here.landing, Path) or not isinstance(here.lake, Path):
        return date.max
    landed = [_day(folder.name) for folder in (here.landing / domain).glob("*/????-??-??")]
    paths = [here.lake.joinpath(*t.key.parts) for t in catalog.tables if t.key.domain == domain and t.stream]
    streamed = [first_day(path, version) for path in paths if (version := version_of(path)) is not None]
    return min((day for day in (*landed, *streamed) if day), default=date.max)


def _day(name: str) -> date | None:
    try:
        return parse_day(name)
    except DayError:
        return None
