"""The fingerprint of a table's code: any line that matters changes it, nothing else does."""

import ast
import inspect
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import count
from pathlib import Path
from types import FunctionType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.fingerprint import code_version as versions
from lakehouse_assets.platform.fingerprint.bytecode import body, constant
from lakehouse_assets.platform.fingerprint.code_version import Fingerprint, differing, fingerprint
from lakehouse_assets.platform.fingerprint.code_walk import reach
from lakehouse_assets.platform.runtime import session_settings

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "lakehouse_assets"

CONTRACTS = '''
"""Contracts of the shop."""

import pyspark.sql.types as T
from pyspark.sql import Column
from pyspark.sql import functions as F

from lakehouse_assets.platform.contracts.contract import Action, Contract, column, table_metadata, row_rule
from lakehouse_assets.platform.contracts.rules import Rate

LEAST = 1


class Sales(Contract):
    """Sales by country."""

    country: T.StringType = column("where to", isin=["BR", "PT"])
    amount: T.LongType = column("how much", nullable=True, ge=0, tolerate=Rate(0.25, 7))

    class Config:
        metadata = table_metadata(key=("country",), owners=("team:shop",))

    @row_rule("not much is too much")
    def bounded(cls) -> str:
        """Says nothing else."""
        return f"amount < {LEAST * 1000}"

    @row_rule(action=Action.WARN)
    def judged_in_python(cls) -> Column:
        """In Python."""
        return F.col("amount") >= _least()


def _least() -> int:
    return LEAST + 2
'''

HELPERS = '''
"""Helpers of gold, at second hand."""

from . import rates
from .rates import ROUNDING, Scale, rounded


def weighted(rows, by=2):
    """Rows by their rate."""
    rows = ROUNDING.pop(rates.update(rows))  # seen: a module with a function of this name was not followed
    return rows.select(rates.RATE * by, rounded(rates.of("BR")), Scale.SMALL.value, Scale.BIG.more())
'''

RATES = '''
"""Rates."""

import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property, lru_cache, partial

RATE = 1.0
CENT = Decimal("0.01")
BY_COUNTRY = {"BR": 0.5, "PT": (1, 2)}
NAMES = {"a", "b", "c"}
FROZEN = frozenset({"d", "e"})
SINCE = date(2024, 1, 2)
AFTER = timedelta(hours=3)
MARK = b"mark"
NOTHING = None
LISTED = [1, [2, {"x": 3}]]
PATTERN = re.compile("^[0-9]+$")
ON = True
SCALED = partial(max, 4)


class Scale(Enum):
    """Scales."""

    SMALL = 1
    BIG = 10

    def more(self):
        return self.value + 5


@dataclass(frozen=True)
class Rounding:
    """How it is rounded."""

    digits: int = 2
    half: str = "even"
    marks: dict = field(default_factory=lambda: {"up": 1})

    def applied(self, value):
        return self.inner(value) + self.step

    def inner(self, value):
        return value * 3

    @property
    def step(self):
        return 0.125

    @cached_property
    def width(self):
        return 9

    @staticmethod
    def fixed():
        return 21

    @classmethod
    def usual(cls):
        return cls(4)

    def __call__(self, value):
        return value - 8

    def pop(self, value):
        return value * 17


ROUNDING = Rounding(3)


@lru_cache
def of(country, *, otherwise=0.75):
    """The rate of a country."""
    return BY_COUNTRY.get(country, otherwise), NAMES, FROZEN, SINCE, AFTER, MARK, NOTHING, LISTED, PATTERN, ON, SCALED


def update(rows):
    """Rows by a rate of their own."""
    return rows.where(3)


def rounded(value):
    """Rounded."""
    made = ROUNDING.applied(value), ROUNDING.width, Rounding.fixed(), Rounding.usual(), ROUNDING(1)
    return made if value > CENT and not value == 12 else None
'''

