"""Mistakes in the SQL of a rule, as far as its text tells: at load, without Spark.

Only what is surely wrong is a mistake: Spark, which knows all of its SQL, names the rest at the first step.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise

TOKEN = re.compile(
    r"""(?P<space>\s+|--(?:\\\n|[^\r\n])*|/\*.*?\*/)
    |(?P<text>[rR]'[^']*'|[rR]"[^"]*"|[xX]\s*'[^']*'|[xX]\s*"[^"]*"|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
    |(?P<quoted>`(?:[^`]|``)*`)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:BD|bd|[lLsSyYdDfF])?(?![A-Za-z0-9_]))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<operator><=>|->|=>|::|\|\||<>|!=|==|<=|>=|<<|>>|[-+*/%&|^~!<>=.,()\[\]])""",
    re.VERBOSE | re.DOTALL,
)
# Words that have a meaning of their own, so that they need not be columns.
WORDS = frozenset(
    """all and any array as asc at between bigint binary boolean both by byte case cast char collate cross current
    current_catalog current_database current_date current_schema current_time current_timestamp current_timezone
    current_user date day dayofyear days dec decimal desc distinct div double dow doy else end escape except exclude
    exists extract false filter first float following for from group hour hours ignore ilike in int integer interval is
    last leading left like limit localtimestamp long map microsecond microseconds millisecond milliseconds minute
    minutes month months nanosecond nanoseconds not null nulls numeric offset on or order over overlay partition placing
    position preceding quarter quarters range real regexp respect right rlike row rows second seconds session_user
    short smallint some sort string struct substring table then time timestamp timestamp_ltz timestamp_ntz timezone_hour
    tinyint to trailing trim true try_cast unbounded unknown user using values varchar variant void week weeks when
    where with within without year years yearofweek zone""".split()  # noqa: SIM905
)
# Functions of SQL that pyspark.sql.functions does not have.
OF_SQL_ALONE = frozenset({
    "chr", "collations", "len", "mod", "percentile_cont", "percentile_disc", "random", "schema_of_avro", "timestampadd",
    "timestampdiff",
})  # fmt: skip
DANGLING = frozenset({"and", "or", "not", "in", "is", "like", "rlike", "between", "when", "then", "else"})
OF_TYPES = frozenset({"array", "map", "struct"})
IN_TYPES = frozenset({"<", ">", ">>", ">=", "<>", ",", "(", ")"})
OPERAND_BEFORE = frozenset({"text", "number", "name", "quoted"})
BINARY = frozenset({"<=>", "->", "||", "<>", "!=", "==", "<=", ">=", "-", "+", "*", "/", "%", "<", ">", "=", "."})


@dataclass(frozen=True)
class Token:
    """A word of SQL."""

    kind: str
    text: str

    @property
    def word(self) -> str:
        """The token as a word of the language; empty where it is none."""
        return self.text.lower() if self.kind == "name" else ""

    @property
    def name(self) -> str:
        """The name that the token may be, quoted or not, in small letters; empty where it is none."""
        return self.text.strip("`").lower() if self.kind == "quoted" else self.word

    @property
    def is_operand(self) -> bool:
        """A value or a name, and no word with a meaning of its own."""
        return self.kind in OPERAND_BEFORE and self.word not in WORDS


def mistake(sql: str, columns: Collection[str]) -> str | None:
    """What is wrong in an expression over these columns; None where nothing surely is."""
    tokens: list[Token] = []
    at = 0
    while at < len(sql):
        found = TOKEN.match(sql, at)
        if found is None:
            return f"it has an open {sql[at]}" if sql[at] in "'\"`" else None
        at = found.end()
        if found.group().startswith("/*") and "/*" in found.group()[2:]:
            return None  # comments in comments
        if found.lastgroup != "space":
            tokens.append(Token(str(found.lastgroup), found.group()))
    if any(token.word == "select" or (token.word, after.text) == ("struct", "(") for token, after in _pairs(tokens)):
        return None  # they name what they hold: `struct(a b)`
    if unbalanced := _unbalanced(tokens):
        return unbalanced
    known = {name.lower() for name in columns}
    plain = list(_without_types(tokens))
    return _out_of_place(plain, known) or _unknown(plain, known)


