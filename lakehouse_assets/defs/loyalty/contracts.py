"""Contracts of the loyalty domain. Names are the programme's own; customers are known by pseudonyms only."""

from datetime import timedelta
from typing import Any

import pyspark.sql.types as T

from lakehouse_assets.declare import (
    Action,
    Contract,
    CurrentState,
    Dimension,
    Rate,
    SnapshotHistory,
    column,
    row_rule,
    table_metadata,
)

OWNERS = ("team:loyalty",)
SOME = Rate(0.05)


def fails(description: str, **rest: Any) -> Any:
    """A column that we compute ourselves: if it breaks its rules, that is a mistake of ours."""
    return column(description, action=Action.FAIL, **rest)


class Drifting(Contract):
    """A source whose files may bring columns that nobody declared."""

    outras_colunas: T.StringType = column(
        "columns of the file that are not declared, as JSON", source=True, nullable=True
    )

    @row_rule(dimension=Dimension.SCHEMA, action=Action.WARN)
    def no_undeclared_columns(cls) -> str:
        """The file has no column that is not declared."""
        return "outras_colunas IS NULL"


class ClientesFile(Contract):
    """Customers as the source delivers them: every day all of them, names and addresses included."""

    id_cliente: T.StringType = column("customer", source=True, pii=True)
    nome: T.StringType = column("name", source=True, nullable=True, pii=True)
    email: T.StringType = column("e-mail address", source=True, nullable=True, pii=True)
    fl_email: T.IntegerType = column("1: gave an e-mail address", source=True, nullable=True)
    fl_twitch: T.IntegerType = column("1: has a Twitch account", source=True, nullable=True)
    fl_you_tube: T.IntegerType = column("1: has a YouTube account", source=True, nullable=True)
    fl_blue_sky: T.IntegerType = column("1: has a Bluesky account", source=True, nullable=True)
    fl_instagram: T.IntegerType = column("1: has an Instagram account", source=True, nullable=True)
    qtde_pontos: T.LongType = column("points, as the source states them", source=True, nullable=True)
    dt_criacao: T.TimestampNTZType = column("when the customer was created", source=True, nullable=True)
    dt_atualizacao: T.TimestampNTZType = column("when the customer was last changed", source=True, nullable=True)
    outras_colunas: T.StringType = column(
        "columns of the file that are not declared, as JSON", source=True, nullable=True
    )

    class Config:
        metadata = table_metadata(owners=OWNERS)


class Clientes(Drifting, SnapshotHistory):
    """Customers and every version of them, from daily snapshots; known by a pseudonym."""

    id_cliente: T.StringType = column("customer: pseudonym", pseudonym=True, source=True)
    email: T.StringType = column("e-mail address: pseudonym", pseudonym=True, source=True, nullable=True)
    fl_email: T.IntegerType = column("1: gave an e-mail address", source=True, nullable=True, isin=[0, 1])
    fl_twitch: T.IntegerType = column("1: has a Twitch account", source=True, nullable=True, isin=[0, 1])
    fl_you_tube: T.IntegerType = column("1: has a YouTube account", source=True, nullable=True, isin=[0, 1])
    fl_blue_sky: T.IntegerType = column("1: has a Bluesky account", source=True, nullable=True, isin=[0, 1])
    fl_instagram: T.IntegerType = column("1: has an Instagram account", source=True, nullable=True, isin=[0, 1])
    qtde_pontos: T.LongType = column("points, as the source states them", source=True, nullable=True)
    dt_criacao: T.TimestampNTZType = column("when the customer was created", source=True, nullable=True)
    dt_atualizacao: T.TimestampNTZType = column("when the customer was last changed", source=True, nullable=True)
    pseudonym_key_id: T.StringType = column("key that the pseudonyms were made with", action=Action.FAIL)

    class Config:
        metadata = table_metadata(key=("id_cliente",), owners=OWNERS, key_tolerate=SOME)


class Produtos(Drifting, SnapshotHistory):
    """Products and every version of them, from daily snapshots."""

    id_produto: T.StringType = column("product", source=True)
    desc_produto: T.StringType = column("name of the product", source=True)
    desc_categoria_produto: T.StringType = column("category", source=True, nullable=True)
    desc_detalhe_produto: T.StringType = column("what it is for", source=True, nullable=True)

    class Config:
        metadata = table_metadata(key=("id_produto",), owners=OWNERS, key_tolerate=SOME)


class Change(CurrentState, Drifting):
    """A change as the source's change data capture reports it."""

    op: T.StringType = column("I inserted, U updated, D deleted", source=True, isin=["I", "U", "D"], tolerate=SOME)
    modified_date: T.TimestampNTZType = column("when the source made the change", source=True, tolerate=SOME)

    @row_rule(tolerate=SOME)
    def not_from_the_future(cls) -> str:
        """The change's own time does not lie after its feed day."""
        return "modified_date < feed_day + INTERVAL 1 DAY"


