"""Text becomes typed values strictly: two readings, or none, are malformed; nothing is guessed or rounded."""

# ruff: noqa: E501  (the table of texts)

import hashlib
import json
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyspark.sql.types as T
import pytest

from lakehouse_assets.platform.contracts.casting import parse
from lakehouse_assets.platform.contracts.contract import Contract, column, landed_contract
from lakehouse_assets.platform.contracts.rules import ContractError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY = date(2023, 1, 31)
BAD = object()  # malformed


class Reading(Contract):
    """One column of every type that a source's text can have."""

    whole: T.LongType = column("whole", source=True, nullable=True)
    short: T.ShortType = column("short", source=True, nullable=True)
    money: T.DecimalType(6, 2) = column("money", source=True, nullable=True)
    rate: T.DecimalType(9, 4) = column("rate", source=True, nullable=True)
    count: T.DecimalType(9, 0) = column("count", source=True, nullable=True)
    comma: T.DecimalType(9, 3) = column("comma", source=True, nullable=True, decimal_mark=",")
    day: T.DateType = column("day", source=True, nullable=True)
    at: T.TimestampNTZType = column("at", source=True, nullable=True)
    ratio: T.DoubleType = column("ratio", source=True, nullable=True)
    flag: T.BooleanType = column("flag", source=True, nullable=True)
    name: T.StringType = column("name", source=True, nullable=True)


D = Decimal
TEXTS: dict[str, dict[str, Any]] = {
    "whole": {
        "42": 42, "-7": -7, "+7": 7, "007": 7, " 42\t\r\n": 42, "\u00a042": 42, "9223372036854775807": 2**63 - 1,
        "9223372036854775808": BAD, "1" * 400: BAD, "17850.0": 17850, "17850,00": 17850, "1e3": 1000, "1.5E1": 15, "1.55E1": BAD, "1E-1": BAD, "42.5": BAD, "42.": BAD, "42.000": BAD,
        "1E999": BAD, "0E-999": 0, "4 2": BAD, "٤٢": BAD, "0x1F": BAD, "-": BAD,
        "": None, "   ": None, "null": None, "NULL": None, "None": None, "NaN": None, "N/A": None, "nan": BAD, "nil": BAD,
    },
    "short": {"32767": 32767, "32768": BAD, "-32768": -32768},
    "money": {
        "50.00": D("50.00"), "50,00": D("50.00"), "50": D("50.00"), "50,5": D("50.50"), "-50,5": D("-50.50"), "0,01": D("0.01"),
        "1.234,56": D("1234.56"), "1,234.56": D("1234.56"), "1234.56": D("1234.56"), "9999.99": D("9999.99"), "1.234,5": D("1234.50"),
        "1.234": BAD, "1,234": BAD, "-1.234": BAD, "10000": BAD, "10.000,00": BAD, "50.005": BAD, "50,005": BAD, "0.125": BAD,
        "1.23.456": BAD, "1.2345,6": BAD, "1,234,56": BAD, "1.234.56": BAD, "1.234,567": BAD, "01.234,56": BAD, "50.": BAD,
        ",50": D("0.50"), ".50": D("0.50"), ".5": D("0.50"), "-.5": D("-0.50"), ".": BAD, "1e2": D("100.00"), "1e4": BAD, "1.23456E3": D("1234.56"), "1.234567E3": BAD,
        "1.234500E3": D("1234.50"), "1.23456785E7": BAD, "5E-3": BAD, "5.0E-2": D("0.05"), "1E-999999999999": BAD, "1E999999999999": BAD,
        "50.0000": D("50.00"), "50.000": BAD, "0.500": D("0.50"), "1.234,5600": D("1234.56"), "1." + "0" * 60: D("1.00"), "50.0050": BAD, "R$ 50,00": BAD, "5 0": BAD, "--5": BAD, "9" * 60: BAD, "١,٥": BAD, "Infinity": BAD,
    },
    "rate": {
        "0.125": D("0.1250"), "0,125": D("0.1250"), "1.2345": D("1.2345"), "1.234": BAD, "1,234": BAD, "1234.567": D("1234.5670"),
        "1.234,567": D("1234.5670"), "12,34567": BAD,
    },
    "count": {"5,00": D(5), "5.0000": D(5), "1.2E1": D(12), "1.25E1": BAD, "1.234.567": D(1234567), "1,234,567": D(1234567), "1234567": D(1234567), "1.234": BAD, "1,234": BAD, "5,0": D(5), "5.": BAD},
    "comma": {"1,234": D("1.234"), "1.234": D("1234.000"), "1.234,5": D("1234.500"), "1,2345": BAD, "1.5": D("1.500"), "1.2340": D("1.234"), "1,2340": D("1.234"), "7": D("7.000")},
    "day": {
        "2023-01-31": DAY, "2024-02-29": date(2024, 2, 29), "2023-02-29": BAD, "2023-13-01": BAD, "2023-1-31": BAD,
        "31/01/2023": BAD, "2023-01-31 00:00:00": DAY, "2023-01-31T00:00:00.000000000": DAY, "2023-01-31 00:00:01": BAD, "2023-02-29 00:00:00": BAD, "0000-01-01": BAD, "20230131": BAD, "2023-01-31T": BAD, "epoch": BAD,
        "0001-01-01": date(1, 1, 1), "+12023-01-01": BAD,
    },
    "at": {
        "2023-01-31 23:59:59": datetime(2023, 1, 31, 23, 59, 59), "2023-01-31T23:59:59": datetime(2023, 1, 31, 23, 59, 59),
        "2023-01-31 23:59:59.123456": datetime(2023, 1, 31, 23, 59, 59, 123456),
        "2023-01-31 23:59:59.5": datetime(2023, 1, 31, 23, 59, 59, 500000), "2023-03-26 02:30:00": datetime(2023, 3, 26, 2, 30),
        "2023-01-31 23:59:59.1234567": BAD, "2023-01-31 23:59:59.123456000": datetime(2023, 1, 31, 23, 59, 59, 123456),
        "2023-01-31 23:59:59.000000001": BAD, "2023-01-31 24:00:00": BAD, "2023-01-31 23:60:00": BAD, "2023-01-31 23:59:60": BAD,
        "2023-01-31 23:59": BAD, "2023-01-31": BAD, "2023-01-31 23:59:59Z": BAD, "2023-01-31 23:59:59+03:00": BAD,
        "2023-02-30 00:00:00": BAD, "now": BAD,
    },
    "ratio": {"1.5": 1.5, "-1e-3": -0.001, ".5": 0.5, "5.": 5.0, "1e400": BAD, "Infinity": BAD, "1,5": BAD, "1d": BAD, "NaN": None},
    "flag": {"true": True, "FALSE": False, "1": True, "0": False, "yes": BAD, "2": BAD},
    "name": {" José ": "José", "N/A": None, "": None, "a\nb": "a\nb", "0": "0"},
}  # fmt: skip


