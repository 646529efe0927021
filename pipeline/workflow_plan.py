"""Which workflows an event starts, and what a finished run becomes: a record, and an effect on the profile. Sans I/O."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import identity
from pipeline.catalog import Catalog, rule_asker
from pipeline.definition import Rule
from pipeline.document import SCHEMA
from pipeline.envelope import DEPTH_SHIFT, INTERNAL, Entry, Pair, Processed
from pipeline.record import Effect
from pipeline.workflow.flow import Flow, Run, Tools, compile_workflow


class Plan:
    """The enabled rules and their compiled workflows at one revision."""

    def __init__(self, catalog: Catalog, tools: Tools) -> None:
        self.revision = catalog.revision
        self._rules = [rule for _, rule in sorted(catalog.rules.items()) if rule.enabled]
        self._flows: Mapping[str, Flow] = {
            id: compile_workflow(workflow, tools)
            for id, workflow in catalog.workflows.items()
            if workflow.enabled and any(rule.workflow == id for rule in self._rules)
        }

    def wants(self, pairs: Sequence[Pair]) -> bool:
        """Whether anything in an envelope can start a workflow."""
        return any(map(self._started, pairs))

    def due(self, processed: Processed) -> list[tuple[Entry, Rule, Flow]]:
        """The runs that an envelope's events start: in the order of its events, then of the rules' ids; each workflow once."""
        started = {(pair.source, pair.type): self._started(pair) for pair in processed.pairs}
        return [
            (entry, rule, flow)
            for entry in processed.events
            if entry.view >= 0
            for rule, flow in started.get((entry.source, entry.type), ())
        ]

    def _started(self, pair: Pair) -> list[tuple[Rule, Flow]]:
        """What runs for such events: of the rules that asked for them when they were folded, those still in force."""
        found: dict[str, tuple[Rule, Flow]] = {}
        for rule in self._rules:
            flow = self._flows.get(rule.workflow)
            if flow is not None and _asked(rule, pair):
                found.setdefault(rule.workflow, (rule, flow))
        return list(found.values())


def _asked(rule: Rule, pair: Pair) -> bool:
    if pair.askers is not None:
        return rule_asker(rule.id) in pair.askers
    return rule.source in (None, pair.source) and rule.event_type in (None, pair.type)


def run_id(workflow: str, event: str) -> str:
    """The same each time this event is brought to this workflow."""
    return identity.event_id("@workflow", f"{workflow}:{event}")


def effect_of(
    run: Run, id: str, workflow: str, revision: int, entry: Entry, event: Mapping[str, Any], now_ms: int
) -> Effect | None:
    """The command that carries the run's changes back to the profile; None when it changes nothing."""
    if entry.profile is None or not (run.operations or run.emitted):
        return None
    session = event.get("session") or {}
    return Effect(
        id=id,
        profile=entry.profile,
        received_ms=now_ms,
        revision=revision,
        workflow=workflow,
        run=id,
        cause=entry.id,
        depth=depth_of(entry) + 1,
        source=entry.source,
        session=session.get("id"),
        channel=event.get("metadata", {}).get("channel") or "",
        operations=[list(operation) for operation in run.operations],
        emitted=[(one.type, dict(one.properties)) for one in run.emitted],
    )


def depth_of(entry: Entry) -> int:
    """How many runs led to this event."""
    return entry.flags >> DEPTH_SHIFT if entry.flags & INTERNAL else 0


def record_of(run: Run, id: str, rule: Rule, entry: Entry, revision: int, time: str) -> dict[str, Any]:
    """What is kept of a run."""
    return {
        "schema": SCHEMA,
        "id": id,
        "workflow": rule.workflow,
        "rule": rule.id,
        "event": entry.id,
        "type": entry.type,
        "source": entry.source,
        "profile": entry.profile,
        "state": run.state,
        "error": run.error,
        "revision": revision,
        "time": time,
        "trace": [list(step) for step in run.trace],
        "operations": [list(operation) for operation in run.operations],
        "emitted": [one.type for one in run.emitted],
    }
