"""A broker that misbehaves as brokers do: what all processes share of the simulated log."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from pipeline.errors import LogUnavailable, NotFound
from pipeline.log.port import BEGINNING, Message, Position
from pipeline.topics import TOPICS
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.member import Member


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
class Partition:
    """What lies in it, and who may write."""

    messages: list[Message] = field(default_factory=list)  #: all that ever were
    first: int = 0  #: index of the first that is kept
    epoch: int = 0


@dataclass(eq=False)
class Group:
    """Readers who share the partitions of a topic, and how far they are."""

    committed: dict[int, Position] = field(default_factory=dict)
    persisted: dict[int, Position] = field(default_factory=dict)
    members: dict[str, "Member"] = field(default_factory=dict)
    dropped: bool = False


class Topic:
    """Its partitions and groups; wakes those who wait for news of it."""

    def __init__(self, partitions: int) -> None:
        self.partitions = [Partition() for _ in range(partitions)]
        self.groups: dict[str, Group] = {}
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
        self.topics = {name: Topic(partitions) for name in TOPICS}
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

    def group(self, topic: str, name: str) -> Group:
        group = self.topics[topic].groups.get(name)
        if group is None:
            raise NotFound(f"there is no group {name} on {topic}")
        return group

    def commit(self, group: Group, partition: int, position: Position) -> None:
        if group.dropped:
            raise NotFound("the group was dropped")
        if position > group.committed.get(partition, BEGINNING):
            group.committed[partition] = position
            if self.random.random() < 0.5:
                group.persisted[partition] = position

    def forget_commits(self, group: Group, partition: int) -> None:
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
