"""Superset's files of declared dashboards: a database, datasets, charts, dashboards, as its importer reads them.

Everything is known by an identifier that follows from its name, so that importing again changes what is there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import yaml

from lakehouse_assets.bi.declaration import (
    AS_OF,
    WHOLE_WIDTH,
    AsOfDay,
    Chart,
    Choice,
    Dashboard,
    DashboardError,
    Filter,
    Heat,
    Measure,
)
from lakehouse_assets.bi.draw import drawn
from lakehouse_assets.bi.sources import Dataset, dataset, in_words, known_days

NAMES = UUID("7c0c1c5e-2f65-4f0e-9a3b-6f1f0c5f7a10")
VERSION = "1.0.0"
DATABASE = "Warehouse"
PLACEHOLDER = "postgresql+psycopg2://warehouse.invalid/warehouse"
"""Superset's configuration puts the real one in its place; a file has no address and no password."""
COLOURS = ("grey", "green", "blue", "yellow", "orange", "red")
"""The colours of states in words, in the order of `superset_config.py`."""
Files = dict[str, dict[str, Any]]


def superset_files(dashboards: Iterable[Dashboard]) -> Files:
    """Content by path below the folder. Raises DashboardError."""
    boards = list(dashboards)
    files: Files = {
        "metadata.yaml": {"version": VERSION, "type": "assets", "timestamp": "2000-01-01T00:00:00+00:00"},
        "databases/warehouse.yaml": _database(),
    }
    for found, shown in _datasets(boards).items():
        files[f"datasets/warehouse/{_file(found.schema, found.name)}"] = _dataset(found, shown)
    for board in boards:
        for chart in _charts(board):
            files[f"charts/{_file(board.slug, chart.title)}"] = _chart(board, chart)
        files[f"dashboards/{_file(board.slug)}"] = _dashboard(board)
    return files


def write_files(dashboards: Iterable[Dashboard], folder: Path) -> int:
    """Write them below a folder; how many."""
    files = superset_files(dashboards)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return len(files)


def _charts(board: Dashboard) -> Iterator[Chart]:
    for row in board.charts:
        yield from row


def _id(*names: str) -> str:
    return str(uuid5(NAMES, "/".join(names)))


def _file(*names: str) -> str:
    words = "_".join(names).lower()
    return "".join(letter if letter.isalnum() else "_" for letter in words) + ".yaml"


def _dataset_id(of: Dataset) -> str:
    return _id("dataset", of.schema, of.name)


@dataclass
class _Shown:
    """What dashboards show of a dataset: figures by label, and names of columns."""

    measures: dict[str, Measure] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def _datasets(boards: list[Dashboard]) -> dict[Dataset, _Shown]:
    """Every dataset that a chart or filter reads, with what is shown of it."""
    found: dict[Dataset, _Shown] = {}
    for board in boards:
        for chart in _charts(board):
            shown = found.setdefault(dataset(chart.source), _Shown())
            shown.names.update(board.names)
            for measure in chart.measures():
                if shown.measures.setdefault(measure.label, measure) != measure:
                    raise DashboardError(
                        f"{chart.source.table.key}: two different figures are called {measure.label!r}"
                    )
        for choice in board.filters:
            target = _target(choice)
            if target:
                found.setdefault(target[0], _Shown())
    return found


def _database() -> dict[str, Any]:
    return {
        "database_name": DATABASE,
        "sqlalchemy_uri": PLACEHOLDER,
        "expose_in_sqllab": True,
        "allow_dml": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "allow_csv_upload": False,
        "extra": {},
        "uuid": _id("database"),
        "version": VERSION,
    }


def _dataset(of: Dataset, shown: _Shown) -> dict[str, Any]:
    return {
        "table_name": of.name,
        "schema": of.schema,
        "description": of.about,
        "main_dttm_col": of.day,
        "sql": of.sql,
        "filter_select_enabled": True,
        "columns": [
            {
                "column_name": column.name,
                "verbose_name": shown.names.get(column.name) or in_words(column.name),
                "type": column.kind.upper(),
                "description": column.comment,
                "is_dttm": column.is_time,
                "groupby": True,
                "filterable": True,
                "is_active": True,
            }
            for column in of.columns
        ],
        "metrics": [
            {"metric_name": label, "expression": measure.sql, "d3format": measure.number or None}
            for label, measure in sorted(shown.measures.items())
        ],
        "uuid": _dataset_id(of),
        "version": VERSION,
        "database_uuid": _id("database"),
    }


def _chart(board: Dashboard, chart: Chart) -> dict[str, Any]:
    kind, params = drawn(chart)
    return {
        "slice_name": chart.title,
        "description": chart.about or None,
        "viz_type": kind,
        "params": params,
        "uuid": _id("chart", board.slug, chart.title),
        "version": VERSION,
        "dataset_uuid": _dataset_id(dataset(chart.source)),
    }


