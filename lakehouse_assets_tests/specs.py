"""Every spec of the definitions as text: what a change of the code changes for those who use them.

`python -m lakehouse_assets_tests.specs` writes the text; `test_specs.py` compares it.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

FILE = Path(__file__).parent / "data" / "specs.txt"


def text_of(definitions: dg.Definitions) -> str:
    """A block for each asset, asset check, job, schedule and sensor, sorted by name."""
    repository = definitions.get_repository_def()
    blocks = [
        *_assets(repository.asset_graph),
        *_checks(repository.asset_graph),
        *_jobs(repository.get_all_jobs()),
        *_schedules(repository.schedule_defs),
        *_sensors(repository.sensor_defs),
    ]
    return "\n".join(blocks)


def _block(title: str, table_metadata: Mapping[str, object]) -> str:
    lines = [f"  {name}: {fact}" for name, fact in table_metadata.items() if fact not in (None, "", {}, [], ())]
    return "\n".join([title, *lines, ""])


def _assets(graph: Any) -> Iterator[str]:
    for node in sorted(graph.asset_nodes, key=lambda one: one.key.path):
        table_metadata: dict[str, object] = {
            "description": _line(node.description),
            "group": node.group_name,
            "kinds": _words(node.kinds),
            "owners": _words(node.owners),
            "tags": _tags(node.tags),
            "materializable": node.is_materializable,
            "partitions": _partitions(node.partitions_def),
            "backfill": node.backfill_policy and node.backfill_policy.policy_type.value,
            "deadline": node.freshness_policy and type(node.freshness_policy).__name__,
            "columns": _columns(node.metadata.get("dagster/column_schema")),
            "metadata": _words(node.metadata),
        }
        for parent in sorted(node.parent_keys):
            mapping = graph.get_partition_mapping(node.key, parent) if node.partitions_def else None
            table_metadata[f"reads {parent.to_user_string()}"] = _mapping(mapping) or "whole"
        checks = [graph.get_check_spec(key) for key in node.check_keys]
        table_metadata["checks"] = _words(f"{check.name}{' (blocking)' if check.blocking else ''}" for check in checks)
        yield _block(f"asset {node.key.to_user_string()}", table_metadata)


def _checks(graph: Any) -> Iterator[str]:
    """What the checks of one name say of themselves, and on how many assets there are some."""
    by_name: dict[str, list[str]] = {}
    for key in graph.asset_check_keys:
        by_name.setdefault(key.name, []).append(_line(graph.get_check_spec(key).description))
    for name, message in sorted(by_name.items()):
        counted = {f"on {message.count(one)} assets": one for one in sorted(set(message))}
        yield _block(f"check {name}", counted)


def _jobs(jobs: Iterable[Any]) -> Iterator[str]:
    for job in sorted(jobs, key=lambda one: one.name):
        if job.name.startswith("__"):
            continue
        table_metadata = {
            "description": _line(job.description),
            "steps": _words(node.name for node in job.nodes),
            "partitions": _partitions(job.partitions_def),
            "tags": _tags(job.tags),
        }
        yield _block(f"job {job.name}", table_metadata)


def _schedules(schedules: Iterable[Any]) -> Iterator[str]:
    for one in sorted(schedules, key=lambda one: one.name):
        table_metadata = {
            "description": _line(one.description),
            "starts": one.job_name,
            "cron": one.cron_schedule,
            "zone": one.execution_timezone,
            "status": one.default_status.value,
        }
        yield _block(f"schedule {one.name}", table_metadata)


def _sensors(sensors: Iterable[Any]) -> Iterator[str]:
    for one in sorted(sensors, key=lambda one: one.name):
        table_metadata = {
            "description": _line(one.description),
            "starts": _words(target.job_name for target in one.targets),
            "seconds": one.minimum_interval_seconds,
            "status": one.default_status.value,
        }
        yield _block(f"sensor {one.name}", table_metadata)


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def _words(words: Iterable[object] | None) -> str:
    return ", ".join(sorted(map(str, words or ())))


def _tags(tags: Mapping[str, str] | None) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted((tags or {}).items()) if not name.startswith("__"))


def _partitions(days: Any) -> str:
    if isinstance(days, dg.DailyPartitionsDefinition):
        return f"days from {days.start:%Y-%m-%d} in {days.timezone}, {days.end_offset} beyond the last whole one"
    return "" if days is None else type(days).__name__


def _mapping(mapping: Any) -> str:
    match mapping:
        case None:
            return ""
        case dg.IdentityPartitionMapping():
            return "same day"
        case dg.TimeWindowPartitionMapping():
            return f"days {mapping.start_offset} to {mapping.end_offset}"
        case _:
            return type(mapping).__name__


def _columns(schema: Any) -> str:
    if schema is None:
        return ""
    columns = schema.value.columns if isinstance(schema, dg.TableSchemaMetadataValue) else schema.columns
    return ", ".join(f"{c.name} {c.type}{'' if c.constraints.nullable else ' not null'}" for c in columns)


if __name__ == "__main__":
    from lakehouse_assets.definitions import definitions

    FILE.write_text(text_of(definitions), encoding="utf-8")