class Transacao(Change):
    """Transactions of points, by their last change; deleted ones stay, marked."""

    id_transacao: T.StringType = column("transaction", source=True, tolerate=SOME)
    id_cliente: T.StringType = column("customer: pseudonym", pseudonym=True, source=True, nullable=True)
    dt_transacao: T.TimestampNTZType = column("when it took place", source=True, nullable=True, tolerate=SOME)
    qtde_pontos: T.LongType = column("points, negative when redeemed", source=True, nullable=True, tolerate=SOME)
    pseudonym_key_id: T.StringType = column("key that the pseudonym was made with", action=Action.FAIL)

    class Config:
        metadata = table_metadata(event_time="modified_date", fresh_within=timedelta(days=1), owners=OWNERS)

    @row_rule(dimension=Dimension.COMPLETENESS, tolerate=SOME)
    def whole_unless_deleted(cls) -> str:
        """A transaction that is there has a customer, a time and points."""
        return "op = 'D' OR (id_cliente IS NOT NULL AND dt_transacao IS NOT NULL AND qtde_pontos IS NOT NULL)"


class TransacaoProduto(Change):
    """Products of transactions, by their last change; deleted ones stay, marked."""

    id_transacao_produto: T.StringType = column("line of a transaction", source=True, tolerate=SOME)
    id_transacao: T.StringType = column("transaction", source=True, nullable=True)
    desc_produto: T.StringType = column("name of the product", source=True, nullable=True)
    qtde_produto: T.LongType = column("number of products", source=True, nullable=True, ge=0, tolerate=SOME)

    class Config:
        metadata = table_metadata(event_time="modified_date", fresh_within=timedelta(days=1), owners=OWNERS)

    @row_rule(dimension=Dimension.COMPLETENESS, tolerate=SOME)
    def whole_unless_deleted(cls) -> str:
        """A line that is there has a transaction and a product."""
        return "op = 'D' OR (id_transacao IS NOT NULL AND desc_produto IS NOT NULL)"


class DimCliente(Contract):
    """Customers for joining: every version, and an inferred one for a customer that only transactions know so far."""

    sk_cliente: T.StringType = fails("version of a customer: SHA-256 of customer and effective_from", pseudonym=True)
    id_cliente: T.StringType = fails("customer: pseudonym", pseudonym=True)
    fl_email: T.IntegerType = column("1: gave an e-mail address", nullable=True)
    fl_twitch: T.IntegerType = column("1: has a Twitch account", nullable=True)
    qtde_pontos: T.LongType = column("points, as the source states them", nullable=True)
    is_inferred: T.BooleanType = fails("known by transactions only: no snapshot has it yet")
    is_deleted: T.BooleanType = fails("missing from the snapshot of effective_from")
    effective_from: T.DateType = fails("first day of the version")
    effective_to: T.DateType = column("first day of the next version; none: current", nullable=True)
    is_current: T.BooleanType = fails("whether it is the newest version")

    class Config:
        metadata = table_metadata(key=("sk_cliente",), owners=OWNERS, key_action=Action.FAIL)


class FctTransacao(Contract):
    """Transactions that are not deleted, each with the version of its customer that was valid at its time."""

    id_transacao: T.StringType = fails("transaction")
    sk_cliente: T.StringType = fails("version of the customer, see dim_cliente", pseudonym=True)
    id_cliente: T.StringType = fails("customer: pseudonym", pseudonym=True)
    dt_transacao: T.TimestampNTZType = fails("when it took place")
    qtde_pontos: T.LongType = fails("points, negative when redeemed")
    is_inferred: T.BooleanType = fails("whether no snapshot has the customer yet")

    class Config:
        metadata = table_metadata(key=("id_transacao",), owners=OWNERS, key_action=Action.FAIL)


class DailyReport(Contract):
    """Transactions by day and product."""

    dt_dia: T.DateType = fails("day of the transactions")
    desc_produto: T.StringType = fails("product; unknown: the transaction has no line")
    transacoes: T.LongType = fails("transactions", ge=1)
    clientes: T.LongType = fails("customers", ge=1)
    pontos_entrada: T.LongType = fails("points gained in these transactions", ge=0)
    pontos_saida: T.LongType = fails("points redeemed in these transactions", le=0)

    class Config:
        metadata = table_metadata(key=("dt_dia", "desc_produto"), owners=OWNERS, key_action=Action.FAIL)


class PointsBalance(Contract):
    """Points of each customer by transactions, beside the balance that the source states."""

    id_cliente: T.StringType = fails("customer: pseudonym", pseudonym=True)
    saldo: T.LongType = fails("sum of the points of the customer's transactions")
    saldo_informado: T.LongType = column("points that the newest snapshot states", nullable=True)
    diferenca: T.LongType = column("stated less summed", nullable=True)
    transacoes: T.LongType = fails("transactions", ge=0)

    class Config:
        metadata = table_metadata(key=("id_cliente",), owners=OWNERS, key_action=Action.FAIL)


class Churn(Contract):
    """Customers active in 28 days against those active in the 28 days before, by day."""

    dt_dia: T.DateType = fails("last of the 28 days")
    ativos: T.LongType = fails("customers with a transaction in the 28 days", ge=0)
    ativos_antes: T.LongType = fails("customers with one in the 28 days before", ge=0)
    perdidos: T.LongType = fails("of these, customers without one since", ge=0)
    novos: T.LongType = fails("active customers without one in the 28 days before", ge=0)

    class Config:
        metadata = table_metadata(key=("dt_dia",), owners=OWNERS, key_action=Action.FAIL)
