"""Retention: whole indices are dropped once all of their time has passed."""

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.clock import Clock
from pipeline.stores.documents import Kind
from pipeline.stores.elastic_client import ElasticClient
from pipeline.stores.elastic_indices import TIMES, Indices

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Retention:
    def __init__(self, client: ElasticClient, indices: Indices, clock: Clock) -> None:
        self._client = client
        self._indices = indices
        self._clock = clock

    async def existing(self, kind: Kind) -> Sequence[str]:
        """Indices of a kind that is cut by time, the newest first."""
        name = self._indices.name(kind)
        answer = await self._client.call("GET", f"/_alias/{name}", index=name, ok=(404,))
        return sorted(_decode(answer.data), reverse=True) if answer.status == 200 else []

    async def drop(self, retention_ms: int) -> Sequence[str]:
        """Returns the names of those dropped; one that somebody else dropped meanwhile is not among them."""
        before = self._clock.now_ms() - retention_ms
        dropped = []
        for kind in TIMES:
            for index in await self.existing(kind):
                if self._indices.ended(kind, index, before):
                    answer = await self._client.call("DELETE", f"/{index}", index=index, ok=(404,))
                    if answer.status == 200:
                        dropped.append(index)
        return dropped
