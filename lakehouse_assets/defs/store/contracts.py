"""Contracts of the store domain: the four files of the daily drop, and gold."""

from typing import Annotated

import pyspark.sql.types as T

from lakehouse_assets.declare import Action, Contract, Dimension, SilverEvent, column, row_rule, table_metadata

OWNERS = ("team:store",)
STATES = [
    "AC",
    "AL",
    "AM",
    "AP",
    "BA",
    "CE",
    "DF",
    "ES",
    "GO",
    "MA",
    "MG",
    "MS",
    "MT",
    "PA",
    "PB",
    "PE",
    "PI",
    "PR",
    "RJ",
    "RN",
    "RO",
    "RR",
    "RS",
    "SC",
    "SE",
    "SP",
    "TO",
]
CANCELLED = "cancelado"
STATUSES = ["aprovado", "pendente", CANCELLED]
METHODS = ["pix", "boleto", "cartao_credito", "cartao_debito", "vale", "indefinido"]


class Users(SilverEvent):
    """Users as of the day they registered or changed; the newest row of a user is the valid one."""

    user_id: T.StringType = column("user", source=True)
    name: T.StringType = column("name", source=True, nullable=True, pii=True)
    email: T.StringType = column("e-mail address", source=True, nullable=True, pii=True)
    signup_date: T.DateType = column("day of registration", source=True, nullable=True)
    city: T.StringType = column("city", source=True, nullable=True)
    state: T.StringType = column("state of Brazil, two letters", source=True, isin=STATES)

    class Config:
        metadata = table_metadata(key=("user_id",), owners=OWNERS)

    @row_rule(dimension=Dimension.COMPLETENESS, action=Action.WARN)
    def has_email(cls) -> str:
        """The user can be written to."""
        return "email IS NOT NULL"

    @row_rule()
    def not_from_the_future(cls) -> str:
        """Nobody registers after the day on which the file came."""
        return "signup_date <= feed_day"


class Products(SilverEvent):
    """Products with the price of the day; the newest row of a product is the valid one."""

    product_id: T.StringType = column("product", source=True)
    name: T.StringType = column("name", source=True, nullable=True)
    category: T.StringType = column("category", source=True, nullable=True)
    price: Annotated[T.DecimalType, 18, 2] = column("price in BRL", source=True, ge=0, decimal_mark=".")
    stock: T.LongType = column("pieces in stock", source=True, nullable=True, ge=0)

    class Config:
        metadata = table_metadata(key=("product_id",), owners=OWNERS)


class Orders(SilverEvent):
    """Lines of orders: product, pieces, price. An order may have several lines, or none yet."""

    order_id: T.StringType = column("order", source=True)
    user_id: T.StringType = column("who ordered", source=True, nullable=True)
    product_id: T.StringType = column("product; none: an order without items", source=True, nullable=True)
    quantity: Annotated[T.DecimalType, 12, 2] = column(
        "pieces; a decimal, because a file with gaps writes 3.0", source=True, nullable=True, gt=0, decimal_mark="."
    )
    total_price: Annotated[T.DecimalType, 18, 2] = column(
        "value of the line in BRL, freight included", source=True, ge=0, decimal_mark="."
    )
    order_date: T.TimestampNTZType = column("when it was ordered", source=True)
    status: T.StringType = column("status when delivered", source=True, isin=STATUSES)
    line: T.StringType = column("the product; empty for an order without items", action=Action.FAIL)

    class Config:
        metadata = table_metadata(key=("order_id", "line"), event_time="order_date", owners=OWNERS)

    @row_rule(dimension=Dimension.COMPLETENESS)
    def quantity_goes_with_product(cls) -> str:
        """A product is ordered in some quantity."""
        return "(product_id IS NULL) = (quantity IS NULL)"

    @row_rule(dimension=Dimension.COMPLETENESS, action=Action.WARN)
    def has_user(cls) -> str:
        """It is known who ordered."""
        return "user_id IS NOT NULL"

    @row_rule()
    def whole_pieces(cls) -> str:
        """Pieces are whole."""
        return "quantity = floor(quantity)"

    @row_rule()
    def not_from_the_future(cls) -> str:
        """Nothing is ordered after the day on which the file came."""
        return "order_date < feed_day + INTERVAL 1 DAY"


