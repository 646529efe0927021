"""A log that passes the contract: one process' connection to the broker."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from pipeline.errors import Fenced
from pipeline.log.port import BEGINNING, Backlog, Message, Position
from tests.simulation.broker import Broker, Group
from tests.simulation.member import Member
from tests.simulation.process import Process

T = TypeVar("T")


class _Writer:
    """See `pipeline.log.port.Writer`."""

    def __init__(self, log: "SimulatedLog", topic: str, partition: int, epoch: int) -> None:
        self._log = log
        self._topic = topic
        self._partition = partition
        self._epoch = epoch

    async def append(self, data: bytes, records: int) -> Position:
        broker = self._log.broker

        def append() -> Position:
            newest = broker.topics[self._topic].partitions[self._partition].epoch
            if broker.faults.fences and newest != self._epoch:
                broker.count("fenced")
                raise Fenced(f"partition {self._partition} of {self._topic} has a newer writer")
            return broker.append(self._topic, self._partition, data, records, shared=False)

        return await self._log.process.call(append)


class SimulatedLog:
    """See `pipeline.log.port.Log`: one process' connection to the broker."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self.broker = broker
        self.process = process
        self._seen = {name: topic.version for name, topic in broker.topics.items()}

    @property
    def partitions(self) -> int:
        return len(self.broker.topics["collected"].partitions)

    async def _ask(self, effect: Callable[[], T]) -> T:
        def asked() -> T:
            self.broker.answer()
            return effect()

        return await self.process.call(asked)

    async def _step(self, effect: Callable[[], T]) -> T:
        self.process.step()
        return await self._ask(effect)

    async def append(self, topic: str, partition: int, data: bytes, records: int) -> Position:
        return await self._ask(lambda: self.broker.append(topic, partition, data, records, shared=True))

    async def check(self) -> None:
        await self._ask(lambda: None)

    async def exclusive(self, topic: str, partition: int) -> _Writer:
        def open_it() -> _Writer:
            where = self.broker.topics[topic].partitions[partition]
            where.epoch += 1
            return _Writer(self, topic, partition, where.epoch)

        return await self._ask(open_it)

    async def join(self, topic: str, group: str, worker: str) -> Member:
        def join() -> Member:
            found = self.broker.group(topic, group)
            return Member(self.broker, topic, group, found, worker, self.process)

        return await self._ask(join)

    async def create_group(self, topic: str, group: str, at: Literal["start", "end"] | int) -> None:
        def create() -> None:
            where = self.broker.topics[topic]
            if group not in where.groups:
                where.groups[group] = made = Group()
                if at != "start":
                    made.committed = {
                        number: before[-1].position
                        for number, one in enumerate(where.partitions)
                        if (before := [m for m in one.messages if at == "end" or m.published_ms < at])
                    }
                    made.persisted = dict(made.committed)

        await self._step(create)

    async def drop_group(self, topic: str, group: str) -> None:
        await self._step(lambda: self.broker.drop(topic, group))

    async def groups(self, topic: str) -> Sequence[str]:
        return await self._step(lambda: sorted(self.broker.topics[topic].groups))

    async def read(
        self, topic: str, partition: int, after: Position, max_bytes: int, *, inclusive: bool = False
    ) -> Sequence[Message]:
        return await self._ask(lambda: self.broker.read(topic, partition, after, max_bytes, inclusive=inclusive))

    async def wait(self, topic: str, timeout_s: float) -> None:
        where = self.broker.topics[topic]
        if self._seen[topic] == where.version:
            await where.wait(timeout_s)
        await self.process.gate()
        self._seen[topic] = where.version

    async def last(self, topic: str, partition: int) -> Message | None:
        def last() -> Message | None:
            where = self.broker.topics[topic].partitions[partition]
            return where.messages[-1] if len(where.messages) > where.first else None

        return await self._ask(last)

    async def committed(self, topic: str, partition: int, group: str, *, max_age_s: float = 0) -> Position:
        def committed() -> Position:
            found = self.broker.topics[topic].groups.get(group)
            return BEGINNING if found is None else found.committed.get(partition, BEGINNING)

        return await self._ask(committed)

    async def backlog(self, topic: str, group: str) -> Backlog:
        def backlog() -> Backlog:
            found = self.broker.group(topic, group)
            records, oldest = 0, self.broker.now_ms()
            for number in range(self.partitions):
                for message in self.broker.read(topic, number, found.committed.get(number, BEGINNING), 1 << 62):
                    records += message.records
                    oldest = min(oldest, message.published_ms)
            return Backlog(records, (self.broker.now_ms() - oldest) / 1000)

        return await self._ask(backlog)

    async def trim(self, topic: str, older_than_ms: int) -> int:
        return await self._ask(lambda: self.broker.trim(topic, older_than_ms))

    async def close(self) -> None:
        """Nothing is under way once its callers have returned."""
