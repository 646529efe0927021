"""What an operator has to know of Elasticsearch."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from pipeline.stores.elastic_client import ElasticClient
from pipeline.stores.elastic_fault import Cause, Fault, unavailable
from pipeline.stores.elastic_indices import Indices

#: Major versions that the adapter is made for.
_OLDEST, _NEWEST = 8, 9

_WITHIN_S = 10.0


class State(NamedTuple):
    """Of the cluster."""

    status: str  #: green, yellow or red
    version: str  #: of the node that answered


class _Cluster(msgspec.Struct, frozen=True):
    status: str


class _Node(msgspec.Struct, frozen=True):
    version: str = ""


class _Nodes(msgspec.Struct, frozen=True):
    nodes: dict[str, _Node] = {}


class _Index(msgspec.Struct, frozen=True):
    settings: dict[str, str] = {}


_decode_cluster = msgspec.json.Decoder(_Cluster).decode
_decode_nodes = msgspec.json.Decoder(_Nodes).decode
_decode_settings = msgspec.json.Decoder(dict[str, _Index]).decode


class Health:
    """All methods raise `StoreUnavailable` when Elasticsearch does not answer."""

    def __init__(self, client: ElasticClient, indices: Indices) -> None:
        self._client = client
        self._indices = indices

    async def state(self) -> State:
        # never GET /: not every distribution answers it
        cluster = await self._client.call("GET", "/_cluster/health", within_s=_WITHIN_S)
        nodes = await self._client.call("GET", "/_nodes/_local?filter_path=nodes.*.version", within_s=_WITHIN_S)
        versions = [node.version for node in _decode_nodes(nodes.data).nodes.values()]
        return State(_decode_cluster(cluster.data).status, versions[0] if versions else "")

    async def trouble(self) -> Sequence[str]:
        """What keeps it from taking or finding documents, with the cure; empty when nothing does."""
        state = await self.state()
        found = []
        major = state.version.partition(".")[0]
        if major.isdigit() and not _OLDEST <= int(major) <= _NEWEST:
            found.append(
                f"Elasticsearch is {state.version}, Rayfold is made for {_OLDEST} and {_NEWEST}: use one of those"
            )
        if state.status == "red":
            found.append(
                "Elasticsearch's health is red, shards are missing: look at GET /_cluster/health and bring nodes back"
            )
        for index, settings in (await self._settings()).items():
            said = _said(index, settings)
            if said:
                found.append(said)
        return found

    async def _settings(self) -> Mapping[str, Mapping[str, str]]:
        target = (
            f"/{self._indices.pattern}/_settings/index.blocks.*,index.verified_before_close"
            "?flat_settings=true&expand_wildcards=all&ignore_unavailable=true&allow_no_indices=true"
        )
        answer = await self._client.call("GET", target, within_s=_WITHIN_S)
        return {index: one.settings for index, one in _decode_settings(answer.data).items()}


def _said(index: str, settings: Mapping[str, str]) -> str:
    if settings.get("index.verified_before_close") == "true":
        fault = Fault(400, Cause("index_closed_exception"))
    elif settings.get("index.blocks.read_only_allow_delete") == "true":
        fault = Fault(429, Cause("cluster_block_exception", "TOO_MANY_REQUESTS/12"))
    elif "true" in (settings.get("index.blocks.write"), settings.get("index.blocks.read_only")):
        fault = Fault(403, Cause("cluster_block_exception", "write block"))
    else:
        return ""
    return str(unavailable(fault, index))