class Payments(SilverEvent):
    """Payments of orders; an order may be paid in several."""

    payment_id: T.StringType = column("payment", source=True)
    order_id: T.StringType = column("order that is paid", source=True)
    payment_method: T.StringType = column("how it was paid", source=True, isin=METHODS)
    amount: Annotated[T.DecimalType, 18, 2] = column("amount in BRL", source=True, ge=0, decimal_mark=".")
    paid_at: T.TimestampNTZType = column("when it was paid", source=True)

    class Config:
        metadata = table_metadata(key=("payment_id",), event_time="paid_at", owners=OWNERS)

    @row_rule()
    def not_from_the_future(cls) -> str:
        """Nothing is paid after the day on which the file came."""
        return "paid_at < feed_day + INTERVAL 1 DAY"


FEED_DAY = "day on which the shop delivered what the row says"


class DailySales(Contract):
    """Sales by the day of the order, category and the customer's state, of the orders delivered on a feed day."""

    feed_day: T.DateType = column(FEED_DAY, action=Action.FAIL)
    day: T.DateType = column("day of the order", action=Action.FAIL)
    category: T.StringType = column("category of the product; unknown where no product says", action=Action.FAIL)
    state: T.StringType = column("state of the customer; unknown where no user says", action=Action.FAIL)
    orders: T.LongType = column("number of orders", ge=1, action=Action.FAIL)
    units: T.LongType = column("pieces", ge=0, action=Action.FAIL)
    gross: Annotated[T.DecimalType, 28, 2] = column("value ordered in BRL", ge=0, action=Action.FAIL)
    cancelled: Annotated[T.DecimalType, 28, 2] = column("of which cancelled", ge=0, action=Action.FAIL)
    net: Annotated[T.DecimalType, 28, 2] = column("gross - cancelled", ge=0, action=Action.FAIL)

    class Config:
        metadata = table_metadata(key=("day", "category", "state"), owners=OWNERS, key_action=Action.FAIL)

    @row_rule(dimension=Dimension.INTEGRITY, action=Action.WARN)
    def user_is_known(cls) -> str:
        """The orders' users were delivered."""
        return "state <> 'unknown'"

    @row_rule(dimension=Dimension.INTEGRITY, action=Action.WARN)
    def product_is_known(cls) -> str:
        """The orders' products were delivered, with a category."""
        return "category <> 'unknown'"

    @row_rule(action=Action.FAIL)
    def net_is_the_rest(cls) -> str:
        """Net is gross minus cancelled."""
        return "net = gross - cancelled"


class PaymentReconciliation(Contract):
    """Amount due and amount paid of an order, as known on a feed day with changes; its newest row is the valid one."""

    feed_day: T.DateType = column(FEED_DAY, action=Action.FAIL)
    order_id: T.StringType = column("order", action=Action.FAIL)
    due: Annotated[T.DecimalType, 28, 2] = column("value of its lines in BRL", ge=0, action=Action.FAIL)
    paid: Annotated[T.DecimalType, 28, 2] = column("sum of its payments in BRL", ge=0, action=Action.FAIL)
    method: T.StringType = column("how it was paid, alphabetically; empty: not yet", action=Action.FAIL)
    difference: Annotated[T.DecimalType, 28, 2] = column("paid - due", action=Action.FAIL)
    cancelled: T.BooleanType = column("whether every line is cancelled", action=Action.FAIL)
    state: T.StringType = column(
        "no_order, no_items, unpaid, settled, rounding (a cent), underpaid or overpaid",
        isin=["no_order", "no_items", "unpaid", "settled", "rounding", "underpaid", "overpaid"],
        action=Action.FAIL,
    )

    class Config:
        metadata = table_metadata(key=("order_id",), owners=OWNERS, key_action=Action.FAIL)

    @row_rule(dimension=Dimension.INTEGRITY, action=Action.WARN)
    def order_is_known(cls) -> str:
        """A payment is of an order that was delivered."""
        return "state <> 'no_order'"


class CustomerValue(Contract):
    """Recency, frequency and value of a customer, as of a feed day with orders of theirs; the newest row is valid."""

    feed_day: T.DateType = column(FEED_DAY, action=Action.FAIL)
    user_id: T.StringType = column("customer", action=Action.FAIL)
    last_order: T.DateType = column("day of their newest order", action=Action.FAIL)
    recency_days: T.IntegerType = column("days from that order to the feed day", ge=0, action=Action.FAIL)
    frequency: T.LongType = column("their orders that are not cancelled", ge=0, action=Action.FAIL)
    value: Annotated[T.DecimalType, 28, 2] = column("their value in BRL", ge=0, action=Action.FAIL)

    class Config:
        metadata = table_metadata(key=("user_id",), owners=OWNERS, key_action=Action.FAIL)