def _dashboard(board: Dashboard) -> dict[str, Any]:
    return {
        "dashboard_title": board.title,
        "slug": board.slug,
        "published": True,
        "position": _position(board),
        "metadata": {
            "native_filter_configuration": [_native_filter(board, one) for one in board.filters],
            "chart_configuration": {},
            "color_scheme": "supersetColors",
            "refresh_frequency": 0,
            "cross_filters_enabled": False,
        },
        "uuid": _id("dashboard", board.slug),
        "version": VERSION,
    }


def _position(board: Dashboard) -> dict[str, Any]:
    """The layout. Numbers of charts are their places; the importer puts its own in."""
    rows: dict[str, Any] = {}
    numbers = {chart.title: number for number, chart in enumerate(_charts(board), start=1)}
    for number, row in enumerate(board.charts, start=1):
        if colours := _colours(row):
            rows |= _text_row(f"COLOURS-{number}", colours, 6)
        above = ["ROOT_ID", "GRID_ID", f"ROW-{number}"]
        for chart in row:
            rows[f"CHART-{numbers[chart.title]}"] = {
                "id": f"CHART-{numbers[chart.title]}",
                "type": "CHART",
                "children": [],
                "parents": above,
                "meta": {
                    "uuid": _id("chart", board.slug, chart.title),
                    "chartId": numbers[chart.title],
                    "sliceName": chart.title,
                    "width": chart.width,
                    "height": chart.height,
                },
            }
        rows[f"ROW-{number}"] = {
            "id": f"ROW-{number}",
            "type": "ROW",
            "children": [f"CHART-{numbers[chart.title]}" for chart in row],
            "parents": above[:2],
            "meta": {"background": "BACKGROUND_TRANSPARENT"},
        }
    rows |= _text_row("COMMANDS", _commands(board), 10 + 4 * len(board.filled_by))
    row_ids = [name for name in rows if name.startswith("ROW-")]
    return {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"id": "ROOT_ID", "type": "ROOT", "children": ["GRID_ID"]},
        "GRID_ID": {"id": "GRID_ID", "type": "GRID", "children": row_ids, "parents": ["ROOT_ID"]},
        "HEADER_ID": {"id": "HEADER_ID", "type": "HEADER", "meta": {"text": board.title}},
        **rows,
    }


def _colours(row: tuple[Chart, ...]) -> str:
    """What the colours of a row of charts mean."""
    states = next((chart.states for chart in row if isinstance(chart, Heat)), ())
    return " · ".join(f"**{colour}** {state}" for colour, state in zip(COLOURS, states, strict=False))


def _commands(board: Dashboard) -> str:
    """How a chart without data is filled."""
    commands = "\n".join(f"- `{command}`" for command in board.filled_by)
    return (
        "A chart without data: nothing of its kind happened, or its tables have no rows yet. These commands fill them:"
        f"\n\n{commands}"
    )


def _text_row(name: str, text: str, height: int) -> dict[str, Any]:
    """A row of the layout that holds a text."""
    above = ["ROOT_ID", "GRID_ID"]
    return {
        f"ROW-{name}": {
            "id": f"ROW-{name}", "type": "ROW", "children": [f"MARKDOWN-{name}"], "parents": above,
            "meta": {"background": "BACKGROUND_TRANSPARENT"},
        },
        f"MARKDOWN-{name}": {
            "id": f"MARKDOWN-{name}", "type": "MARKDOWN", "children": [], "parents": [*above, f"ROW-{name}"],
            "meta": {"code": text, "width": WHOLE_WIDTH, "height": height},
        },
    }  # fmt: skip


def _native_filter(board: Dashboard, one: Filter) -> dict[str, Any]:
    target, label = _target(one), "As of" if isinstance(one, AsOfDay) else one.label
    excluded = [number for number, chart in enumerate(_charts(board), start=1) if not _applies(one, chart)]
    controls: dict[str, Any] = {"enableEmptyFilter": False}
    if target:
        controls |= {
            "multiSelect": isinstance(one, Choice),
            "searchAllOptions": True,
            "inverseSelection": False,
            "defaultToFirstItem": False,
            "sortAscending": isinstance(one, Choice),
        }
    return {
        "id": f"NATIVE_FILTER-{_id('filter', board.slug, label)}",
        "type": "NATIVE_FILTER",
        "name": label,
        "filterType": "filter_select" if target else "filter_time",
        "targets": [{"datasetUuid": _dataset_id(target[0]), "column": {"name": target[1]}}] if target else [{}],
        "controlValues": controls,
        "defaultDataMask": {"extraFormData": {}, "filterState": {}, "ownState": {}},
        "cascadeParentIds": [],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": excluded},
        "description": "",
    }


def _target(one: Filter) -> tuple[Dataset, str] | None:
    """The dataset and column whose values are offered; None for a range of days."""
    match one:
        case AsOfDay():
            return known_days(one.source), AS_OF
        case Choice():
            return dataset(one.source), one.column
    return None


def _applies(one: Filter, chart: Chart) -> bool:
    match one:
        case AsOfDay():
            return AS_OF in chart.source.columns
        case Choice():
            return one.column in chart.source.columns
    return chart.source.day is not None
