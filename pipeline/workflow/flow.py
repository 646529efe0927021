"""A compiled workflow and how it runs. Sans I/O: a run yields the HTTP calls it wants made.

As in Tracardi, a node runs once for each active edge that leads to it; ports that a node does not return stay dead; a
failing node ends the run, and what was changed before stays.
"""

from collections.abc import Generator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from pipeline.definition import Workflow
from pipeline.errors import Malformed
from pipeline.operations import Operation
from pipeline.workflow.node import EmittedEvent, HttpCall, HttpResult, Node, NodeFailed, State, Tools, compile_node
from pipeline.workflow.registry import NODE_TYPES

__all__ = ["EmittedEvent", "Flow", "HttpCall", "HttpResult", "Run", "Tools", "compile_workflow"]

#: Node executions of one run: diamonds multiply them.
MAX_STEPS = 1_000


class Run(NamedTuple):
    """A finished run."""

    state: str  #: ``done`` or ``failed``
    operations: tuple[Operation, ...]
    emitted: tuple[EmittedEvent, ...]
    trace: tuple[tuple[str, str], ...]  #: (node, port) in the order taken
    error: str


class Flow:
    """Made by `compile_workflow`."""

    def __init__(
        self, order: list[str], nodes: Mapping[str, Node], edges: Mapping[tuple[str, str], list[str]], start: str
    ) -> None:
        self._order = order
        self._nodes = nodes
        self._edges = edges
        self._start = start

    def run(self, scope: Mapping[str, Any], run_id: str) -> Generator[HttpCall, HttpResult, Run]:
        """Yields calls, receives their results, returns the run. The same scope and results give the same run."""
        state = State(scope)
        state.scope["flow"] = {"run": run_id}
        active = dict.fromkeys(self._order, 0)
        active[self._start] = 1
        trace: list[tuple[str, str]] = []
        try:
            for id in self._order:
                for _ in range(active[id]):
                    if len(trace) >= MAX_STEPS:
                        raise NodeFailed(f"more than {MAX_STEPS} steps")
                    ports = yield from self._nodes[id](state)
                    trace.append((id, ",".join(ports)))
                    for port in ports:
                        for target in self._edges.get((id, port), ()):
                            active[target] += 1
        except NodeFailed as failure:
            return Run("failed", tuple(state.operations), tuple(state.emitted), tuple(trace), f"node {id!r}: {failure}")
        return Run("done", tuple(state.operations), tuple(state.emitted), tuple(trace), "")


def compile_workflow(definition: Workflow, tools: Tools) -> Flow:
    """Raises `Malformed` naming the node and key: an unknown type, a bad setting, an edge to nowhere, a cycle."""
    nodes: dict[str, Node] = {}
    types = {}
    for node in definition.nodes:
        kind = NODE_TYPES.get(node.type)
        if kind is None:
            raise Malformed(
                f"node {node.id!r}: unknown type {node.type!r}; known: {', '.join(NODE_TYPES)}", f"nodes.{node.id}.type"
            )
        if node.id in nodes:
            raise Malformed(f"two nodes are called {node.id!r}", "nodes")
        types[node.id] = kind
        nodes[node.id] = compile_node(kind, node.settings, node.id, tools)
    starts = [node.id for node in definition.nodes if node.type == "start"]
    if len(starts) != 1:
        raise Malformed(f"a workflow has exactly one start node, this has {len(starts)}", "nodes")
    edges: dict[tuple[str, str], list[str]] = {}
    before: dict[str, set[str]] = {id: set() for id in nodes}
    for index, edge in enumerate(definition.edges):
        for end in (edge.from_, edge.to):
            if end not in nodes:
                raise Malformed(f"edge {index} names {end!r}, which is no node", f"edges[{index}]")
        if edge.port not in types[edge.from_].ports:
            ports = ", ".join(types[edge.from_].ports) or "none"
            raise Malformed(f"node {edge.from_!r} has no port {edge.port!r}; it has: {ports}", f"edges[{index}].port")
        edges.setdefault((edge.from_, edge.port), []).append(edge.to)
        before[edge.to].add(edge.from_)
    try:
        order = list(TopologicalSorter({id: sorted(before[id]) for id in sorted(before)}).static_order())
    except CycleError as error:
        raise Malformed(f"the edges form a cycle: {' → '.join(error.args[1])}", "edges") from None
    return Flow(order, nodes, edges, starts[0])
