"""Charts as Superset's settings of its visualizations."""

import json
from collections.abc import Iterator
from typing import Any

import pyspark.sql.types as T

from lakehouse_assets.bi.declaration import Chart, Heat, Listing, Measure, Number, Parts, Series, Shape, Where

Params = dict[str, Any]
SERIES = {
    Shape.LINE: "echarts_timeseries_line",
    Shape.BAR: "echarts_timeseries_bar",
    Shape.AREA: "echarts_area",
}
MOST_ROWS = 50_000
DAY, MINUTE = "%Y-%m-%d", "%Y-%m-%d %H:%M"
STATES = "lakehouse_states"
"""The colours of states, from the best to the worst, as `superset_config.py` defines them."""


def drawn(chart: Chart) -> tuple[str, Params]:
    """The visualization and its settings."""
    kind, params = _own(chart)
    filters = [_filter(where) for where in chart.where]
    if chart.source.day:
        filters.append(_any_time(chart.source.day))
    return kind, params | {"viz_type": kind, "adhoc_filters": filters, "extra_form_data": {}}


def _own(chart: Chart) -> tuple[str, Params]:
    match chart:
        case Number():
            return "big_number_total", {
                "metric": chart.measure.label,
                "y_axis_format": chart.measure.number,
                "currency_format": _currency(chart, chart.measure),
                "header_font_size": 0.4,
                "subtitle_font_size": 0.125,
                "time_format": DAY,
            }
        case Series():
            return SERIES[chart.shape], _series(chart)
        case Listing():
            return "table", _listing(chart)
        case Parts():
            return "pie", {
                "metric": chart.measure.label,
                "groupby": [chart.of],
                "row_limit": 50,
                "sort_by_metric": True,
                "donut": True,
                "label_type": "key_value",
                "number_format": chart.measure.number,
                "currency_format": _currency(chart, chart.measure),
                "show_labels": True,
                "labels_outside": True,
                "show_labels_threshold": 2,
                "show_legend": True,
                "legendOrientation": "top",
                "legendType": "scroll",
                "innerRadius": 35,
                "outerRadius": 70,
                "color_scheme": "supersetColors",
            }
        case Heat():
            return "heatmap_v2", _heat(chart)
    raise TypeError(f"{type(chart).__name__} is no chart that can be drawn")


def _series(chart: Series) -> Params:
    times = MINUTE if chart.grain and chart.grain.startswith("PT") else DAY
    return {
        "x_axis": chart.x,
        "time_grain_sqla": chart.grain,
        "x_axis_time_format": times,
        "tooltipTimeFormat": times,
        "metrics": [measure.label for measure in chart.figures],
        "groupby": [chart.split] if chart.split else [],
        "y_axis_format": chart.figures[0].number,
        "currency_format": _currency(chart, chart.figures[0]),
        "stack": "Stack" if chart.stacked else None,
        "row_limit": MOST_ROWS,
        "x_axis_sort_asc": True,
        "rich_tooltip": True,
        "show_legend": bool(chart.split) or len(chart.figures) > 1,
        "legendOrientation": "top",
        "legendType": "scroll",
        "truncate_metric": True,
        "show_empty_columns": True,
        "color_scheme": "supersetColors",
    }


def _listing(chart: Listing) -> Params:
    common: Params = {
        "row_limit": chart.rows,
        "server_page_length": 10,
        "page_length": 20,
        "table_timestamp_format": DAY,
        "show_cell_bars": False,
        "color_pn": False,
        "column_config": dict(_formats(chart)),
    }
    if not chart.figures:
        newest = [json.dumps([chart.newest, False])] if chart.newest else []
        return common | {"query_mode": "raw", "all_columns": list(chart.shown), "order_by_cols": newest}
    return common | {
        "query_mode": "aggregate",
        "groupby": list(chart.shown),
        "metrics": [measure.label for measure in chart.figures],
        "order_desc": True,
    }


def _formats(chart: Listing) -> Iterator[tuple[str, Params]]:
    """How numbers and times are written: with all digits, not as 1.2M; times to the minute."""
    schema = chart.source.table.compiled.spark_schema
    for name in chart.shown:
        kind = schema[name].dataType
        if isinstance(kind, T.DecimalType):
            yield name, {"d3NumberFormat": f",.{kind.scale}f"} | _of_currency(chart.source.currency)
        elif isinstance(kind, T.IntegralType):
            yield name, {"d3NumberFormat": "d"}
        elif isinstance(kind, T.TimestampType | T.TimestampNTZType):
            yield name, {"d3TimeFormat": MINUTE}
    for measure in chart.figures:
        if measure.number:
            yield measure.label, {"d3NumberFormat": measure.number} | _of_currency(_code(chart, measure))
        elif any(schema[name].dataType.typeName().startswith("timestamp") for name in measure.columns):
            yield measure.label, {"d3TimeFormat": MINUTE}


def _code(chart: Chart, measure: Measure) -> str:
    """The currency of a figure; none of counts and shares."""
    return chart.source.currency if measure.number.endswith("f") else ""


def _currency(chart: Chart, measure: Measure) -> Params:
    code = _code(chart, measure)
    return {"symbol": code, "symbolPosition": "prefix"} if code else {}


def _of_currency(code: str) -> Params:
    return {"currencyFormat": {"symbol": code, "symbolPosition": "prefix"}} if code else {}


def _heat(chart: Heat) -> Params:
    return {
        "x_axis": chart.x,
        "time_grain_sqla": "P1D",
        "groupby": chart.y,
        "metric": chart.measure.label,
        "sort_x_axis": "alpha_asc",
        "sort_y_axis": "alpha_desc",
        "normalize_across": "heatmap",
        "legend_type": "continuous",
        "linear_color_scheme": STATES,
        "value_bounds": [0, len(chart.states) - 1],
        "y_axis_format": chart.measure.number,
        "x_axis_time_format": DAY,
        "xscale_interval": -1,
        "yscale_interval": 1,
        "left_margin": 50,  # beyond what the names take
        "bottom_margin": 30,
        "show_legend": False,  # a text above names the colours
        "show_percentage": False,
        "show_values": False,
        "row_limit": MOST_ROWS,
    }


def _filter(where: Where) -> Params:
    single = len(where.values) == 1
    return {
        "clause": "WHERE",
        "expressionType": "SIMPLE",
        "subject": where.column,
        "operator": ("!=" if where.negated else "==") if single else ("NOT IN" if where.negated else "IN"),
        "comparator": where.values[0] if single else list(where.values),
    }


def _any_time(column: str) -> Params:
    """Where a range of days that a person chooses goes in."""
    return {
        "clause": "WHERE",
        "expressionType": "SIMPLE",
        "subject": column,
        "operator": "TEMPORAL_RANGE",
        "comparator": "No filter",
    }
