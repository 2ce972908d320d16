"""Whether rows were erased on request after a run has read them: what it computed may hold them still."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
from pyspark.errors import PySparkException

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.table import LANDING_LAYER
from lakehouse_assets.platform.ingest.erasure import ERASED
from lakehouse_assets.platform.ingest.landing import manifest_path
from lakehouse_assets.platform.ingest.manifest import Manifest
from lakehouse_assets.platform.planning.plan import Lake, Plan, landed_name
from lakehouse_assets.platform.storage.commit import ConcurrentCommit
from lakehouse_assets.platform.storage.commit_metadata import Kind
from lakehouse_assets.platform.storage.delta_table import commits
from lakehouse_assets.platform.storage.location import Location


def erased_since(path: Location, version: int | None) -> bool:
    """Whether a table has rows erased since a version; None: there was no table, and nothing to erase."""
    newer = commits(path, after=version) if version is not None else ()
    return any(commit.metadata is not None and commit.metadata.kind is Kind.ERASURE for commit in newer)


def refuse_erased(lake: Lake, plan: Plan) -> None:
    """Before something is written beside a table. Raises ConcurrentCommit when its rows were erased since it was
    planned."""
    if erased_since(lake.path(plan.table.key), plan.base):
        raise ConcurrentCommit(f"{plan.table.key}: rows were erased after version {plan.base}")


@contextmanager
def lost_to_erasure(lake: Lake, plan: Plan) -> Iterator[None]:
    """What fails because files of its inputs, or those that it has written, went with an erasure has lost a race: it
    starts again. Raises ConcurrentCommit.
    """
    try:
        yield
    except (PySparkException, LakehouseError, OSError, duckdb.Error) as error:
        if _inputs_erased(lake, plan):
            raise ConcurrentCommit(f"{plan.table.key}: rows of its inputs were erased meanwhile") from error
        raise


def _inputs_erased(lake: Lake, plan: Plan) -> bool:
    """Whether an input of a plan, or the table itself, has rows erased since: files that it reads may be gone."""
    for name, read in plan.table.reads.items():
        version = plan.input_versions[name].version
        if read.table.layer != LANDING_LAYER:
            if erased_since(lake.path(read.table), version):
                return True
        elif version is not None:
            folder = manifest_path(lake.landing, landed_name(read.table)).parent
            known = set(Manifest(folder, version).entries())
            if any(entry.source_sha256.startswith(ERASED) for entry in set(Manifest(folder).entries()) - known):
                return True
    return erased_since(lake.path(plan.table.key), plan.base)
