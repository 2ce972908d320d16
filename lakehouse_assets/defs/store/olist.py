"""The files of the Olist shop as files of this store: one declared query per file, nothing else knows Olist.

Olist sells order items, of which an order has several, also of one product; here a line is a product of an order.
What Olist does not have stays empty: names, addresses, stock. It does not say when a payment was made: the approval
of the order stands for it, or the beginning of the day of the drop where the folder does not hold the order. An
`unavailable` order is one that was never shipped: it counts as cancelled.
"""

from datetime import date
from pathlib import Path

import duckdb

from lakehouse_assets.declare import LakehouseError

SOURCES = ("customers", "orders", "order_items", "order_payments", "products")

MAPPING = {
    "users": """
        SELECT customer_id AS user_id, NULL AS name, NULL AS email, NULL AS signup_date,
               customer_city AS city, customer_state AS state
        FROM customers ORDER BY ALL
    """,
    "products": """
        SELECT product_id, NULL AS name, product_category_name AS category,
               max(price::DECIMAL(18, 2)) AS price, NULL AS stock
        FROM products LEFT JOIN order_items USING (product_id) GROUP BY ALL ORDER BY ALL
    """,
    "orders": """
        WITH lines AS (
            SELECT order_id, product_id, count(*) AS quantity,
                   sum(price::DECIMAL(18, 2) + freight_value::DECIMAL(18, 2)) AS total_price
            FROM order_items GROUP BY ALL
        )
        SELECT order_id, customer_id AS user_id, product_id, quantity, coalesce(total_price, 0) AS total_price,
               order_purchase_timestamp AS order_date,
               CASE WHEN order_status IN ('canceled', 'unavailable') THEN 'cancelado'
                    WHEN order_status = 'created' THEN 'pendente' ELSE 'aprovado' END AS status
        FROM orders LEFT JOIN lines USING (order_id) ORDER BY ALL
    """,
    "payments": """
        SELECT order_id || '-' || payment_sequential AS payment_id, order_id,
               MAP {'credit_card': 'cartao_credito', 'debit_card': 'cartao_debito', 'boleto': 'boleto',
                'voucher': 'vale', 'not_defined': 'indefinido'}[payment_type] AS payment_method,
               payment_value::DECIMAL(18, 2) AS amount,
               coalesce(order_approved_at, order_purchase_timestamp, $day || ' 00:00:00') AS paid_at
        FROM order_payments LEFT JOIN orders USING (order_id) ORDER BY ALL
    """,
}


def map_olist(folder: Path, out: Path, day: date) -> dict[str, int]:
    """Write `<out>/<day>/users.csv …` from `folder/olist_*_dataset.csv`. Rows by table. Raises LakehouseError."""
    missing = [file for file in map(_file, SOURCES) if not (folder / file).exists()]
    if missing:
        raise LakehouseError(f"{folder}: {', '.join(missing)} missing. Name the folder of the Olist files.")
    target = out / day.isoformat()
    target.mkdir(parents=True, exist_ok=True)
    rows = {}
    with duckdb.connect(":memory:") as connection:
        for source in SOURCES:
            connection.read_csv(str(folder / _file(source)), all_varchar=True).create(source)
        for table, query in MAPPING.items():
            result = connection.sql(query, params={"day": day.isoformat()} if "$day" in query else None)
            rows[table] = len(result)
            result.write_csv(str(target / f"{table}.csv"))
    return rows


def _file(source: str) -> str:
    return f"olist_{source}_dataset.csv"
