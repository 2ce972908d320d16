"""How Parquet files are laid out: declared per table, for every write of it and of what lies beside it, and compaction.

    @table(contracts.Orders, parquet=Parquet("zstd", row_group_bytes=64 * MIB), landed=day(bronze.orders))

Spark is given it as options of a write of Parquet, which reach the files (Delta's writer drops all but the codec);
compaction writes the same with pyarrow.
"""

from dataclasses import dataclass

from lakehouse_assets.platform.common.errors import LakehouseError

KIB, MIB = 1024, 1024 * 1024
CODECS = ("snappy", "zstd", "gzip", "lz4_raw", "uncompressed")
SMALLEST = KIB


class ParquetError(LakehouseError):
    """A layout that Parquet does not have."""


@dataclass(frozen=True)
class Parquet:
    """Codec, dictionary encoding, and sizes in bytes: of a page before compression, of a row group as it is buffered.

    A row group's full pages are buffered compressed. `page_rows` bounds the rows of a page. `level` is that of zstd,
    1 to 22. Raises ParquetError.
    """

    codec: str = "snappy"
    dictionary: bool = True
    page_bytes: int = MIB
    row_group_bytes: int = 128 * MIB
    page_rows: int = 20_000
    level: int | None = None

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ParquetError(f"{self.codec!r} is no codec; there are {', '.join(CODECS)}.")
        if self.level is not None and (self.codec != "zstd" or not 1 <= self.level <= 22):
            raise ParquetError(f"level={self.level}: only zstd has levels, from 1 to 22.")
        if not SMALLEST <= self.page_bytes <= self.row_group_bytes or self.page_rows < 1:
            raise ParquetError(
                f"page_bytes={self.page_bytes}, row_group_bytes={self.row_group_bytes}, page_rows={self.page_rows}: "
                f"a page has a row or more and at least {SMALLEST} bytes, and lies in a row group."
            )

    def configuration(self) -> dict[str, str]:
        """The layout as Spark and Parquet's writer call it."""
        found = {
            "spark.sql.parquet.compression.codec": self.codec,
            "parquet.enable.dictionary": str(self.dictionary).lower(),
            "parquet.page.size": str(self.page_bytes),
            "parquet.dictionary.page.size": str(self.page_bytes),
            "parquet.page.row.count.limit": str(self.page_rows),
            "parquet.block.size": str(self.row_group_bytes),
        }
        return found | ({"parquet.compression.codec.zstd.level": str(self.level)} if self.level is not None else {})
