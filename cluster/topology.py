"""The architecture as a table: stages, and which deployment runs them in which layout."""

from collections.abc import Mapping
from typing import NamedTuple

from cluster.settings import Settings
from pipeline.topics import (
    COLLECTED,
    COLLECTOR_GROUP,
    DESTINATION_GROUPS,
    PROCESSED,
    RUNS,
    STORE_GROUP,
    WORKFLOW_GROUP,
)


class StageRow(NamedTuple):
    """One stage."""

    name: str
    reads: str  #: topic
    groups: tuple[str, ...]  #: a name ending in ``.`` stands for all that begin so
    writes: tuple[str, ...]
    min_workers: int
    max_workers: int  #: never more than partitions


STAGES: tuple[StageRow, ...] = (
    StageRow("collector", COLLECTED, (COLLECTOR_GROUP,), (PROCESSED, COLLECTED), 1, 4),
    StageRow("batcher", PROCESSED, (STORE_GROUP,), (), 1, 2),
    StageRow("dispatcher", PROCESSED, (DESTINATION_GROUPS,), (), 1, 4),
    StageRow("executor", PROCESSED, (WORKFLOW_GROUP,), (RUNS, COLLECTED), 1, 4),
)

BY_NAME: Mapping[str, StageRow] = {row.name: row for row in STAGES}

#: Layout → worker deployment → its stages. The public and the private API are deployments of their own in every layout.
LAYOUTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "compact": {"workers": ("collector", "batcher", "dispatcher", "executor")},
    "v1.0": {"background": ("collector", "batcher", "dispatcher", "executor")},
    "v1.1": {"collector": ("collector",), "background": ("batcher", "dispatcher"), "workflow": ("executor",)},
}


class Plan(NamedTuple):
    """What to deploy."""

    in_api: tuple[str, ...]  #: stages inside the public API
    workers: Mapping[str, tuple[str, ...]]  #: deployment → stages


def plan(settings: Settings) -> Plan:
    """The layout with the two switches applied: collector off → inside the API, workflow off → nowhere."""
    left_out = set()
    if not settings.collector_enabled:
        left_out.add("collector")
    if not settings.workflow_enabled:
        left_out.add("executor")
    workers = {
        name: tuple(stage for stage in stages if stage not in left_out)
        for name, stages in LAYOUTS[settings.layout].items()
    }
    in_api = () if settings.collector_enabled else ("collector",)
    return Plan(in_api, {name: stages for name, stages in workers.items() if stages})


def bounds(layout: str, stages: tuple[str, ...], partitions: int) -> tuple[int, int]:
    """Fewest and most workers of a deployment of these stages; `compact` is one process, whatever the backlog."""
    if layout == "compact":
        return 1, 1
    least = max(BY_NAME[stage].min_workers for stage in stages)
    most = max(BY_NAME[stage].max_workers for stage in stages)
    return least, max(least, min(most, partitions))
