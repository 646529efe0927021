"""One reader's place in a group of the simulated log."""

import asyncio
from collections.abc import Sequence

from pipeline.errors import NotFound
from pipeline.log.port import BEGINNING, Message, Position
from tests.simulation.broker import Broker, Group
from tests.simulation.process import Process

#: A member that is stopped for longer loses its partitions.
LEASE_S = 3.0


class Member:
    """See `pipeline.log.port.Membership`. It learns of changes late, as from a broker."""

    def __init__(self, broker: Broker, topic: str, name: str, group: Group, worker: str, process: Process) -> None:
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
