"""The status as Prometheus metrics."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

MEDIA_TYPE = CONTENT_TYPE_LATEST

_GAUGES = {
    "alive": ("rayfold_workers", "Workers alive"),
    "wanted": ("rayfold_workers_wanted", "Workers wanted"),
    "backlog": ("rayfold_backlog_records", "Records not committed yet"),
    "lag_seconds": ("rayfold_lag_seconds", "Age of the oldest record not committed"),
}
_COUNTERS = {
    "received": ("rayfold_received", "Events taken since the workers started"),
    "handled": ("rayfold_handled", "Events finished since the workers started"),
    "failed": ("rayfold_failed", "Attempts that failed since the workers started"),
    "dead": ("rayfold_dead", "Events given up since the workers started"),
}


class _Status(Collector):
    def __init__(self, status: Mapping[str, Any]) -> None:
        self._stages: Mapping[str, Mapping[str, Any]] = status["stages"]

    def collect(self) -> Iterator[Metric]:
        kinds = ((_GAUGES, GaugeMetricFamily), (_COUNTERS, CounterMetricFamily))
        for names, kind in kinds:
            for key, (name, text) in names.items():
                family = kind(name, text, labels=["stage"])
                for stage, row in self._stages.items():
                    if row.get(key) is not None:
                        family.add_metric([stage], row[key])
                yield family


def render(status: Mapping[str, Any]) -> bytes:
    """The text of one scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Status(status))
    return generate_latest(registry)
