"""Which types widen to which, so that a cast of one to the other loses nothing."""

from typing import TYPE_CHECKING

import pyspark.sql.types as T

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse_assets.platform.contracts.compiled import CompiledContract

_DIGITS = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}


def coerced(frame: "DataFrame", contract: "CompiledContract") -> "DataFrame":
    """The frame with those columns that `coerce` cast to their declared types, where no value can be lost by it."""
    from pyspark.sql import functions as F

    types = {field.name: field.dataType for field in frame.schema}
    wanted = {name: contract.spark_schema[name].dataType for name in sorted(contract.coerced & types.keys())}
    casts = {
        name: F.col(name).cast(kind)
        for name, kind in wanted.items()
        if types[name] != kind and widens(types[name], kind)
    }
    return frame.withColumns(casts) if casts else frame


def widens(has: T.DataType, wanted: T.DataType) -> bool:
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
