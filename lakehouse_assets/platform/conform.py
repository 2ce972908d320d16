"""Whether a frame can become rows of a table: every column there, of the contract's type or of one it widens."""

from typing import TYPE_CHECKING

import pyspark.sql.types as T

from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.writer import first_line

if TYPE_CHECKING:
    from pyspark.errors import PySparkException
    from pyspark.sql import DataFrame

    from lakehouse_assets.platform.compiled import CompiledContract

_DIGITS = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}


class ContractMismatch(LakehouseError):
    """A transformation returned other columns than its contract declares."""


def check_conforms(found: T.StructType, contract: "CompiledContract") -> None:
    """Compare a frame's schema with the contract's; columns beyond it do not matter. Raises ContractMismatch."""
    types = {field.name: field.dataType for field in found}
    problems = []
    for field in contract.spark_schema:
        has = types.get(field.name)
        if has is None:
            problems.append(f"{field.name} is missing")
        elif not _widens(has, field.dataType):
            problems.append(f"{field.name} is {has.simpleString()}, declared {field.dataType.simpleString()}")
    if problems:
        raise ContractMismatch(
            f"The rows do not fit the contract {contract.name}: {'; '.join(problems)}. "
            "Return these columns from the transformation, cast to the declared types, or change the contract."
        )


def _widens(has: T.DataType, wanted: T.DataType) -> bool:
    """Whether every value of the one type is a value of the other, so that the cast cannot fail or round."""
    if has.simpleString() == wanted.simpleString() or isinstance(has, T.NullType):
        return True
    from_digits, to_digits = _DIGITS.get(has.simpleString()), _DIGITS.get(wanted.simpleString())
    match has, wanted:
        case T.DecimalType(), T.DecimalType():
            whole = wanted.precision - wanted.scale >= has.precision - has.scale
            return whole and wanted.scale >= has.scale
        case _, T.DecimalType() if from_digits:
            return wanted.precision - wanted.scale >= from_digits
        case T.FloatType(), T.DoubleType():
            return True
    return bool(from_digits and to_digits and to_digits >= from_digits)


def said_of(error: "PySparkException", candidate: "DataFrame", contract: "CompiledContract") -> str:
    """What Spark says of a step that failed; of SQL that it cannot read, in which rule. Nothing is computed."""
    from pyspark.errors import AnalysisException
    from pyspark.sql import functions as F

    for rule in contract.rules if isinstance(error, AnalysisException) else ():
        if rule.expression is None:
            continue
        try:
            candidate.select(F.expr(rule.expression)).schema  # noqa: B018  (asks the server)
        except AnalysisException as unread:
            return f"Spark cannot read the SQL of the rule {rule.name}, {rule.expression}: {first_line(unread)}"
    return first_line(error)
