"""A worker's membership in a group of a topic on Pulsar."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from pipeline.errors import LogUnavailable, NotFound
from pipeline.log.port import BEGINNING, Message, Position
from pipeline.log.pulsar_client import Client, Consumer, PulsarFault
from pipeline.log.pulsar_connection import PulsarConnection
from pipeline.log.pulsar_reader import PulsarReader
from pipeline.log.pulsar_roster import Group, PulsarRoster

_log = logging.getLogger(__name__)

#: How long a namesake that was just killed may take to vanish, and between two looks.
_NAMESAKE_S = 5.0
_LOOK_S = 0.1


class PulsarMembership:
    """See `pipeline.log.port.Membership`. Made by `join`.

    A consumer of the group's failover subscription at partition 0 makes it a member, those at other partitions carry its
    acknowledgements; messages come by readers, which begin again anywhere without disturbing the other members.
    """

    def __init__(
        self,
        connection: PulsarConnection,
        roster: PulsarRoster,
        topic: str,
        group: str,
        life: str,
        worker: str,
        committed: Callable[[int], Awaitable[Position]],
    ) -> None:
        self._connection = connection
        self._roster = roster
        self._topic = topic
        self._group = group
        self._life = life
        self._worker = worker
        self._committed = committed
        self._client: Client | None = None
        self._consumers: dict[int, Consumer] = {}
        self._consuming = asyncio.Lock()
        self._readers: dict[int, PulsarReader] = {}
        self._done: dict[int, Position] = {}
        self._told: dict[int, Position] = {}
        self._held: frozenset[int] = frozenset()
        self._news = asyncio.Event()
        self._gone = False
        self._closed = False

    @classmethod
    async def join(
        cls,
        connection: PulsarConnection,
        roster: PulsarRoster,
        topic: str,
        group: str,
        worker: str,
        committed: Callable[[int], Awaitable[Position]],
    ) -> "PulsarMembership":
        """Raises `NotFound` for a group that was never made, `LogUnavailable` while a live namesake is in it."""
        await connection.client()
        deadline = connection.clock.monotonic() + _NAMESAKE_S
        while worker in (found := await roster.group(group)).workers:
            if connection.clock.monotonic() > deadline:
                raise LogUnavailable(
                    f"a worker named {worker!r} lives in group {group} already: give each a name of its own, "
                    "or end the other one"
                )
            await connection.clock.sleep(_LOOK_S)
        member = cls(connection, roster, topic, group, found.life, worker, committed)
        await member._consumer(0)
        roster.add(member)
        try:
            await roster.look()
        except BaseException:
            await member.close()
            raise
        return member

    @property
    def held(self) -> frozenset[int]:
        return self._held

    def heard(self, groups: Mapping[str, Group]) -> None:
        """See `pipeline.log.pulsar_roster.Listed`."""
        group = groups.get(self._group)
        if group is None or group.life != self._life:
            self.dropped()
            return
        if self._worker not in group.workers:
            return  # its consumer was lost, and will be replaced: others may take over, and fence
        place, count = group.workers.index(self._worker), len(group.workers)
        held = frozenset(p for p in range(self._connection.address.partitions) if p % count == place)
        if held != self._held:
            self._held = held
            self._news.set()
            for partition in self._readers.keys() - held:
                self._readers[partition].close()

    def of(self, topic: str, group: str) -> bool:
        """Whether it is a member of this group."""
        return (self._topic, self._group) == (topic, group)

    def dropped(self) -> None:
        """The group is gone, whatever bears its name now."""
        if self._gone:
            return
        self._gone, self._held = True, frozenset()
        self._news.set()
        for reader in self._readers.values():
            reader.close()
        self._discard()

    def _discard(self) -> None:
        for consumer in self._consumers.values():
            consumer.discard()
        self._consumers.clear()

    async def tend(self) -> None:
        """See `pipeline.log.pulsar_roster.Listed`."""
        if self._gone or self._closed:
            return
        await self._consumer(0)
        for partition in self._done:
            await self._acknowledge(partition)
        for partition in self._held:
            await self._reader(partition).follow()

    def _check(self) -> None:
        if self._gone:
            raise NotFound(f"group {self._group} was dropped: what it had read was committed nowhere")

    def _reader(self, partition: int) -> PulsarReader:
        reader = self._readers.get(partition)
        if reader is None:
            reader = self._readers[partition] = PulsarReader(
                self._connection, self._topic, partition, partial(self._begin, partition), self._news.set
            )
        return reader

    async def _begin(self, partition: int) -> Position:
        return max(await self._committed(partition), self.done(partition))

    def done(self, partition: int) -> Position:
        """Committed here, though the broker may not know it yet."""
        return BEGINNING if self._gone else self._done.get(partition, BEGINNING)

    async def read(self, partition: int, max_bytes: int) -> Sequence[Message]:
        self._check()
        messages = await self._reader(partition).read(max_bytes)
        self._check()
        return messages

    async def restart(self, partition: int) -> None:
        reader = self._readers.get(partition)
        if reader is not None:
            reader.restart()

    async def commit(self, partition: int, position: Position) -> None:
        self._check()
        if position > self._done.get(partition, BEGINNING):
            self._done[partition] = position
            await self._acknowledge(partition)

    async def _acknowledge(self, partition: int) -> None:
        consumer = await self._consumer(partition)
        position = self._done[partition]
        if position > self._told.get(partition, BEGINNING):
            self._told[partition] = position
            consumer.acknowledge(position)

    async def _consumer(self, partition: int) -> Consumer:
        async with self._consuming:
            self._check()
            client = await self._connection.client()
            if client is not self._client:
                self._consumers.clear()
                self._client = client
            consumer = self._consumers.get(partition)
            if consumer is not None and consumer.is_connected:
                return consumer
            if consumer is not None:
                consumer.discard()
            self._consumers.pop(partition, None)
            self._told.pop(partition, None)
            name = self._connection.address.partition(self._topic, partition)
            try:
                consumer = await client.consumer(name, self._group, self._worker)
            except PulsarFault as error:
                self._connection.doubt(client)
                raise LogUnavailable(
                    f"group {self._group} of {name} cannot be joined on Pulsar now: {error}"
                ) from error
            self._consumers[partition] = consumer
            return consumer

    async def wait(self, timeout_s: float) -> None:
        self._check()
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()
        self._check()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._roster.remove(self)
        for reader in self._readers.values():
            reader.close()
        async with self._consuming:
            consumers, self._consumers = self._consumers, {}
            outcomes = await asyncio.gather(*(one.close() for one in consumers.values()), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, PulsarFault):
                _log.info("a consumer of %s did not leave group %s in order: %s", self._worker, self._group, outcome)
