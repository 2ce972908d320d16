"""Silver of loyalty: typed, pseudonymized; customers and products with history, transactions as they are now."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.defs.loyalty import bronze, contracts
from lakehouse_assets.defs.loyalty.sources import EXTRA, SPELLINGS
from lakehouse_assets.platform.contracts.casting import parse
from lakehouse_assets.platform.declare.scd import scd1, scd2_from_snapshots
from lakehouse_assets.platform.declare.table import day, table
from lakehouse_assets.platform.ingest.pseudonyms import KEY_ID, pseudonymized

DELETED = "op = 'D'"
TIES = ("is_deleted", "op")  # of changes of one time: a delete counts after an update, which counts after an insert


@table(
    contracts.Clientes,
    write=scd2_from_snapshots(("id_cliente",), buckets=4),
    landed=day(bronze.clientes),
    reconciles="landed",
)
def clientes(landed: DataFrame) -> DataFrame:
    """Customers under pseudonyms; the name is left behind."""
    known = pseudonymized(_names_of_undeclared(landed), "id_cliente", "email")
    return parse(known, contracts.Clientes, SPELLINGS, carried=(KEY_ID,))


@table(
    contracts.Produtos,
    write=scd2_from_snapshots(("id_produto",), buckets=1),
    landed=day(bronze.produtos),
    reconciles="landed",
)
def produtos(landed: DataFrame) -> DataFrame:
    """Products."""
    return parse(_names_of_undeclared(landed), contracts.Produtos)


@table(
    contracts.Transacao,
    write=scd1(("id_transacao",), "modified_date", DELETED, ties=TIES, buckets=4),
    landed=day(bronze.transacao),
    reconciles="landed",
)
def transacao(landed: DataFrame) -> DataFrame:
    """Changes of transactions, their customers under pseudonyms."""
    known = pseudonymized(_names_of_undeclared(landed), "id_cliente")
    return parse(known, contracts.Transacao, SPELLINGS, carried=(KEY_ID,))


@table(
    contracts.TransacaoProduto,
    write=scd1(("id_transacao_produto",), "modified_date", DELETED, ties=TIES, buckets=4),
    landed=day(bronze.transacao_produto),
    reconciles="landed",
)
def transacao_produto(landed: DataFrame) -> DataFrame:
    """Changes of the products of transactions."""
    return parse(_names_of_undeclared(landed), contracts.TransacaoProduto, SPELLINGS)


def _names_of_undeclared(landed: DataFrame) -> DataFrame:
    """What an undeclared column holds may be personal, so only its name goes on; bronze keeps it whole."""
    names = F.array_join(F.json_object_keys(EXTRA), ",")
    return landed.select(*[(names if name == EXTRA else F.col(name)).alias(name) for name in landed.columns])
