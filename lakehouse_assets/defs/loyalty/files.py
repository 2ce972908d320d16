"""What the programme's files look like, and how they differ from each other over the years."""

from lakehouse_assets.declare import Drift, Files, NormalForm

DELIMITERS = (",", ";")
EXTRA = "outras_colunas"

CLIENTES = Drift(
    aliases=(("uuid", "id_cliente"), ("points", "qtde_pontos"), ("qtde_pontos_cliente", "qtde_pontos")),
    delimiters=DELIMITERS,
    optional=(
        "nome", "email", "fl_email", "fl_twitch", "fl_you_tube", "fl_blue_sky", "fl_instagram", "dt_criacao",
        "dt_atualizacao",
    ),
    extra=EXTRA,
)  # fmt: skip
PRODUTOS = Drift(
    # The misspelling is the source's own.
    aliases=(("DescCateogriaProduto", "desc_categoria_produto"), ("nome_produto", "desc_produto")),
    delimiters=DELIMITERS,
    optional=("desc_categoria_produto", "desc_detalhe_produto"),
    extra=EXTRA,
    headerless=("id_produto", "desc_produto", "desc_detalhe_produto"),
)
TRANSACAO = Drift(
    aliases=(("uuid", "id_transacao"), ("IdCustomer", "id_cliente"), ("DtTransaction", "dt_transacao"),
             ("points", "qtde_pontos")),
    delimiters=DELIMITERS,
    extra=EXTRA,
)  # fmt: skip
TRANSACAO_PRODUTO = Drift(
    aliases=(("uuid", "id_transacao_produto"), ("IdTransaction", "id_transacao"), ("Product", "desc_produto"),
             ("Quantity", "qtde_produto")),
    delimiters=DELIMITERS,
    extra=EXTRA,
)  # fmt: skip

# A time without a zone is as given; the later files say that theirs is UTC. A day 0 is none.
TIME = ((r" \+0000 UTC$", ""), (r"^0000-00-00.*$", ""))
SPELLINGS = dict.fromkeys(("dt_criacao", "dt_atualizacao", "dt_transacao", "modified_date"), TIME)

MOST_MISSING = 0.2


def snapshots(drift: Drift, subject: str | None = None) -> Files:
    """Full snapshots, named by their day. `subject`: the column that says whose a row is."""
    return Files(
        day_in_name=True, drift=drift, most_missing=MOST_MISSING, subject=subject, subject_form=NormalForm.CASELESS
    )


def changes(drift: Drift, subject: str | None = None) -> Files:
    """Changes, named by their day; they also come as a stream. `subject`: the column that says whose a row is."""
    return Files(day_in_name=True, drift=drift, streamed=True, subject=subject, subject_form=NormalForm.CASELESS)
