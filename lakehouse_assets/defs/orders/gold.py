"""Gold of orders: sales by country and product, the rate of cancellation, and the revenue of the open day by minute."""

from datetime import timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.declare import IncrementalRefresh, ReplaceDays, day
from lakehouse_assets.defs.orders import bronze, contracts, silver
from lakehouse_assets.defs.orders.domain import ORDERS
from lakehouse_assets.defs.orders.lines import kept_lines_of


def _of(line_type: str) -> Column:
    return F.col("line_type") == line_type


def _sum(value: Column, line_type: str) -> Column:
    return F.sum(F.when(_of(line_type), value).otherwise(0))


def _sales() -> dict[str, Column]:
    """Figures of the lines of a group."""
    return {
        "lines": F.count_if(_of(contracts.SALE)),
        "units": _sum(F.col("quantity"), contracts.SALE),
        "sales": _sum(F.col("amount"), contracts.SALE),
        "cancelled": _sum(-F.col("amount"), contracts.CANCELLATION),
    }


def _figures(lines: DataFrame, by: tuple[str, ...], **more: Column) -> DataFrame:
    """Figures of sales and cancellations by day and `by`; adjustments of stock are no sales."""
    counted = lines.where(F.col("line_type") != contracts.ADJUSTMENT)
    named = {**_sales(), **more}
    return counted.groupBy("feed_day", *by).agg(*[value.alias(name) for name, value in named.items()])


@ORDERS.gold(contracts.SalesByCountry, lines=day(silver.order_lines), sla=timedelta(hours=2))
def sales_by_country(lines: DataFrame) -> DataFrame:
    """Sales by country."""
    sale = _of(contracts.SALE)
    return _figures(
        lines,
        ("country",),
        orders=F.count_distinct(F.when(sale, F.col("invoice_no"))),
        customers=F.count_distinct(F.when(sale, F.col("customer_id"))),
    )


@ORDERS.gold(contracts.SalesByProduct, lines=day(silver.order_lines))
def sales_by_product(lines: DataFrame) -> DataFrame:
    """Sales by product."""
    return _figures(lines, ("stock_code",), description=F.max(F.when(_of(contracts.SALE), F.col("description"))))


@ORDERS.gold(contracts.CancellationRate, lines=day(silver.order_lines))
def cancellation_rate(lines: DataFrame) -> DataFrame:
    """Cancelled value by value sold, per day."""
    figures = _figures(
        lines,
        (),
        orders=F.count_distinct(F.when(_of(contracts.SALE), F.col("invoice_no"))),
        cancellations=F.count_distinct(F.when(_of(contracts.CANCELLATION), F.col("invoice_no"))),
    )
    rate = F.when(F.col("sales") > 0, (F.col("cancelled") / F.col("sales")).cast("decimal(18,6)"))
    return figures.select("*", rate.alias("rate"))


@ORDERS.gold(
    contracts.RevenueLive,
    write=ReplaceDays(refresh=IncrementalRefresh("minute", "timestamp")),
    events=day(bronze.order_events),
)
def revenue_live(events: DataFrame) -> DataFrame:
    """Revenue by minute, from the events themselves: it does not wait for silver."""
    minute = F.date_trunc("minute", "timestamp").cast("timestamp_ntz")
    lines = kept_lines_of(events.select("*", minute.alias("minute")), "minute")
    return _figures(lines, ("minute",), newest_event=F.max("invoice_date"))
