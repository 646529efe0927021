"""How many workers a deployment gets: by the backlog of the groups its stages read for."""

import asyncio
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster import topology
from cluster.head import TOKEN_VARIABLE
from cluster.settings import Settings
from cluster.wiring import open_log
from pipeline import topics
from pipeline.errors import NotFound

_log = logging.getLogger(__name__)

#: How often the log is asked.
_ASK_S = 1.0


_LOG_FACTS = (
    "log", "partitions", "instance", "pulsar_admin", "pulsar_tenant", "pulsar_namespace", "pulsar_ca_file",
)  # fmt: skip


def log_facts(settings: Settings) -> dict[str, Any]:
    """What the policy needs to find the log, without secrets; JSON."""
    return {"data": str(settings.data), **{name: getattr(settings, name) for name in _LOG_FACTS}}


def wanted(records: int, per_worker: int, least: int, most: int) -> int:
    """Workers for a backlog of that many records."""
    return max(least, min(most, -(-records // max(1, per_worker))))


class BacklogPolicy:
    """Made once in Serve's controller and called at every tick; never raises, holds its target when it knows nothing."""

    def __init__(self, of_log: dict[str, Any], layout: str, scale_records: int, stages: list[str]) -> None:
        """`of_log`: what `log_facts` gave. Serve logs these arguments: the secret among the settings comes by the environment."""
        token = os.environ.get(TOKEN_VARIABLE, "")
        self._settings = Settings(**{**of_log, "data": Path(of_log["data"])}, pulsar_token=token)
        self._per_worker = scale_records
        self._rows = [topology.BY_NAME[stage] for stage in stages]
        self._bounds = topology.bounds(layout, tuple(stages), self._settings.partitions)
        self._records: int | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="backlog", daemon=True).start()

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """The number of replicas wanted, and no state."""
        records = self._records
        if records is None:
            return context.target_num_replicas, {}
        return wanted(records, self._per_worker, *self._bounds), {}

    def close(self) -> None:
        """Ask no more. Serve never calls it: its controller keeps the policy for as long as it lives."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                asyncio.run(self._ask())
            except Exception as error:  # noqa: BLE001  (this thread is never started again: it must outlive everything)
                self._records = None
                _log.warning("the backlog is unknown, the number of workers stays: %s %s", type(error).__name__, error)
            self._closed.wait(_ASK_S)

    async def _ask(self) -> None:
        log = await open_log(self._settings)
        try:
            while not self._closed.is_set():
                self._records = max([await self._backlog(log, row) for row in self._rows], default=0)
                await asyncio.sleep(_ASK_S)
        finally:
            await log.close()

    async def _backlog(self, log: Any, row: topology.StageRow) -> int:
        """The largest backlog among the stage's groups."""
        records = 0
        for group in await log.groups(row.reads):
            if topics.belongs(group, row.groups):
                with suppress(NotFound):  # dropped since
                    records = max(records, (await log.backlog(row.reads, group)).records)
        return records
