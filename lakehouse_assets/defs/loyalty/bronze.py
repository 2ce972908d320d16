"""Bronze of loyalty: the rows of the landed files as they came."""

from lakehouse_assets.defs.loyalty import contracts, sources
from lakehouse_assets.defs.loyalty.sources import files
from lakehouse_assets.platform.declare.table import landed_table

MOST_MISSING = 0.2

clientes = landed_table(
    __name__,
    "clientes",
    contracts.LandedClientes,
    files(contracts.ClientesFile, sources.CLIENTES, MOST_MISSING),
)
produtos = landed_table(
    __name__, "produtos", contracts.LandedProdutos, files(contracts.Produtos, sources.PRODUTOS, MOST_MISSING)
)
transacao = landed_table(
    __name__, "transacao", contracts.LandedTransacao, files(contracts.Transacao, sources.TRANSACAO)
)
transacao_produto = landed_table(
    __name__,
    "transacao_produto",
    contracts.LandedTransacaoProduto,
    files(contracts.TransacaoProduto, sources.TRANSACAO_PRODUTO),
)
