"""Whether a frame can become rows of a table: every column there, of the contract's type or of one it widens."""

import re
from typing import TYPE_CHECKING

import pyspark.sql.types as T

from lakehouse_assets.platform.common.errors import LakehouseError, first_line
from lakehouse_assets.platform.contracts.casts import widens

if TYPE_CHECKING:
    from pyspark.errors import PySparkException
    from pyspark.sql import DataFrame

    from lakehouse_assets.platform.contracts.compiled import CompiledContract


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
        elif not widens(has, field.dataType):
            problems.append(f"{field.name} is {has.simpleString()}, declared {field.dataType.simpleString()}")
    if problems:
        raise ContractMismatch(
            f"The rows do not fit the contract {contract.name}: {'; '.join(problems)}. "
            "Return these columns from the transformation, cast to the declared types, or change the contract."
        )


def message_of(error: "PySparkException", transformed: "DataFrame", contract: "CompiledContract") -> str:
    """What Spark says of a step that failed; of SQL that it cannot read, in which rule. Nothing is computed."""
    from pyspark.errors import AnalysisException
    from pyspark.sql import functions as F

    for rule in contract.rules if isinstance(error, AnalysisException) else ():
        if rule.expression is None:
            continue
        try:
            transformed.select(F.expr(rule.expression)).schema  # noqa: B018  (asks the server)
        except AnalysisException as unread:
            return f"Spark cannot read the SQL of the rule {rule.name}, {rule.expression}: {first_line(unread)}"
    causes = re.findall(r"^Caused by: (.+)$", str(error), re.MULTILINE)
    return first_line(error) + (f" Caused by: {causes[-1][:300]}" if causes else "")
