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
    lives: Mapping[str, str] = {}  #: destination → group of its present life; only those that are enabled have one
    asking: Mapping[Pair, tuple[str, ...]] = {}  #: who asks for what

    def askers(self, source: str, event_type: str) -> tuple[str, ...]:
        """Who asks for such events: enabled destinations, and enabled rules whose workflow is enabled."""
        asking = self.asking
        if not asking:
            return ()
        return (
            asking.get((source, event_type), ())
            + asking.get((None, event_type), ())
            + asking.get((source, None), ())
            + asking.get((None, None), ())
        )


def destination_asker(id: str) -> str:
    """A destination, as envelopes name it."""
    return f"destination:{id}"


def rule_asker(id: str) -> str:
    """A rule, as envelopes name it."""
    return f"rule:{id}"


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
    lives = dict(catalog.lives)
    for row in changes:
        kept = parts.get(row.kind)
        if kept is None:
            continue
        if row.kind == "destinations":
            lives.pop(row.id, None)
        if row.deleted:
            kept.pop(row.id, None)
        elif row.kind == "secrets":
            kept[row.id] = row.body
        elif row.kind == replay.KIND:
            kept[row.id] = replay.decode(row.body)
        else:
            kept[row.id] = parsed = definition.parse(row.kind, row.body)
            if row.kind == "destinations" and parsed.enabled and row.group is not None:
                lives[row.id] = row.group
    new = Catalog(revision=revision, lives=lives, **parts)  # type: ignore[arg-type]
    return new._replace(asking=_asking(new))


def _asking(catalog: Catalog) -> Mapping[Pair, tuple[str, ...]]:
    found: dict[Pair, list[str]] = {}
    for id, destination in sorted(catalog.destinations.items()):
        if destination.enabled:
            found.setdefault((destination.source, destination.event_type), []).append(destination_asker(id))
    for id, rule in sorted(catalog.rules.items()):
        workflow = catalog.workflows.get(rule.workflow)
        if rule.enabled and workflow is not None and workflow.enabled:
            found.setdefault((rule.source, rule.event_type), []).append(rule_asker(id))
    return {pair: tuple(askers) for pair, askers in found.items()}
