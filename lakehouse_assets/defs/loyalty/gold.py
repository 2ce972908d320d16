"""Gold of loyalty. Each table is one state, made anew from silver as it is: late changes reach every figure."""

from datetime import timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from lakehouse_assets.declare import Overwrite, full
from lakehouse_assets.defs.loyalty import contracts, sources
from lakehouse_assets.defs.loyalty.domain import LOYALTY

UNKNOWN = "unknown"
PERIOD = 28  # days of activity that are compared


def _live(transacao: DataFrame) -> DataFrame:
    return transacao.where("NOT is_deleted").select("*", F.to_date("dt_transacao").alias("dt_dia"))


@LOYALTY.gold(
    contracts.DimCliente,
    write=Overwrite(),
    clientes=full(sources.clientes.silver),
    transacao=full(sources.transacao.silver),
)
def dim_cliente(clientes: DataFrame, transacao: DataFrame) -> DataFrame:
    """Every version of every customer, and a member for each that has transactions and came in no snapshot yet."""
    inferred = F.lit(True).alias("is_inferred")
    versions = clientes.select(
        F.sha2(F.concat_ws("|", "id_cliente", "effective_from"), 256).alias("sk_cliente"),
        "*",
        (~inferred).alias("is_inferred"),
    )
    unseen = _live(transacao).join(clientes.select("id_cliente"), "id_cliente", "left_anti")
    members = (
        unseen.groupBy("id_cliente")
        .agg(F.min("dt_dia").alias("effective_from"))
        .select(
            F.sha2(F.concat_ws("|", "id_cliente", F.lit("inferred")), 256).alias("sk_cliente"),
            "*",
            inferred,
            F.lit(False).alias("is_deleted"),
            F.lit(True).alias("is_current"),
        )
    )
    columns = contracts.DimCliente.compiled().spark_schema.names
    return versions.select(*columns).unionByName(members, allowMissingColumns=True)


@LOYALTY.gold(
    contracts.FctTransacao,
    write=Overwrite(),
    transacao=full(sources.transacao.silver),
    dim_cliente=full(dim_cliente),
)
def fct_transacao(transacao: DataFrame, dim_cliente: DataFrame) -> DataFrame:
    """Transactions with the customer version of their time; before a customer's first snapshot, the first version."""
    by_customer = Window.partitionBy("id_cliente").orderBy("effective_from")
    version = dim_cliente.select(
        F.col("id_cliente").alias("of"),
        "sk_cliente",
        "is_inferred",
        F.when(F.row_number().over(by_customer) > 1, F.col("effective_from")).alias("since"),
        F.col("effective_to").alias("until"),
    )
    holds = (F.col("since").isNull() | (F.col("dt_dia") >= F.col("since"))) & (
        F.col("until").isNull() | (F.col("dt_dia") < F.col("until"))
    )
    table_metadata = _live(transacao).join(version, (F.col("id_cliente") == F.col("of")) & holds, "left")
    return table_metadata.select(*contracts.FctTransacao.compiled().spark_schema.names)


@LOYALTY.gold(
    contracts.DailyReport,
    write=Overwrite(),
    sla=timedelta(hours=9),
    transacao=full(sources.transacao.silver),
    transacao_produto=full(sources.transacao_produto.silver),
)
def daily_report(transacao: DataFrame, transacao_produto: DataFrame) -> DataFrame:
    """A transaction counts once for each of its products."""
    lines = transacao_produto.where("NOT is_deleted").select("id_transacao", "desc_produto").distinct()
    points = F.col("qtde_pontos")
    return (
        _live(transacao)
        .join(lines, "id_transacao", "left")
        .groupBy("dt_dia", F.coalesce("desc_produto", F.lit(UNKNOWN)).alias("desc_produto"))
        .agg(
            F.count("*").alias("transacoes"),
            F.countDistinct("id_cliente").alias("clientes"),
            F.sum(F.greatest(points, F.lit(0))).alias("pontos_entrada"),
            F.sum(F.least(points, F.lit(0))).alias("pontos_saida"),
        )
    )


@LOYALTY.gold(
    contracts.PointsBalance,
    write=Overwrite(),
    clientes=full(sources.clientes.silver),
    transacao=full(sources.transacao.silver),
)
def points_balance(clientes: DataFrame, transacao: DataFrame) -> DataFrame:
    """Customers that are in the newest snapshot or have transactions."""
    summed = (
        _live(transacao)
        .groupBy("id_cliente")
        .agg(F.sum("qtde_pontos").alias("saldo"), F.count("*").alias("transacoes"))
    )
    stated = clientes.where("is_current AND NOT is_deleted").select(
        "id_cliente", F.col("qtde_pontos").alias("saldo_informado")
    )
    nothing = F.lit(0).cast("long")
    both = summed.join(stated, "id_cliente", "full").select(
        "id_cliente",
        F.coalesce("saldo", nothing).alias("saldo"),
        "saldo_informado",
        F.coalesce("transacoes", nothing).alias("transacoes"),
    )
    return both.select("*", (F.col("saldo_informado") - F.col("saldo")).alias("diferenca"))


@LOYALTY.gold(contracts.Churn, write=Overwrite(), transacao=full(sources.transacao.silver))
def churn(transacao: DataFrame) -> DataFrame:
    """Every day through the last with a transaction, unless nobody was active in the 56 days that end with it."""
    active = _live(transacao).select("id_cliente", "dt_dia").distinct()
    last = active.agg(F.max("dt_dia").alias("last"))
    counted = active.select(
        "id_cliente", "dt_dia", F.explode(F.sequence(F.lit(0), F.lit(2 * PERIOD - 1))).alias("after")
    ).select("id_cliente", F.expr("date_add(dt_dia, after)").alias("dt_dia"), (F.col("after") < PERIOD).alias("now"))
    by_customer = counted.groupBy("dt_dia", "id_cliente").agg(
        F.max(F.col("now").cast("int")).alias("now"), F.max((~F.col("now")).cast("int")).alias("before")
    )
    now, before = F.col("now"), F.col("before")
    figures = by_customer.groupBy("dt_dia").agg(
        F.sum(now).alias("ativos"),
        F.sum(before).alias("ativos_antes"),
        F.sum(before * (1 - now)).alias("perdidos"),
        F.sum(now * (1 - before)).alias("novos"),
    )
    return figures.crossJoin(F.broadcast(last)).where(F.col("dt_dia") <= F.col("last")).drop("last")
