"""A log that passes the contract and misbehaves as brokers do: the broker, and one process' view of it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, TypeVar

from pipeline.errors import Fenced, LogUnavailable, NotFound
from pipeline.log.port import BEGINNING, Backlog, Message, Position
from pipeline.topics import TOPICS
from tests.simulation.process import Process

T = TypeVar("T")

#: A member that is stopped for longer loses its partitions.
LEASE_S = 3.0


@dataclass
class Faults:
    """What the broker does wrong. Everything off: it is a good one."""

    away: bool = False  #: it answers nobody
    lost: float = 0.0  #: appends that fail, of all appends: some are stored all the same, some are not
    twice: float = 0.0  #: appends that are stored twice in a row, as after a reconnect
    late: float = 0.0  #: appends to a topic of many writers of which a copy may land much later
    forgets: float = 0.0  #: restarts of a reader at which commits that were not persisted are lost
    fences: bool = True
    keeps_last: bool = True
    trims: bool = True  #: retention is at work


@dataclass
class _Partition:
    messages: list[Message] = field(default_factory=list)  #: all that ever were
    first: int = 0  #: index of the first that is kept
    epoch: int = 0


@dataclass(eq=False)
class _Group:
    committed: dict[int, Position] = field(default_factory=dict)
    persisted: dict[int, Position] = field(default_factory=dict)
    members: dict[str, "Member"] = field(default_factory=dict)
    dropped: bool = False


class _Topic:
    def __init__(self, partitions: int) -> None:
        self.partitions = [_Partition() for _ in range(partitions)]
        self.groups: dict[str, _Group] = {}
        self.version = 0
        self._waiting: list[asyncio.Future[None]] = []

    def changed(self) -> None:
        """Wake whoever waits."""
        self.version += 1
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def wait(self, timeout_s: float) -> None:
        """Until the next change, or time is over."""
        one = asyncio.get_running_loop().create_future()
        self._waiting.append(one)
        timer = asyncio.get_running_loop().call_later(timeout_s, _over, one)
        try:
            await one
        finally:
            timer.cancel()


def _over(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


class Broker:
    """What all processes share. `now_ms`: the broker's clock; `delay_s`: how long news take."""

    def __init__(
        self, partitions: int, now_ms: Callable[[], int], random: Random, delay_s: Callable[[], float]
    ) -> None:
        self.faults = Faults()
        self.topics = {name: _Topic(partitions) for name in TOPICS}
        self.copies: list[tuple[str, int, bytes, int]] = []  #: of appends, not landed yet
        self.seen: dict[str, int] = {}  #: how often each fault happened
        self.members: list[Member] = []  #: every one there ever was
        self.now_ms = now_ms
        self.random = random
        self.delay_s = delay_s
        self.on_drop: Callable[[str], None] = lambda group: None

    def count(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1

    def history(self, topic: str, partition: int) -> Sequence[Message]:
        """Everything ever appended, what retention has dropped included: for the judge only."""
        return self.topics[topic].partitions[partition].messages

    # ---- appends

    def store(self, topic: str, partition: int, data: bytes, records: int) -> Position:
        """One message is durable from now on."""
        where = self.topics[topic]
        messages = where.partitions[partition].messages
        position = Position(0, len(messages))
        messages.append(Message(partition, position, self.now_ms(), records, data))
        where.changed()
        return position

    def append(self, topic: str, partition: int, data: bytes, records: int, *, shared: bool) -> Position:
        """Store a message, once or twice, or not at all; say so, or not."""
        self.answer()
        faults, chance = self.faults, self.random.random
        if faults.lost and chance() < faults.lost:
            if shared and faults.late and chance() < 0.5:  # its client goes on trying, though nobody waits any more
                self.copies.append((topic, partition, data, records))
            if chance() < 0.5:
                self.count("append lost")
                raise LogUnavailable("the append did not arrive")
            self.count("append stored but not acknowledged")
            self.store(topic, partition, data, records)
            if not shared and faults.twice:
                epoch = self.topics[topic].partitions[partition].epoch
                asyncio.get_running_loop().call_later(
                    self.random.random(), self._suffix, topic, partition, epoch, data, records
                )
            raise LogUnavailable("the append was not acknowledged")
        position = self.store(topic, partition, data, records)
        if faults.twice and chance() < faults.twice:
            self.count("envelope stored twice")
            self.store(topic, partition, data, records)
        if shared and faults.late and chance() < faults.late:
            self.copies.append((topic, partition, data, records))
        return position

    def _suffix(self, topic: str, partition: int, epoch: int, data: bytes, records: int) -> None:
        """What was not acknowledged is stored again after a reconnect, unless its writer has been fenced."""
        if self.topics[topic].partitions[partition].epoch == epoch or not self.faults.fences:
            self.count("unacknowledged envelope stored again")
            self.store(topic, partition, data, records)

    def land_copy(self) -> None:
        """A copy of some old append is stored."""
        if self.copies:
            self.count("old envelope stored again")
            self.store(*self.copies.pop(self.random.randrange(len(self.copies))))

    def answer(self) -> None:
        if self.faults.away:
            raise LogUnavailable("the broker is away")

    # ---- groups

    def group(self, topic: str, name: str) -> _Group:
        group = self.topics[topic].groups.get(name)
        if group is None:
            raise NotFound(f"there is no group {name} on {topic}")
        return group

    def commit(self, group: _Group, partition: int, position: Position) -> None:
        if group.dropped:
            raise NotFound("the group was dropped")
        if position > group.committed.get(partition, BEGINNING):
            group.committed[partition] = position
            if self.random.random() < 0.5:
                group.persisted[partition] = position

    def forget_commits(self, group: _Group, partition: int) -> None:
        """As a broker that died before it had written the newest commits: whoever reads is given that again."""
        if self.faults.forgets and self.random.random() < self.faults.forgets:
            persisted = group.persisted.get(partition, BEGINNING)
            if group.committed.get(partition, BEGINNING) != persisted:
                self.count("commits forgotten")
                group.committed[partition] = persisted
                for member in self.members:  # those whose lease has ended too: they come back and go on
                    if member.group is group:
                        member.rewind(partition, persisted)

    def drop(self, topic: str, name: str) -> None:
        group = self.topics[topic].groups.pop(name, None)
        if group is not None:
            group.dropped = True
            self.on_drop(name)
            for member in list(group.members.values()):
                member.tell()
            self.topics[topic].changed()

    def members_of(self, process: Process) -> list["Member"]:
        """Its places in all groups, those it has lost included."""
        return [one for one in self.members if one.process is process]

    # ---- retention

    def trim(self, topic: str, older_than_ms: int) -> int:
        """What is old and done with goes, by what is persisted of commits; the last one stays."""
        dropped = 0
        if not self.faults.trims:
            return dropped
        groups = self.topics[topic].groups.values()
        further = 0 if self.faults.keeps_last else 1
        for number, partition in enumerate(self.topics[topic].partitions):
            end = len(partition.messages) - 1
            keep = further + min([end, *(max(-1, group.persisted.get(number, BEGINNING).entry) for group in groups)])
            while partition.first < keep and partition.messages[partition.first].published_ms < older_than_ms:
                partition.first += 1
                dropped += 1
        if dropped:
            self.count("retention dropped something")
        return dropped

    def read(
        self, topic: str, partition: int, after: Position, max_bytes: int, *, inclusive: bool = False
    ) -> list[Message]:
        where = self.topics[topic].partitions[partition]
        found: list[Message] = []
        size = 0
        for message in where.messages[max(where.first, after.entry + (0 if inclusive else 1)) :]:
            found.append(message)
            size += len(message.data)
            if size >= max_bytes:
                break
        return found


class Member:
    """See `pipeline.log.port.Membership`. It learns of changes late, as from a broker."""

    def __init__(self, broker: Broker, topic: str, name: str, group: _Group, worker: str, process: Process) -> None:
        self._broker = broker
        self._topic = broker.topics[topic]
        self._topic_name = topic
        self._name = name
        self.group = group
        self._worker = worker
        self.process = process
        self._cursors: dict[int, Position] = {}
        self._closed = False
        self._seen = self._topic.version
        self.held: frozenset[int] = frozenset()
        self._held_seen = self.held
        group.members[worker] = self
        broker.members.append(self)
        process.on_death.append(self._leave)
        if not process.alive:  # it died while it asked
            asyncio.get_running_loop().call_later(LEASE_S, self._leave)
        self._rebalance()

    def _rebalance(self) -> None:
        for member in list(self.group.members.values()):
            member.tell()

    def tell(self) -> None:
        """The assignment may have changed; this member hears of it a little later."""
        delay = self._broker.delay_s()
        if delay and not self.group.dropped:
            asyncio.get_running_loop().call_later(delay, self._look)
        else:
            self._look()

    def _look(self) -> None:
        if self.process.paused:
            asyncio.get_running_loop().call_later(0.1, self._look)
            return
        live = sorted(self.group.members)
        if self.group.dropped or self._worker not in live:
            held: frozenset[int] = frozenset()
        else:
            count = len(self._topic.partitions)
            held = frozenset(n for n in range(count) if live[n % len(live)] == self._worker)
        if held != self.held:
            self.held = held
            self._topic.changed()

    def rewind(self, partition: int, position: Position) -> None:
        """The broker gives what comes after this position once more."""
        if partition in self._cursors:
            self._cursors[partition] = min(self._cursors[partition], position)

    def expire(self) -> None:
        """The broker has not heard of it for longer than its lease."""
        self._leave()

    def rejoin(self) -> None:
        """It beats again."""
        if (
            not self._closed
            and not self.group.dropped
            and self.process.alive
            and self._worker not in self.group.members
        ):
            self.group.members[self._worker] = self
            self._rebalance()

    def _leave(self) -> None:
        if self.group.members.get(self._worker) is self:
            del self.group.members[self._worker]
            self._rebalance()

    def _check(self) -> None:
        self._broker.answer()
        if self.group.dropped:
            raise NotFound(f"the group {self._name} was dropped")

    async def read(self, partition: int, max_bytes: int) -> Sequence[Message]:
        def read() -> list[Message]:
            self._check()
            after = self._cursors.get(partition)
            if after is None:
                after = self.group.committed.get(partition, BEGINNING)
            found = self._broker.read(self._topic_name, partition, after, max_bytes)
            if found:
                self._cursors[partition] = found[-1].position
            return found

        return await self.process.call(read)

    async def restart(self, partition: int) -> None:
        def restart() -> None:
            self._broker.answer()
            if not self.group.dropped:
                self._broker.forget_commits(self.group, partition)
            self._cursors[partition] = self.group.committed.get(partition, BEGINNING)

        await self.process.call(restart)

    async def commit(self, partition: int, position: Position) -> None:
        def commit() -> None:
            self._check()
            self._broker.commit(self.group, partition, position)

        await self.process.call(commit)

    async def wait(self, timeout_s: float) -> None:
        if self._seen == self._topic.version and self._held_seen == self.held and not self.group.dropped:
            await self._topic.wait(timeout_s)
        await self.process.gate()
        if self.group.dropped:
            raise NotFound(f"the group {self._name} was dropped")
        self._seen, self._held_seen = self._topic.version, self.held

    async def close(self) -> None:
        self._closed = True

        def close() -> None:
            self._leave()
            self.held = frozenset()

        await self.process.call(close)


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
                where.groups[group] = made = _Group()
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

    async def committed(self, topic: str, partition: int, group: str) -> Position:
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