GOLD = '''
"""Gold of the shop."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.platform.declare.table import ReplaceDays, TableKey, rolling_window, cumulative

from . import SHOP
from . import contracts, helpers

UNKNOWN = "unknown"  # seen: a change of it changed nothing


def scaled(by):
    """A decorator whose argument is in the closure."""

    def decorate(function):
        def inner(orders):
            return function(orders) * by

        return inner

    return decorate


def _record(orders):
    # seen: a change of a helper of the same module changed nothing
    def each(name, times=6):
        return F.col(name) * times

    kept = [each(name) for name in ("amount", "tax") if name != UNKNOWN]
    by_name = {name: 1 for name in "ab"}
    try:
        return orders.select(*kept, by_name, F.coalesce("country", F.lit(UNKNOWN)))
    except ValueError as error:
        raise KeyError(f"{error!r:>11}") from error


@scaled(0.5)
def _of(orders):
    from .rates import SINCE

    return (lambda rows: rows.where(F.col("day") >= SINCE))(orders)


@SHOP.gold(contracts.Sales, orders=rolling_window(2, TableKey("shop", "silver", "orders")), write=ReplaceDays(400))
def sales(orders: DataFrame) -> DataFrame:
    """Sales by country."""
    return helpers.weighted(_of(_record(orders)))
'''

DOMAIN = '''
"""The shop."""

from datetime import date

from lakehouse_assets.platform.declare.domain import Domain

SHOP = Domain("shop", first_day=date(2024, 1, 1))
'''

