"""The document store: whether it answers and takes documents, and its version."""

import urllib.error
from collections.abc import Iterator
from typing import Any

from cluster.checks.finding import Finding
from cluster.checks.web import Web, basic, reason
from cluster.settings import Settings

_CHECK = "Elasticsearch"
_VERSIONS = range(9, 10)

#: Blocks of an index that keep documents out, beside that of the flood stage.
_BLOCKS = ("read_only", "write")
_FLOOD = "read_only_allow_delete"


def elasticsearch(settings: Settings) -> list[Finding]:
    """Asked directly; never at its root, for which a reduced server has no handler."""
    web = Web(settings.documents, _authorization(settings), settings.documents_ca_file)
    try:
        health = web.get("/_cluster/health?timeout=2s")
        nodes = web.get("/_nodes/_all/none?filter_path=nodes.*.version")["nodes"]
        blocks = web.get(
            f"/{settings.prefix}rayfold-*/_settings/index.blocks.*?expand_wildcards=all&flat_settings=true"
        )
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            cure = "mend RAYFOLD_DOCUMENTS_USERNAME and _PASSWORD, or _API_KEY; docs/operations.md lists the privileges"
            return [Finding(_CHECK, False, f"refuses these credentials (HTTP {error.code})", cure)]
        return [_away(settings, reason(error))]
    except OSError as error:
        return [_away(settings, reason(error))]
    return [_health(health), _versions({node["version"] for node in nodes.values()}), *_blocked(blocks)]


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


def _health(health: Any) -> Finding:
    if health["status"] == "red":
        cure = "bring the missing shards back (`GET _cluster/allocation/explain`); documents wait in the log meanwhile"
        return Finding(_CHECK, False, "its cluster is red: some shards are not there", cure)
    return Finding(_CHECK, True, f"answers, its cluster is {health['status']}")


def _versions(versions: set[str]) -> Finding:
    told = ", ".join(sorted(versions))
    if any(int(version.partition(".")[0]) not in _VERSIONS for version in versions):
        return Finding(f"{_CHECK} version", False, f"{told} is out of range", "use Elasticsearch 9")
    return Finding(f"{_CHECK} version", True, told)


def _blocked(indices: Any) -> Iterator[Finding]:
    flooded, others = [], []
    for index, found in indices.items():
        on = {name.removeprefix("index.blocks.") for name, value in found["settings"].items() if str(value) == "true"}
        if _FLOOD in on:
            flooded.append(index)
        elif on & set(_BLOCKS):
            others.append(index)
    if flooded:
        yield Finding(
            f"{_CHECK} disk",
            False,
            f"flood stage: the disk passed its watermark, {len(flooded)} indices take no documents, {flooded[0]} "
            "among them (index.blocks.read_only_allow_delete)",
            "free or add disk on the Elasticsearch nodes; below the high watermark it lifts the block by itself. Where the limits "
            "are wrong for this disk change cluster.routing.allocation.disk.watermark.flood_stage (95 %), .high (90 %) and .low "
            '(85 %), then PUT _all/_settings {"index.blocks.read_only_allow_delete": null}. Events are taken all the while '
            "and stored after that",
        )
    if others:
        yield Finding(
            f"{_CHECK} blocks",
            False,
            f"{len(others)} indices are blocked against writing, {others[0]} among them",
            "somebody has set index.blocks.write or read_only on them: PUT INDEX/_settings with null for it",
        )
