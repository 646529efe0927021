"""The document store: whether it answers and takes documents, its version, and what this installation has on it."""

from collections.abc import Awaitable, Iterator, Mapping
from typing import TypeVar

import msgspec

from cluster.checks.elasticsearch_disk import disks
from cluster.checks.finding import Finding
from cluster.checks.web import NoAnswer, Refused, Web, basic
from cluster.settings import Settings

_CHECK = "Elasticsearch"
_VERSIONS = range(9, 10)

#: Blocks of an index that keep documents out, beside that of the flood stage.
_BLOCKS = frozenset(("read_only", "write"))
_FLOOD = "read_only_allow_delete"

T = TypeVar("T")


class _Health(msgspec.Struct):
    status: str


class _Node(msgspec.Struct):
    version: str


class _Nodes(msgspec.Struct):
    nodes: dict[str, _Node]


class _Index(msgspec.Struct):
    settings: dict[str, object] = {}


async def elasticsearch(settings: Settings) -> list[Finding]:
    """Asked directly; never at its root, for which a reduced server has no handler."""
    found: list[Finding] = []
    async with Web(settings.documents, _authorization(settings), settings.documents_ca_file) as web:
        try:
            found.append(_health(await _allowed(web.get("/_cluster/health?timeout=2s", _Health))))
            found += _versions(await _allowed(web.get("/_nodes/_all/none?filter_path=nodes.*.version", _Nodes)))
            found += await _allowed(disks(web)) or ()
            found += _indices(settings, await web.get(_blocks(settings), dict[str, _Index]))
        except NoAnswer as error:
            found.append(_away(settings, str(error)))
        except Refused as error:
            found.append(_refused(settings, error.status))
    return found


async def _allowed(asking: Awaitable[T]) -> T | None:
    """None where this question alone is not allowed. Raises `Refused` where nothing is."""
    try:
        return await asking
    except Refused as error:
        if error.status == 401:
            raise
        return None


def _authorization(settings: Settings) -> str:
    if settings.documents_api_key:
        return f"ApiKey {settings.documents_api_key}"
    if settings.documents_username:
        return basic(settings.documents_username, settings.documents_password)
    return ""


def _away(settings: Settings, why: str) -> Finding:
    return Finding(
        _CHECK,
        False,
        f"lost connection to Elasticsearch: it does not answer at {settings.documents} ({why})",
        "start it, or mend RAYFOLD_DOCUMENTS; events are taken all the while, wait in the log and are stored after its return",
    )


def _refused(settings: Settings, status: int) -> Finding:
    if status == 401:
        what, cure = "does not accept who asks", "mend RAYFOLD_DOCUMENTS_USERNAME and _PASSWORD, or _API_KEY"
    else:
        what = "does not let this user at the indices of this installation"
        cure = f"grant read, write and manage on {settings.prefix}rayfold-*"
    return Finding(_CHECK, False, f"{what} (HTTP {status})", f"{cure}; docs/operations.md lists the privileges")


def _health(health: _Health | None) -> Finding:
    if health is None:
        cure = "grant the cluster privilege monitor: without it neither this command nor the status can tell how the cluster is"
        return Finding(_CHECK, False, "answers, but its health may not be asked for", cure)
    if health.status == "red":
        cure = "bring the missing shards back (GET _cluster/allocation/explain); documents wait in the log meanwhile"
        return Finding(_CHECK, False, "its cluster is red: some shards are not there", cure)
    if health.status == "yellow":
        what = (
            "answers, its cluster is yellow: copies of some shards are not there, so the loss of a disk loses documents"
        )
        return Finding(_CHECK, True, f"{what} (on a single node RAYFOLD_DOCUMENTS_REPLICAS=0 says so)")
    return Finding(_CHECK, True, f"answers, its cluster is {health.status}")


def _versions(nodes: _Nodes | None) -> Iterator[Finding]:
    found = {node.version for node in nodes.nodes.values()} if nodes else set()
    told = ", ".join(sorted(found))
    if any(not _is_known(version) for version in found):
        yield Finding(f"{_CHECK} version", False, f"{told} is out of range", "use Elasticsearch 9")
    elif told:
        yield Finding(f"{_CHECK} version", True, told)


def _is_known(version: str) -> bool:
    major = version.partition(".")[0]
    return major.isdigit() and int(major) in _VERSIONS


def _blocks(settings: Settings) -> str:
    """A setting that every index has is asked for too, for one without any of these is not told of."""
    names = "index.blocks.*,index.number_of_replicas"
    return f"/{settings.prefix}rayfold-*/_settings/{names}?expand_wildcards=all&flat_settings=true"


def _indices(settings: Settings, found: Mapping[str, _Index] | None) -> Iterator[Finding]:
    """Of names that it may not see Elasticsearch tells as if there were none."""
    found = found or {}
    if f"{settings.prefix}rayfold-profiles" not in found:
        cure = f"run `rayfold migrate`; where it was run, this user lacks privileges on {settings.prefix}rayfold-*"
        what = f"index {settings.prefix}rayfold-profiles is not there, or may not be seen"
        yield Finding(f"{_CHECK} indices", False, what, cure)
    flooded, others = [], []
    for index, one in sorted(found.items()):
        on = {name.removeprefix("index.blocks.") for name, value in one.settings.items() if str(value) == "true"}
        if _FLOOD in on:
            flooded.append(index)
        elif on & _BLOCKS:
            others.append(index)
    if flooded:
        yield _flooded(settings, flooded)
    if others:
        yield Finding(
            f"{_CHECK} blocks",
            False,
            f"{len(others)} indices are blocked against writing, {others[0]} among them",
            'somebody has set it: PUT INDEX/_settings {"index.blocks.write": null, "index.blocks.read_only": null}',
        )


def _flooded(settings: Settings, indices: list[str]) -> Finding:
    return Finding(
        f"{_CHECK} disk",
        False,
        "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block: there is too "
        f"little space on disk, {len(indices)} indices take no documents, {indices[0]} among them",
        "add disk or change Elasticsearch's settings: PUT _cluster/settings with "
        "cluster.routing.allocation.disk.watermark.low (85 %), .high (90 %) and .flood_stage (95 %). Below the high watermark it "
        f"lifts the block by itself; by hand: PUT {settings.prefix}rayfold-*/_settings "
        '{"index.blocks.read_only_allow_delete": null}. Events are taken all the while and stored after that',
    )
