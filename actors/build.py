"""Makes stages by name."""

from collections.abc import Callable, Mapping

from actors.batcher import Batcher
from actors.collector import Collector
from actors.dispatcher import Dispatcher
from actors.executor import Executor
from actors.stage import Stage
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.hot import Limits
from pipeline.mapping.table import load_table
from pipeline.ports import Ports


def _collector(ports: Ports, watch: DefinitionsWatch, worker: str, retention_ms: int) -> Stage:
    table = load_table()
    return Collector(ports.log, ports.documents, watch, ports.clock, worker, table, Limits(), retention_ms)


def _batcher(ports: Ports, watch: DefinitionsWatch, worker: str, retention_ms: int) -> Stage:
    return Batcher(ports.log, ports.documents, watch, ports.clock, worker)


def _dispatcher(ports: Ports, watch: DefinitionsWatch, worker: str, retention_ms: int) -> Stage:
    return Dispatcher(
        ports.log,
        ports.documents,
        ports.definitions,
        watch,
        ports.http,
        ports.clock,
        worker,
        ports.random,
        ports.secrets,
    )


def _executor(ports: Ports, watch: DefinitionsWatch, worker: str, retention_ms: int) -> Stage:
    return Executor(ports.log, ports.documents, watch, ports.http, ports.clock, worker, ports.secrets, retention_ms)


_MAKERS: Mapping[str, Callable[[Ports, DefinitionsWatch, str, int], Stage]] = {
    "collector": _collector,
    "batcher": _batcher,
    "dispatcher": _dispatcher,
    "executor": _executor,
}


def build(stage: str, ports: Ports, watch: DefinitionsWatch, worker: str, retention_ms: int) -> Stage:
    """A stage ready to `run`; `worker` is unique among all workers."""
    return _MAKERS[stage](ports, watch, worker, retention_ms)
