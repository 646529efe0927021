"""How far the disks of Elasticsearch's nodes are from the watermark beyond which it takes no documents."""

import re
from collections.abc import Mapping

import msgspec

from cluster.checks.finding import Finding
from cluster.checks.web import Web

_CHECK = "Elasticsearch disk"

_SIZE = re.compile(r"^([\d.]+)(b|kb|mb|gb|tb|pb)$")
_UNITS: Mapping[str, int] = {unit: 1024**power for power, unit in enumerate(("b", "kb", "mb", "gb", "tb", "pb"))}


class _Total(msgspec.Struct):
    size: int = msgspec.field(name="total_in_bytes", default=0)
    free: int = msgspec.field(name="available_in_bytes", default=0)


class _Disks(msgspec.Struct):
    total: _Total


class _Node(msgspec.Struct):
    name: str
    fs: _Disks


class _Nodes(msgspec.Struct):
    nodes: dict[str, _Node] = {}


class _Disk(msgspec.Struct):
    threshold_enabled: str | bool = "true"
    watermark: dict[str, object] = {}


class _Allocation(msgspec.Struct):
    disk: _Disk = msgspec.field(default_factory=_Disk)


class _Routing(msgspec.Struct):
    allocation: _Allocation = msgspec.field(default_factory=_Allocation)


class _Cluster(msgspec.Struct):
    routing: _Routing = msgspec.field(default_factory=_Routing)


class _Scope(msgspec.Struct):
    cluster: _Cluster = msgspec.field(default_factory=_Cluster)


#: Weakest first.
_SCOPES = ("defaults", "persistent", "transient")


async def disks(web: Web) -> list[Finding]:
    """A finding for each node that is beyond the high watermark, so one step from the flood stage. Raises as `Web.get`."""
    nodes = await web.get("/_nodes/stats/fs?filter_path=nodes.*.name,nodes.*.fs.total", _Nodes) or _Nodes()
    scopes = await web.get(
        "/_cluster/settings?include_defaults=true&filter_path=*.cluster.routing.allocation.disk", dict[str, _Scope]
    )
    found = [(scopes or {})[name].cluster.routing.allocation.disk for name in _SCOPES if name in (scopes or {})]
    if not found or str(found[0].threshold_enabled).lower() == "false":
        return []
    marks = {name: str(value) for one in found for name, value in one.watermark.items()}
    return [_near(one, marks) for one in nodes.nodes.values() if _is_near(one.fs.total, marks)]


def _is_near(disk: _Total, marks: Mapping[str, str]) -> bool:
    kept = room(marks.get("high", "90%"), marks.get("high.max_headroom", ""), disk.size)
    return disk.size > 0 and disk.free < kept


def _near(node: _Node, marks: Mapping[str, str]) -> Finding:
    free, size = node.fs.total.free / 1e9, node.fs.total.size / 1e9
    return Finding(
        _CHECK,
        False,
        f"node {node.name} is beyond the high watermark ({marks.get('high', '90%')}): {free:.1f} of {size:.1f} GB free",
        "add disk, or drop old indices (RAYFOLD_DOCUMENTS_RETENTION): beyond the flood-stage watermark "
        f"({marks.get('flood_stage', '95%')}) Elasticsearch takes no documents",
    )


def room(mark: str, headroom: str, size: int) -> float:
    """Bytes that a watermark wants free: a part of the disk that is used, at most that much free, or free bytes as such."""
    most = _SIZE.match(headroom.lower())
    free = _SIZE.match(mark.lower())
    if free:
        wanted: float = float(free[1]) * _UNITS[free[2]]
        return wanted
    try:
        part = float(mark.rstrip("%")) / (100 if mark.endswith("%") else 1)
    except ValueError:
        return 0.0
    kept: float = size * (1 - part)
    return min(kept, float(most[1]) * float(_UNITS[most[2]])) if most else kept