SHOP = {"contracts": CONTRACTS, "helpers": HELPERS, "rates": RATES, "gold": GOLD}
_numbers = count()


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], Table]]:
    """Import modules as `<a package of its own>.shop` and give the table of gold; each call is another package."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    packages = []

    def load(sources: dict[str, str]) -> Table:
        package = f"made_{next(_numbers)}"
        packages.append(package)
        folder = tmp_path / package / "shop"
        folder.mkdir(parents=True)
        for name, source in ({"__init__": DOMAIN} | sources).items():
            (folder / f"{name}.py").write_text(source, encoding="utf-8")
        found: Table = import_module(f"{package}.shop.gold").sales
        return found

    yield load
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


# --- what matters changes it ---

LOAD = Callable[[dict[str, str]], Table]
NO_CODE = {"column", "row_rule"}  # their first argument describes


def changed(node: ast.AST) -> ast.AST | None:
    """The node with another value or operator; None: there is nothing to change."""
    match node:
        case ast.Constant(value=bool(value)):
            return ast.Constant(not value)
        case ast.Constant(value=int(value)) | ast.Constant(value=float(value)):
            return ast.Constant(value + 1)
        case ast.Constant(value=str(value)):
            return ast.Constant("0.02" if value == "0.01" else value + "x")
        case ast.Constant(value=bytes(value)):
            return ast.Constant(value + b"x")
        case ast.Constant(value=None):
            return ast.Constant(0)
        case ast.BinOp():
            return ast.BinOp(node.left, ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), node.right)
        case ast.Compare():
            return ast.Compare(node.left, [ast.LtE()], node.comparators)
        case ast.BoolOp():
            return ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not()):
            return node.operand
        case ast.IfExp():
            return ast.IfExp(node.test, node.orelse, node.body)
        case ast.Attribute(attr="where"):
            return ast.Attribute(node.value, "filter", node.ctx)
    return None


def described(tree: ast.AST) -> set[int]:
    """Nodes that decide nothing: docstrings, annotations, descriptions of columns and rules, owners."""
    apart: list[ast.AST | None] = []
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant()):
                apart.append(node.value)
            case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in NO_CODE:
                apart.append(first)
            case ast.keyword(arg="owners"):
                apart.append(node.value)
            case ast.arg() | ast.AnnAssign():
                apart.append(node.annotation)
            case ast.FunctionDef():
                apart.append(node.returns)
    return {id(inner) for node in apart if node is not None for inner in ast.walk(node)}


class Replace(ast.NodeTransformer):
    """One node in place of another."""

    def __init__(self, node: ast.AST, by: ast.AST) -> None:
        self.node, self.by = node, by

    def visit(self, node: ast.AST) -> ast.AST:
        """The node, or what stands for it."""
        return self.by if node is self.node else self.generic_visit(node)


def mutated(source: str) -> Iterator[tuple[str, str]]:
    """The source with one thing changed, each thing in turn, and what it was."""
    number = 0
    while True:
        tree = ast.parse(source)
        apart = described(tree)
        found = [(node, by) for node in ast.walk(tree) if id(node) not in apart and (by := changed(node)) is not None]
        if number == len(found):
            return
        node, by = found[number]
        message = (
            f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)} -> {ast.unparse(ast.fix_missing_locations(by))}"
        )
        yield message, ast.unparse(ast.fix_missing_locations(Replace(node, by).visit(tree)))
        number += 1


@pytest.mark.parametrize("module", SHOP)
def test_a_change_of_any_constant_or_operator_changes_the_fingerprint(module: str, load: LOAD) -> None:
    was = fingerprint(load(SHOP))
    unnoticed = []
    tried = 0
    for message, source in mutated(SHOP[module]):
        tried += 1
        try:
            now = fingerprint(load({**SHOP, module: source}))
        except Exception:  # noqa: BLE001  (a mutation that does not even load is noticed)
            continue
        if now == was:
            unnoticed.append(message)
    assert unnoticed == []
    assert tried >= 3, "the sample holds what can be changed"


MORE = {
    "a helper that is called no more": ("helpers", "rounded(rates.of(\"BR\"))", "rates.of(\"BR\")"),
    "another helper in its place": ("gold", "helpers.weighted", "helpers.rounded"),
    "a default": ("helpers", "by=2", "by=3"),
    "a default that only keywords give": ("rates", "otherwise=0.75", "otherwise=0.7"),
    "a parameter's name": ("helpers", "by", "times"),
    "the type of a constant": ("rates", "(1, 2)", "[1, 2]"),
    "an integer for a float": ("rates", "RATE = 1.0", "RATE = 1"),
    "true for one": ("rates", "ON = True", "ON = 1"),
    "a member of a set": ("rates", '{"a", "b", "c"}', '{"a", "b"}'),
    "the flags of a pattern": ("rates", '"^[0-9]+$")', '"^[0-9]+$", re.I)'),
    "a decorator": ("gold", "@scaled(0.5)\n", ""),
    "a cached function's body": ("rates", "LISTED, PATTERN, ON", "PATTERN, LISTED, ON"),
    "a line": ("gold", "    kept = [", "    orders = orders.distinct()\n    kept = ["),
    "the exception that is caught": ("gold", "except ValueError", "except TypeError"),
    "a format": ("gold", "!r:>11", "!s:>11"),
    "an enum's value": ("rates", "BIG = 10", "BIG = 11"),
    "an argument by its name": ("rates", "Rounding(3)", "Rounding(digits=3, half='up')"),
    "the span of an input": ("gold", "rolling_window(2, ", "rolling_window(3, "),
    "the days of an input": ("gold", "rolling_window(2, TableKey(", "cumulative(TableKey("),
    "a column that may be null": ("contracts", "nullable=True, ", ""),
    "the type of a column": ("contracts", "amount: T.LongType", "amount: T.IntegerType"),
    "a rule's action": ("contracts", "action=Action.WARN", "action=Action.FAIL"),
    "a rule": ("contracts", '    @row_rule("not much is too much")\n', ""),
}  # fmt: skip


@pytest.mark.parametrize("change", MORE.values(), ids=MORE)
def test_what_else_decides_changes_it(change: tuple[str, str, str], load: LOAD) -> None:
    module, old, new = change
    assert old in SHOP[module]
    was = fingerprint(load(SHOP))
    now = fingerprint(load({**SHOP, module: SHOP[module].replace(old, new)}))
    part = "contract" if module == "contracts" else "function"
    assert differing(str(was), str(now)) == (part,)


# --- what does not matter does not ---


class WithoutDocstrings(ast.NodeTransformer):
    """Modules, classes and functions without their docstrings."""

    def visit(self, node: ast.AST) -> ast.AST:
        """The node, and all below it."""
        super().generic_visit(node)
        match node:
            case ast.Module(body=body) | ast.ClassDef(body=body) | ast.FunctionDef(body=body):
                if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                    body[:1] = [] if len(body) > 1 else [ast.Pass()]
        return node


def renamed(sources: dict[str, str]) -> dict[str, str]:
    """The modules under other names, and used by them."""
    names = {"helpers": "tools", "rates": "figures", "contracts": "facts_of_it"}
    found = {}
    for name, source in sources.items():
        for old, new in names.items():
            for form in (f"import {old}", f"from .{old} ", f" {old}.", f"({old}.", f", {old}\n", f"[{old}."):
                source = source.replace(form, form.replace(old, new))
        found[names.get(name, name)] = source
    return found


NEUTRAL = {
    "comments": lambda source: "# first\n" + source.replace("\n\n", "\n\n# more\n"),
    "docstrings": lambda source: source.replace('."""', ' and more, at length."""'),
    "no docstrings": lambda source: ast.unparse(WithoutDocstrings().visit(ast.parse(source))),
    "layout": lambda source: ast.unparse(ast.parse(source)),
    "blank lines": lambda source: source.replace("\n\n", "\n\n\n\n\n"),
    "descriptions": lambda source: source.replace('"how much"', '"how many"').replace("not much is", "little is"),
    "owners": lambda source: source.replace("team:shop", "team:others"),
    "what nobody uses": lambda source: source + "\n\nNOBODY = 1.5\n\n\ndef unused(x):\n    return x + NOBODY\n",
}


@pytest.mark.parametrize("change", NEUTRAL.values(), ids=NEUTRAL)
def test_what_decides_nothing_changes_nothing(change: Callable[[str], str], load: LOAD) -> None:
    other = {name: change(source) for name, source in SHOP.items()}
    assert other != SHOP
    assert fingerprint(load(other)) == fingerprint(load(SHOP))


def test_a_renamed_module_changes_nothing(load: LOAD) -> None:
    assert set(renamed(SHOP)) == {"facts_of_it", "tools", "figures", "gold"}
    assert fingerprint(load(renamed(SHOP))) == fingerprint(load(SHOP))


def everywhere(tree: ast.AST, seed: int) -> ast.AST:
    """The tree with every node on a line of its own choice, in no order: the wildest layout there is."""
    lines = random.Random(seed)
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = lines.randint(1, 9_000)
            node.col_offset, node.end_col_offset = 0, 1
    return tree


@pytest.mark.parametrize("part", ["platform", "defs"])
def test_no_layout_of_this_projects_own_code_changes_it(part: str) -> None:
    for file in sorted((PACKAGE / part).rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        as_it_is = body(compile(source, "as it is", "exec")).digest
        without = WithoutDocstrings().visit(ast.parse(source))
        assert body(compile(everywhere(ast.parse(source), seed=len(source)), "wild", "exec")).digest == as_it_is, file
        assert body(compile(ast.unparse(without), "plain", "exec")).digest == as_it_is, file


# --- constants ---

constants = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.decimals(allow_nan=False)
    | st.frozensets(st.text(max_size=2) | st.integers()),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def exactly(value: object) -> str:
    """A constant with its type, for the comparison: 1, 1.0 and True are three."""
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}[{','.join(map(exactly, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{exactly(k)}:{exactly(v)}" for k, v in value.items()) + "}"
    if isinstance(value, frozenset):
        return "{" + ",".join(sorted(map(exactly, value))) + "}"
    return f"{type(value).__name__} {value!r}"


@settings(deadline=None)
@given(constants, constants)
@example(1.0, 0.5)  # the rate that was changed, seen
@example(1, True)
@example(0.0, -0.0)
@example("1", 1)
@example([1, 2], (1, 2))
def test_two_constants_are_told_apart_exactly_if_they_differ(one: object, other: object) -> None:
    def reached(value: object) -> str:
        outside = {"__name__": "made", "RATE": value}
        exec("def rated(rows):\n    return rows * RATE\n", outside)
        return reach([outside["rated"]]).digest

    assert (reached(one) == reached(other)) == (exactly(one) == exactly(other))


def test_what_code_changes_itself_is_no_constant() -> None:
    source = """
