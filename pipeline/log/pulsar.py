"""The log on Apache Pulsar: a partitioned topic for each topic, a failover subscription for each group."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import quote
from weakref import WeakSet, WeakValueDictionary

from pipeline.clock import Clock
from pipeline.errors import LogUnavailable, Misconfigured, NotFound
from pipeline.log import pulsar_groups
from pipeline.log.port import BEGINNING, Backlog, Message, Position
from pipeline.log.pulsar_address import PulsarAddress
from pipeline.log.pulsar_admin import PulsarAdmin
from pipeline.log.pulsar_client import READER
from pipeline.log.pulsar_connection import PulsarConnection
from pipeline.log.pulsar_ledgers import Ledgers
from pipeline.log.pulsar_membership import PulsarMembership
from pipeline.log.pulsar_reader import PulsarReader
from pipeline.log.pulsar_roster import PulsarRoster
from pipeline.log.pulsar_tail import PulsarTail
from pipeline.log.pulsar_writer import PulsarAppender, PulsarWriter
from pipeline.topics import TOPICS

#: How long `check` believes the last answer.
_BELIEVE_S = 1.0

#: What lies behind a group is counted by reading up to this much of each partition; beyond it is estimated from that.
_SAMPLE_BYTES = 256_000

#: Readers that go on where their caller stopped: each holds some messages.
_READERS = 32

_FINISH_S = 5.0


class PulsarLog:
    """See `pipeline.log.port.Log`. Made by `open`, used from one event loop."""

    def __init__(self, address: PulsarAddress, clock: Clock) -> None:
        self._address = address
        self._clock = clock
        self._admin = PulsarAdmin(address)
        self._connection = PulsarConnection(address, self._admin, clock)
        self._rosters = {topic: PulsarRoster(self._connection, self._admin, topic) for topic in TOPICS}
        self._tails: dict[str, PulsarTail] = {}
        self._appenders: dict[tuple[str, int], PulsarAppender] = {}
        self._writers: WeakValueDictionary[tuple[str, int], PulsarWriter] = WeakValueDictionary()
        self._readers: dict[tuple[str, int], PulsarReader] = {}
        self._memberships: WeakSet[PulsarMembership] = WeakSet()
        self._looks: dict[tuple[str, int], tuple[float, Ledgers]] = {}
        self._checked = float("-inf")

    @classmethod
    async def open(cls, address: PulsarAddress, clock: Clock) -> "PulsarLog":
        """Connect; a broker that is away is no error, calls raise `LogUnavailable` until it is there.

        Raises `Misconfigured` for another partition count, topics that are missing or a token that is refused; a broker that
        was away is asked later, and then every call raises it.
        """
        log = cls(address, clock)
        try:
            with contextlib.suppress(LogUnavailable):
                await log._connection.client()
        except BaseException:
            await log.close()
            raise
        return log

    @property
    def partitions(self) -> int:
        return self._address.partitions

    def _require(self, topic: str, partition: int) -> tuple[str, int]:
        if not 0 <= partition < self.partitions:
            raise NotFound(f"topic {topic} has no partition {partition}, only 0 to {self.partitions - 1}")
        return topic, partition

    async def append(self, topic: str, partition: int, data: bytes, records: int) -> Position:
        key = self._require(topic, partition)
        appender = self._appenders.get(key)
        if appender is None:
            appender = self._appenders[key] = PulsarAppender(self._connection, topic, partition)
        return await appender.append(data, records)

    async def check(self) -> None:
        self._connection.current()
        now = self._clock.monotonic()
        if now - self._checked > _BELIEVE_S:
            await self._connection.check()
            self._checked = now

    async def exclusive(self, topic: str, partition: int) -> PulsarWriter:
        key = self._require(topic, partition)
        writer = await PulsarWriter.open(self._connection, topic, partition)
        older = self._writers.get(key)
        if older is not None:
            older.supersede()
        self._writers[key] = writer
        return writer

    async def join(self, topic: str, group: str, worker: str) -> PulsarMembership:
        async def committed(partition: int) -> Position:
            return await self.committed(topic, partition, group)

        membership = await PulsarMembership.join(
            self._connection, self._rosters[topic], topic, group, worker, committed
        )
        self._memberships.add(membership)
        return membership

    async def create_group(self, topic: str, group: str, at: Literal["start", "end"] | int) -> None:
        await pulsar_groups.create(self._admin, self._address, topic, group, at)

    async def drop_group(self, topic: str, group: str) -> None:
        await pulsar_groups.drop(self._admin, self._address, topic, group)
        for membership in self._memberships:
            if membership.of(topic, group):
                membership.dropped()

    async def groups(self, topic: str) -> Sequence[str]:
        return sorted(await self._rosters[topic].groups())

    async def read(
        self, topic: str, partition: int, after: Position, max_bytes: int, *, inclusive: bool = False
    ) -> Sequence[Message]:
        key = self._require(topic, partition)
        reader = self._readers.pop(key, None)  # nobody else uses it meanwhile
        if reader is not None and (inclusive or reader.after != after):
            reader.close()
            reader = None
        if reader is None:
            reader = PulsarReader(self._connection, topic, partition, self._nowhere)
            reader.start_at(after, is_inclusive=inclusive)
        try:
            return await reader.read(max_bytes)
        finally:
            if max_bytes > 1:
                self._keep(key, reader)
            else:  # one message was wanted
                reader.close()

    async def _nowhere(self) -> Position:
        return BEGINNING

    def _keep(self, key: tuple[str, int], reader: PulsarReader) -> None:
        older = self._readers.pop(key, None)
        if older is not None:
            older.close()
        self._readers[key] = reader
        while len(self._readers) > _READERS:
            self._readers.pop(next(iter(self._readers))).close()

    async def wait(self, topic: str, timeout_s: float) -> None:
        tail = self._tails.get(topic)
        if tail is None:
            tail = self._tails[topic] = PulsarTail(self._connection, topic)
        await tail.wait(timeout_s)

    async def last(self, topic: str, partition: int) -> Message | None:
        position = (await self._look(topic, partition)).last
        if position == BEGINNING:
            return None
        for message in await self.read(topic, partition, position, 1, inclusive=True):
            return message
        raise LogUnavailable(f"the newest message of partition {partition} of {topic} is not there: ask again")

    async def _look(self, topic: str, partition: int, max_age_s: float = 0) -> Ledgers:
        key = self._require(topic, partition)
        now = self._clock.monotonic()
        looked, ledgers = self._looks.get(key, (float("-inf"), None))
        if ledgers is not None and now - looked <= max_age_s:
            return ledgers
        await self._connection.client()
        statistics: Any
        path = f"{self._address.path(topic, partition)}/internalStats"
        status, statistics = await self._admin.call("GET", path, ok=(404,))
        if status == 404:
            raise Misconfigured(f"there is no partition {partition} of {topic} on Pulsar: run `rayfold migrate`")
        ledgers = Ledgers.of(statistics)
        self._looks[key] = now, ledgers
        return ledgers

    async def committed(self, topic: str, partition: int, group: str, *, max_age_s: float = 0) -> Position:
        ledgers = await self._look(topic, partition, max_age_s)
        return self._at(ledgers, topic, partition, group)

    def _at(self, ledgers: Ledgers, topic: str, partition: int, group: str) -> Position:
        """As the broker knows, or members of this process do, whose acknowledgements are on their way."""
        done = [one.done(partition) for one in self._memberships if one.of(topic, group)]
        return max(ledgers.cursors.get(group, BEGINNING), *done) if done else ledgers.cursors.get(group, BEGINNING)

    async def backlog(self, topic: str, group: str) -> Backlog:
        await self._rosters[topic].group(group)
        found = await asyncio.gather(*(self._backlog(topic, group, partition) for partition in range(self.partitions)))
        return Backlog(sum(one.records for one in found), max(one.seconds for one in found))

    async def _backlog(self, topic: str, group: str, partition: int) -> Backlog:
        ledgers = await self._look(topic, partition)
        at = self._at(ledgers, topic, partition, group)
        count = ledgers.behind(at)
        if count <= 0:
            return Backlog(0, 0.0)
        reader = PulsarReader(self._connection, topic, partition, self._nowhere)
        reader.start_at(at, is_inclusive=False)
        try:
            sample = await reader.read(_SAMPLE_BYTES)
        finally:
            reader.close()
        if not sample:
            return Backlog(0, 0.0)
        records = sum(message.records for message in sample)
        if count > len(sample):
            records = round(records * count / len(sample))
        return Backlog(records, max(0.0, (self._clock.now_ms() - sample[0].published_ms) / 1000))

    async def trim(self, topic: str, older_than_ms: int) -> int:
        """The broker drops what every subscription has passed: the keeper passes what groups and rules let go."""
        for partition in range(self.partitions):
            ledgers = await self._look(topic, partition)
            if ledgers.last == BEGINNING:
                continue
            nobodys = (pulsar_groups.KEEPER, READER)
            groups = (at for name, at in ledgers.cursors.items() if not name.startswith(nobodys))
            floor = min((ledgers.last, *groups))
            kept = ledgers.cursors.get(pulsar_groups.KEEPER)
            if kept is None:
                await pulsar_groups.subscribe(self._admin, self._address, topic, partition, pulsar_groups.KEEPER)
            elif floor.ledger > kept.ledger:  # a ledger goes as a whole, or stays
                path = f"{self._address.path(topic, partition)}/subscription/{quote(pulsar_groups.KEEPER, safe='')}"
                body = {"ledgerId": floor.ledger, "entryId": floor.entry, "isExcluded": False}
                await self._admin.call("POST", f"{path}/resetcursor", body)
        return 0

    async def close(self) -> None:
        await asyncio.gather(*(appender.finish(_FINISH_S) for appender in self._appenders.values()))
        await asyncio.gather(*(membership.close() for membership in tuple(self._memberships)))
        for roster in self._rosters.values():
            await roster.close()
        for reader in self._readers.values():
            reader.close()
        for tail in self._tails.values():
            tail.close()
        await self._connection.close()
        await self._admin.close()
