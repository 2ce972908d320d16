"""The contract of documents that came byte for byte, whatever the place."""

import pyspark.sql.types as T

from lakehouse_assets.platform.contracts.contract import Contract, column
from lakehouse_assets.platform.contracts.rules import Action


class DocumentRow(Contract):
    """Documents as they came, byte for byte: each object of the bucket or folder, and each landed file, once."""

    document: T.StringType = column("text of the document", action=Action.FAIL)
    path: T.StringType = column("object or file it came in", action=Action.FAIL)
    etag: T.StringType = column("hash that the store has of it; of a landed file its MD5", action=Action.FAIL)
    arrival: T.TimestampNTZType = column("when the object was last changed, UTC", nullable=True)
    door: T.StringType = column("the way it came", isin=["file", "s3", "folder"], action=Action.FAIL)
    feed_day: T.DateType = column("day on which it arrived", action=Action.FAIL)
