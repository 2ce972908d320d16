"""The dashboard of loyalty: points and transactions by day and product, churn, and balances that differ."""

from lakehouse_assets.declare.dashboard import (
    Choice,
    Dashboard,
    Days,
    Listing,
    Measure,
    Number,
    Parts,
    Rows,
    Series,
    Shape,
    count,
    distinct,
    share,
    total,
)
from lakehouse_assets.defs.loyalty import gold

REPORT = Rows(gold.daily_report, day="dt_dia")
CHURN = Rows(gold.churn, day="dt_dia")
BALANCE = Rows(gold.points_balance)
METADATA = Rows(gold.fct_transacao, day="dt_transacao")
GAINED = total("Points gained", "pontos_entrada", ",d")
REDEEMED = total("Points redeemed", "pontos_saida", ",d")
DIFFERENT = Measure(
    "Balances that differ", 'COUNT(*) FILTER (WHERE "diferenca" IS DISTINCT FROM 0)', ("diferenca",), ",d"
)

DASHBOARD = Dashboard(
    "loyalty",
    "Loyalty",
    filters=(Days(), Choice("Product", REPORT, "desc_produto")),
    names={"desc_produto": "Product", "dt_dia": "Day", "dt_transacao": "Time", "id_cliente": "Customer (pseudonym)"},
    filled_by=("make demo", "lakehouse land loyalty/transacao FILES", "lakehouse warehouse catch-up"),
    charts=(
        (
            Number(title="Transactions", source=METADATA, measure=count("Transactions")),
            Number(title="Customers with transactions", source=METADATA, measure=distinct("Customers", "id_cliente")),
            Number(title="Points in all balances", source=BALANCE, measure=total("Points", "saldo", ",d")),
            Number(title="Balances that differ", source=BALANCE, measure=DIFFERENT),
        ),
        (
            Series(
                title="Points by day", source=REPORT, x="dt_dia", figures=(GAINED, REDEEMED), shape=Shape.BAR, width=12
            ),
        ),
        (
            Series(
                title="Active, new and lost customers, 28 days",
                source=CHURN,
                x="dt_dia",
                figures=(
                    total("Active", "ativos", ",d"),
                    total("New", "novos", ",d"),
                    total("Lost", "perdidos", ",d"),
                ),
                width=8,
            ),
            Series(
                title="Churn",
                about="Of the customers active in the 28 days before, those not active in the 28 days that end here.",
                source=CHURN,
                x="dt_dia",
                figures=(share("Lost of those active before", "perdidos", "ativos_antes"),),
                width=4,
            ),
        ),
        (
            Parts(
                title="Lines by product",
                source=REPORT,
                of="desc_produto",
                measure=total("Lines", "transacoes", ",d"),
                width=5,
            ),
            Listing(
                title="Balances",
                about="Points by transactions beside what the source states.",
                source=BALANCE,
                shown=("id_cliente",),
                figures=(
                    total("Balance", "saldo", ",d"),
                    total("Stated", "saldo_informado", ",d"),
                    total("Difference", "diferenca", ",d"),
                ),
                width=7,
            ),
        ),
    ),
)
