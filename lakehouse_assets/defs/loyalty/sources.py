"""Sources of loyalty: customers and products with history, transactions as they are now; customers under pseudonyms."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.declare import scd1, scd2_from_snapshots
from lakehouse_assets.declare.rows import KEY_ID, parse, pseudonymized
from lakehouse_assets.defs.loyalty import contracts, files
from lakehouse_assets.defs.loyalty.domain import LOYALTY
from lakehouse_assets.defs.loyalty.files import EXTRA, SPELLINGS

DELETED = "op = 'D'"
TIES = ("is_deleted", "op")  # of changes of one time: a delete counts after an update, which counts after an insert


def _names_of_undeclared(landed: DataFrame) -> DataFrame:
    """What an undeclared column holds may be personal, so only its name goes on; bronze keeps it whole."""
    names = F.array_join(F.json_object_keys(EXTRA), ",")
    return landed.select(*[(names if name == EXTRA else F.col(name)).alias(name) for name in landed.columns])


def _clientes(landed: DataFrame) -> DataFrame:
    """Customers under pseudonyms; the name is left behind."""
    known = pseudonymized(_names_of_undeclared(landed), "id_cliente", "email")
    return parse(known, contracts.Clientes, SPELLINGS, carried=(KEY_ID,))


def _produtos(landed: DataFrame) -> DataFrame:
    """Products."""
    return parse(_names_of_undeclared(landed), contracts.Produtos)


def _transacao(landed: DataFrame) -> DataFrame:
    """Changes of transactions, their customers under pseudonyms."""
    known = pseudonymized(_names_of_undeclared(landed), "id_cliente")
    return parse(known, contracts.Transacao, SPELLINGS, carried=(KEY_ID,))


def _transacao_produto(landed: DataFrame) -> DataFrame:
    """Changes of the products of transactions."""
    return parse(_names_of_undeclared(landed), contracts.TransacaoProduto, SPELLINGS)


clientes = LOYALTY.source(
    contracts.Clientes,
    files.snapshots(files.CLIENTES, subject="id_cliente"),
    delivered=contracts.ClientesFile,
    silver=_clientes,
    write=scd2_from_snapshots(("id_cliente",), buckets=4),
)
produtos = LOYALTY.source(
    contracts.Produtos,
    files.snapshots(files.PRODUTOS),
    silver=_produtos,
    write=scd2_from_snapshots(("id_produto",), buckets=1),
)
transacao = LOYALTY.source(
    contracts.Transacao,
    files.changes(files.TRANSACAO, subject="id_cliente"),
    silver=_transacao,
    write=scd1(("id_transacao",), "modified_date", DELETED, ties=TIES, buckets=4),
)
transacao_produto = LOYALTY.source(
    contracts.TransacaoProduto,
    files.changes(files.TRANSACAO_PRODUTO),
    silver=_transacao_produto,
    write=scd1(("id_transacao_produto",), "modified_date", DELETED, ties=TIES, buckets=4),
)
