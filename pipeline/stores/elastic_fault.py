"""What Elasticsearch's errors mean: why, and what to do about it."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from pipeline.errors import StoreUnavailable

#: How the reason of a block by the flood-stage watermark says so.
_FLOOD = "TOO_MANY_REQUESTS/12"

#: Answers that pass by themselves within seconds: a shard that is only just being opened.
OPENING = frozenset(
    ("no_shard_available_action_exception", "shard_not_found_exception", "illegal_index_shard_state_exception")
)

MISSING = "index_not_found_exception"
CLOSED = "index_closed_exception"
NO_SHARD = "unavailable_shards_exception"

_LONGEST_REASON = 500


class Cause(msgspec.Struct, frozen=True):
    type: str = ""
    reason: str | None = None
    caused_by: "Cause | None" = None
    index: str | None = None

    @property
    def text(self) -> str:
        """Its reason and that of what caused it."""
        inner = f": {self.caused_by.text}" if self.caused_by is not None else ""
        return f"{self.reason or self.type}{inner}"[:_LONGEST_REASON]


class _Failure(msgspec.Struct, frozen=True):
    error: Cause | str = ""


class Fault(NamedTuple):
    """An answer that is no success, of a request or of one document in it."""

    status: int
    cause: Cause


_decode = msgspec.json.Decoder(_Failure).decode


def fault_of(status: int, data: bytes) -> Fault:
    """Of a whole request."""
    try:
        error = _decode(data).error
    except (msgspec.DecodeError, UnicodeDecodeError):  # of whatever stands between
        error = data[:_LONGEST_REASON].decode(errors="replace")
    return Fault(status, error if isinstance(error, Cause) else Cause("", error or f"status {status}"))


#: By type of error, what to say about the index.
_SAID: Mapping[str, str] = {
    CLOSED: "{index} is closed: open it (POST /{index}/_open)",
    MISSING: "{index} is missing: run `rayfold migrate`, and if it was deleted put it back from a snapshot",
    NO_SHARD: "{index} has no active shard: look at GET /_cluster/health and bring its nodes back",
    "es_rejected_execution_exception": "Elasticsearch has more to do than it can take: give it more memory (heap) or CPU, "
    "or send it less",
    "circuit_breaking_exception": "Elasticsearch is short of memory: give it more heap",
    "process_cluster_event_timeout_exception": "Elasticsearch's master is too busy: look at GET /_cluster/pending_tasks",
    "master_not_discovered_exception": "the cluster has no master: bring its nodes back",
}


def unavailable(fault: Fault, index: str) -> StoreUnavailable:
    """What to raise for it: cause and cure. `index`: what was asked."""
    status, cause = fault
    name = f"index {cause.index or index}" if cause.index or index else "the index"
    return StoreUnavailable(
        f"Elasticsearch cannot be used just now: {_said(status, cause, name)} [{status} {cause.text}]"
    )


def _said(status: int, cause: Cause, name: str) -> str:
    if cause.type == "cluster_block_exception":
        bare = name.removeprefix("index ")
        if _FLOOD in cause.text:
            return (
                f"its disk is nearly full (flood-stage watermark), {name} takes no writes. Add or free disk, or change "
                "cluster.routing.allocation.disk.watermark.low, cluster.routing.allocation.disk.watermark.high and "
                "cluster.routing.allocation.disk.watermark.flood_stage by PUT /_cluster/settings; below the high watermark the "
                f"block goes by itself, by hand with PUT /{bare}/_settings "
                '{"index.blocks.read_only_allow_delete": null}'
            )
        return (
            f"{name} is blocked: take the block off with PUT /{bare}/_settings "
            '{"index.blocks.write": null, "index.blocks.read_only": null}'
        )
    if status == 401:
        return (
            "it does not accept the user name and password, or the API key: see RAYFOLD_DOCUMENTS_USERNAME and the like"
        )
    if status == 403:
        return f"the user lacks a privilege on {name}: it needs read, write and manage"
    if status == 413:
        return "a document is larger than what it or a proxy before it takes: raise http.max_content_length there"
    said = _SAID.get(cause.type)
    if said is not None:
        return said.format(index=name.removeprefix("index ")) if "/" in said else said.format(index=name)
    return "it answered with an error"