memory, counted, listed, KEPT, hook = {}, 0, [], {"a": 1}, len

def rated(rows):
    global counted, hook
    counted += 1
    hook = sorted
    memory[str(rows) + "x"] = 1
    listed.append(rows)
    return memory, counted, listed, KEPT, hook
"""
    outside: dict[str, object] = {"__name__": "made"}
    exec(source, outside)
    rated = outside["rated"]
    assert isinstance(rated, FunctionType)
    before = reach([rated]).digest
    rated(2)
    assert reach([rated]).digest == before
    outside["KEPT"]["a"] = 2  # type: ignore[index]
    assert reach([rated]).digest != before


# --- this project's own code ---

REAL = """
import lakehouse_assets, lakehouse_assets.defs as domains
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.fingerprint.code_version import code_version
print(lakehouse_assets.__file__)
for table in reversed(discover(domains).tables):
    print(table.key, code_version(table))
"""


def test_the_fingerprints_are_the_same_in_every_process_and_place(tmp_path: Path) -> None:
    place = tmp_path / "site-packages"
    shutil.copytree(PACKAGE, place / "lakehouse_assets", ignore=shutil.ignore_patterns("*.pyc", "README.md"))
    variables = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(place), "LAKEHOUSE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", REAL], cwd=tmp_path, env=variables, capture_output=True, text=True, check=True
    )
    where, *told = done.stdout.splitlines()
    assert Path(where).is_relative_to(place)
    tables = discover(domains).tables
    assert told == [f"{table.key} {fingerprint(table)}" for table in reversed(tables)]
    assert len(tables) > 40


PLATFORM = {
    "what a ledger appends": ("ledger.ledger", "rows_to_append"),
    "which rows are kept": ("validation.row_validation", "validate_rows"),
    "which files a commit adds": ("storage.delta_writer", "commit_files"),
    "what a day's rows replace": ("storage.delta_writer", "days_predicate"),
    "how rows are counted": ("validation.validated_rows", "_day_counts"),
    "which bounds a file has": ("storage.file_statistics", "_greatest"),
    "which days are read": ("planning.reader", "read_input"),
    "how changes are folded": ("scd.merge_changes", "fold"),
    "when a day fails": ("validation.day_result", "day_result"),
    "what is added to rows": ("transform.materialize", "stamped"),
}


@pytest.mark.parametrize("place", PLATFORM.values(), ids=PLATFORM)
def test_a_change_of_the_platforms_computing_code_changes_its_part(
    place: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module(f"lakehouse_assets.platform.{place[0]}")
    function = getattr(module, place[1])
    before = versions.of_platform.__wrapped__().digest
    source = inspect.getsource(function)
    message, other = list(mutated(source))[-1]
    outside = dict(vars(module))
    exec(
        compile(f"def enclosing():\n{''.join('    ' + x for x in other.splitlines(True))}\n", "other", "exec"), outside
    )
    (code,) = [c for c in outside["enclosing"].__code__.co_consts if getattr(c, "co_name", "") == place[1]]
    monkeypatch.setattr(function, "__code__", code)
    assert versions.of_platform.__wrapped__().digest != before, message


def test_a_setting_of_the_spark_session_is_part_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    before = versions.of_platform.__wrapped__().digest
    monkeypatch.setattr(session_settings, "REQUIRED", {**session_settings.REQUIRED, "spark.sql.ansi.enabled": "false"})
    assert versions.of_platform.__wrapped__().digest != before


def test_a_library_that_was_reached_counts_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = frozenset({"numpy"})
    before = {name: versions.of_libraries.__wrapped__(name) for name in (frozenset(), reached)}
    monkeypatch.setattr(versions, "_version", lambda name: "9" if name == "numpy" else "1")
    one = versions.of_libraries.__wrapped__(reached)
    monkeypatch.setattr(versions, "_version", lambda name: "8" if name == "numpy" else "1")
    assert versions.of_libraries.__wrapped__(reached) != one
    assert before[frozenset()] != before[reached]


# --- what was recorded ---


def test_days_of_the_former_scheme_are_unknown_and_not_changed() -> None:
    now = str(Fingerprint("aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"))
    assert differing(now, now) == ()
    assert differing("2.aaaaaaaa.00000000.cccccccc.eeeeeeee", now) == ("contract", "libraries")
    for former in ("6e23baf13eb2", "", "outside Dagster", "1.a.b.c.d", "3.a.b.c.d", "2.a.b"):
        assert differing(former, now) is None
    assert constant(frozenset({"a", "b"})) == constant(frozenset({"b", "a"}))
