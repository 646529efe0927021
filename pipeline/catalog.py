"""Definitions as a worker uses them: one immutable compiled snapshot per revision."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline import definition, replay
from pipeline.definition import Destination, Rule, Source, Workflow
from pipeline.replay import Replay
from pipeline.stores.definitions import Definition

#: Source and event type; None stands for any.
Pair = tuple[str | None, str | None]


class Catalog(NamedTuple):
    """All live definitions at one revision."""

    revision: int = 0
    sources: Mapping[str, Source] = {}
    destinations: Mapping[str, Destination] = {}
    workflows: Mapping[str, Workflow] = {}
    rules: Mapping[str, Rule] = {}
    secrets: Mapping[str, bytes] = {}  #: bodies as stored, still encrypted
    replays: Mapping[str, Replay] = {}  #: those that have ended too
    watched: frozenset[Pair] = frozenset()  #: what enabled rules and destinations ask for

    def watches(self, source: str, event_type: str) -> bool:
        """Whether an enabled rule or destination asks for such events."""
        watched = self.watched
        return bool(watched) and (
            (source, event_type) in watched
            or (None, event_type) in watched
            or (source, None) in watched
            or (None, None) in watched
        )


def applied(catalog: Catalog, revision: int, changes: Sequence[Definition]) -> Catalog:
    """The catalog after some changes. Definitions of kinds it does not use are passed over."""
    parts: dict[str, dict[str, object]] = {
        "sources": dict(catalog.sources),
        "destinations": dict(catalog.destinations),
        "workflows": dict(catalog.workflows),
        "rules": dict(catalog.rules),
        "secrets": dict(catalog.secrets),
        replay.KIND: dict(catalog.replays),
    }
    for row in changes:
        kept = parts.get(row.kind)
        if kept is None:
            continue
        if row.deleted:
            kept.pop(row.id, None)
        elif row.kind == "secrets":
            kept[row.id] = row.body
        elif row.kind == replay.KIND:
            kept[row.id] = replay.decode(row.body)
        else:
            kept[row.id] = definition.parse(row.kind, row.body)
    asking: list[Rule | Destination] = [*parts["rules"].values(), *parts["destinations"].values()]  # type: ignore[list-item]
    watched = frozenset((one.source, one.event_type) for one in asking if one.enabled)
    return Catalog(revision=revision, watched=watched, **parts)  # type: ignore[arg-type]
