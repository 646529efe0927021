"""Groups of a topic on Pulsar: durable subscriptions of every partition that carry a life."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from pipeline.log.pulsar_address import PulsarAddress
from pipeline.log.pulsar_admin import PulsarAdmin
from pipeline.log.pulsar_roster import LIFE

#: A subscription that is no group: what it has not passed the broker keeps, see `PulsarLog.trim`.
KEEPER = "~keeper"

_EARLIEST = {"ledgerId": -1, "entryId": -1}
_LATEST = {"ledgerId": 2**63 - 1, "entryId": 2**63 - 1}


async def create(
    admin: PulsarAdmin, address: PulsarAddress, topic: str, group: str, at: Literal["start", "end"] | int
) -> None:
    """In every partition where it is missing."""
    life = uuid.uuid4().hex

    async def in_partition(partition: int) -> None:
        begin = await _begin(admin, address, topic, partition, at)
        await subscribe(admin, address, topic, partition, group, {**begin, "properties": {LIFE: life}})

    # the first one makes it: who joins asks there
    for partition in reversed(range(1, address.partitions)):
        await in_partition(partition)
    await in_partition(0)


async def subscribe(
    admin: PulsarAdmin,
    address: PulsarAddress,
    topic: str,
    partition: int,
    name: str,
    body: Mapping[str, object] = _EARLIEST,
) -> None:
    """One subscription of one partition, at its start unless `body` says otherwise; an existing one stays as it is."""
    path = f"{address.path(topic, partition)}/subscription/{quote(name, safe='')}"
    await admin.call("PUT", path, {"partitionIndex": partition, **body}, ok=(409,))


async def _begin(
    admin: PulsarAdmin, address: PulsarAddress, topic: str, partition: int, at: Literal["start", "end"] | int
) -> Mapping[str, object]:
    if at == "start":
        return _EARLIEST
    if at == "end":
        return _LATEST
    found: Any
    _, found = await admin.call("GET", f"{address.path(topic, partition)}/messageid/{at}")
    return {"ledgerId": found["ledgerId"], "entryId": found["entryId"]}


async def drop(admin: PulsarAdmin, address: PulsarAddress, topic: str, group: str) -> None:
    """In every partition, with whoever is a member."""
    name = quote(group, safe="")

    async def in_partition(partition: int) -> None:
        path = f"{address.path(topic, partition)}/subscription/{name}"
        await admin.call("DELETE", path, query={"force": "true"}, ok=(404,))

    await asyncio.gather(*(in_partition(partition) for partition in range(1, address.partitions)))
    await in_partition(0)  # the last: while it is there the group is listed, and can be dropped again