def landed(spark: "SparkSession", contract: type[Contract], rows: list[dict[str, str | None]]) -> Any:
    """Landed rows of one file."""
    compiled = landed_contract(f"Landed{contract.__name__}", contract).compiled()
    given = [
        {
            **dict.fromkeys(compiled.source_columns),
            **row,
            "source_file": "f.csv",
            "row_number": i,
            "feed_day": DAY,
            "landing": 3,
        }
        for i, row in enumerate(rows)
    ]
    return spark.createDataFrame(
        [tuple(row[n] for n in compiled.spark_schema.names) for row in given], compiled.spark_schema
    )


@pytest.fixture(scope="module")
def readings(spark: "SparkSession") -> dict[tuple[str, str], Any]:
    """Every text of TEXTS, parsed in one job."""
    cases = [(name, text) for name, texts in TEXTS.items() for text in texts]
    rows = (
        parse(landed(spark, Reading, [{name: text} for name, text in cases]), Reading).orderBy("row_number").collect()
    )
    return dict(zip(cases, rows, strict=True))


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_read_or_malformed(readings: dict[tuple[str, str], Any], name: str) -> None:
    expected, seen = {}, {}
    for text, value in TEXTS[name].items():
        row = readings[name, text]
        expected[text] = (None, [name]) if value is BAD else (value, [])
        seen[text] = (row[name], row["_malformed"])
    assert seen == expected


def test_columns_and_their_types_are_the_contracts(spark: "SparkSession") -> None:
    frame = parse(landed(spark, Reading, [{}]), Reading)
    types = {field.name: field.dataType for field in frame.schema}
    assert {n: types[n] for n in Reading.compiled().spark_schema.names} == {
        f.name: f.dataType for f in Reading.compiled().spark_schema
    }
    assert [n for n in types if n not in Reading.compiled().spark_schema.names] == [
        "feed_day", "source_file", "row_number", "version", "record_hash", "_row", "_malformed",
    ]  # fmt: skip
    (row,) = frame.collect()
    assert (row["feed_day"], row["version"], row["source_file"], row["row_number"]) == (DAY, 3, "f.csv", 0)


class Pair(Contract):
    """Names whose order differs between languages: capitals come first."""

    b: T.StringType = column("b", source=True, nullable=True)
    Z: T.LongType = column("Z", source=True, nullable=True)
    a: T.LongType = column("a", source=True, nullable=True)


ODD = "".join(map(chr, range(0x20))) + "\"\\/\x7f\u2028é😀\\u000B\\n'"


def test_the_hash_is_of_pythons_json_of_the_row_as_it_came(spark: "SparkSession") -> None:
    values = [None, "", " 1 ", "x", ODD, '"', "\\", *ODD]
    rows: list[dict[str, str | None]] = [
        {"b": v, "Z": w, "a": u} for v, w, u in zip(values, values[1:], [*values[2:], "7"], strict=False)
    ]
    for row, given in zip(parse(landed(spark, Pair, rows), Pair).orderBy("row_number").collect(), rows, strict=True):
        text = json.dumps(given, sort_keys=True, ensure_ascii=False)
        assert row["_row"] == text
        assert row["record_hash"] == hashlib.sha256(text.encode()).hexdigest()


def test_a_source_column_whose_text_has_no_form_is_refused_where_it_is_declared() -> None:
    with pytest.raises(ContractError, match=r"tags: a source's text cannot be parsed as array<string>"):

        class Tagged(Contract):
            """Arrays have no text."""

            tags: T.ArrayType(T.StringType()) = column("tags", source=True)
