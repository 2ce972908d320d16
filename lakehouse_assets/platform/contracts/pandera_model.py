"""Pandera's model, so that it judges what the platform judges: TIMESTAMP_NTZ, unique columns, casts without loss."""

from datetime import datetime
from typing import Any

import pandera.pyspark as pa
import pyspark.sql.types as T

from lakehouse_assets.platform.contracts.casts import coerced
from lakehouse_assets.platform.contracts.compiled import compile_contract
from lakehouse_assets.platform.contracts.contract_facts import METADATA
from lakehouse_assets.platform.contracts.day_rules import claim, has_sql, named, unique_check


class PanderaModel(pa.DataFrameModel):  # type: ignore[type-arg]
    """Base of contracts: what Pandera is told otherwise than it would do by itself."""

    @classmethod
    def validate(cls, check_obj: Any, *args: Any, **options: Any) -> Any:
        """As Pandera's; columns that `coerce` are cast by the platform's rules, so never with loss."""
        fitting: Any = coerced(check_obj, compile_contract(cls))
        return super().validate(fitting, *args, **options)

    @classmethod
    def build_schema_(cls, **options: Any) -> Any:
        return super().build_schema_(**options | {"coerce": False})  # type: ignore[no-untyped-call]

    @classmethod
    def _build_columns(cls, fields: Any, checks: Any) -> Any:
        columns = super()._build_columns(fields, checks)
        for name, (annotation, field) in fields.items():
            table_metadata = (field.metadata or {}).get(METADATA)
            if table_metadata is not None and table_metadata.unique:
                columns[name].checks = [*columns[name].checks, unique_check(name)]
            if annotation.arg is T.TimestampNTZType or isinstance(annotation.arg, T.TimestampNTZType):
                columns[name].checks = [_without_zone(c) if has_sql(c) else c for c in columns[name].checks]
        return columns

    @classmethod
    def _extract_checks(cls, check_infos: Any, field_names: Any) -> Any:
        infos = named(check_infos)
        functions = {info.check_kwargs["name"]: info.check_fn for info in infos}
        found = super()._extract_checks(infos, field_names)
        claim([check for checks in found.values() for check in checks], functions)
        return found

    @classmethod
    def _extract_df_checks(cls, check_infos: Any) -> Any:
        infos = named(check_infos)
        functions = {info.check_kwargs["name"]: info.check_fn for info in infos}
        found = super()._extract_df_checks(infos)
        claim(found, functions)
        return found


def _without_zone(check: pa.Check) -> pa.Check:
    """Pandera's check for TIMESTAMP_NTZ, a type that its checks refuse: the same code, without their test of types."""

    def literal(value: Any) -> Any:
        from pyspark.sql import functions as F

        return F.lit(value.isoformat(sep=" ")).cast("timestamp_ntz") if isinstance(value, datetime) else value

    def run(data: Any, **given: Any) -> bool:
        from pandera.backends.pyspark import builtin_checks

        judge = getattr(builtin_checks, str(check.name)).__wrapped__
        many = (list, tuple, set, frozenset)
        return judge(
            data, **{k: [literal(i) for i in v] if isinstance(v, many) else literal(v) for k, v in given.items()}
        )

    return pa.Check(run, name=check.name, error=check.error, statistics=check.statistics, **check._check_kwargs)