def _pairs(tokens: list[Token]) -> Iterable[tuple[Token, Token]]:
    return pairwise([*tokens, Token("", "")])


def _without_types(tokens: list[Token]) -> Iterator[Token]:
    """The tokens without what stands in the angle brackets of types: `array<int>` is `array`."""
    place = 0
    while place < len(tokens):
        yield tokens[place]
        end = _end_of_type(tokens, place + 1) if tokens[place].word in OF_TYPES else None
        if end is not None and tokens[end].text == ">=":
            yield Token("operator", "=")
        place = place + 1 if end is None else end + 1


def _end_of_type(tokens: list[Token], start: int) -> int | None:
    """The place of the bracket that closes the one at `start`; None where no bracket of a type is there."""
    angles = round_ones = 0
    for place, token in enumerate(tokens[start:], start):
        if place == start and token.text != "<":
            return place if token.text == "<>" else None
        if token.word in ("and", "or") or (token.kind == "operator" and token.text not in IN_TYPES):
            return None  # a comparison with a column of this name
        if token.kind == "operator":
            angles += token.text.count("<") - token.text.count(">")
            round_ones += (token.text == "(") - (token.text == ")")
        if round_ones < 0:
            return None
        if angles <= 0:
            return place
    return None


def _unbalanced(tokens: list[Token]) -> str | None:
    pairs, opened = {")": "(", "]": "["}, list[str]()
    for token in tokens:
        if token.kind == "operator" and token.text in "([":
            opened.append(token.text)
        elif token.text in pairs and (not opened or opened.pop() != pairs[token.text]):
            return f"a {token.text} closes nothing"
    return f"a {opened[-1]} is never closed" if opened else None


def _out_of_place(tokens: list[Token], columns: set[str]) -> str | None:
    if not tokens:
        return "it is empty"
    dangling = DANGLING - columns
    before = ""
    for one, other in _pairs(tokens):
        ends = one.is_operand or one.text in (")", "]")
        if ends and other.is_operand and not one.kind == other.kind == "text":
            return f"{one.text} {other.text} is no expression"
        open_ended = one.text in BINARY or (one.word in dangling and before != ".")
        if open_ended and (not other.text or (other.text == ")" and one.text != "*")):  # count(*) is fine
            return f"something is missing after {one.text}"
        before = one.text
    return None


def _unknown(tokens: list[Token], known: set[str]) -> str | None:
    padded = [Token("", ""), *tokens, Token("", "")]
    parameters = _parameters(tokens)
    for before, token, after in zip(padded, padded[1:], padded[2:], strict=False):
        name = token.name
        if not name or before.text in (".", "::") or before.word in ("as", "collate") or name in known | parameters:
            continue
        if before.text == "(" and after.word == "from":
            continue  # a unit: extract(doy FROM …)
        if after.text == "(":
            meant = None if name in WORDS or name in _functions() else get_close_matches(name, _functions(), 1, 0.8)
            if meant:
                return f"{token.text} is no function; is {meant[0]} meant?"
        elif after.text not in (".", "=>") and (token.kind == "quoted" or name not in WORDS):
            meant = get_close_matches(name, known, 1, 0.6)
            return f"{token.text} is no column of it" + (f"; is {meant[0]} meant?" if meant else "")
    return None


def _parameters(tokens: list[Token]) -> set[str]:
    """Names of the parameters of lambdas: `x -> …`, `(x, y) -> …`."""
    found: set[str] = set()
    for place, token in enumerate(tokens):
        if token.text != "->":
            continue
        back = place - 1
        if tokens[back].text != ")":
            found.add(tokens[back].name)
            continue
        while back >= 0 and tokens[back].text != "(":
            found.add(tokens[back].name)
            back -= 1
    return found


def _functions() -> frozenset[str]:
    from pyspark.sql import functions

    return OF_SQL_ALONE.union(name.lower() for name in dir(functions) if not name.startswith("_"))
