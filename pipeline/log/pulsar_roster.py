"""Who is in which group of a topic, as the broker tells: asked for as long as somebody of this process is a member."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pipeline.errors import LogUnavailable, Misconfigured, NotFound
from pipeline.log.pulsar_admin import PulsarAdmin
from pipeline.log.pulsar_connection import PulsarConnection

#: Between two questions: a dropped group or another's death is known within a second.
_ASK_S = 0.4

#: The property of a subscription that makes it a group, and tells it from an earlier one of its name.
LIFE = "life"

_WITHOUT = {"excludePublishers": "true", "subscriptionBacklogSize": "false"}


class Group(NamedTuple):
    """One group as the broker knows it in one partition."""

    life: str
    workers: Sequence[str]  #: sorted


class Listed(Protocol):
    """A member that wants to know."""

    def heard(self, groups: Mapping[str, Group]) -> None:
        """The groups of the topic now, by name."""
        ...

    async def tend(self) -> None:
        """Replace what was lost with the connection; raises `LogUnavailable` when it cannot now."""
        ...


class PulsarRoster:
    """Every member has a consumer at partition 0: who is connected there is a member, and nobody else."""

    def __init__(self, connection: PulsarConnection, admin: PulsarAdmin, topic: str) -> None:
        self._connection = connection
        self._admin = admin
        self._topic = topic
        self._members: set[Listed] = set()
        self._asking: asyncio.Task[None] | None = None

    async def groups(self, partition: int = 0) -> Mapping[str, Group]:
        """All groups of the topic, asked now."""
        path = self._connection.address.path(self._topic, partition) + "/stats"
        status, statistics = await self._admin.call("GET", path, query=_WITHOUT, ok=(404,))
        if status == 404:
            raise Misconfigured(f"there is no topic {self._topic} on Pulsar: run `rayfold migrate`")
        return {
            name: Group(life, sorted(consumer["consumerName"] for consumer in one["consumers"]))
            for name, one in statistics["subscriptions"].items()
            if (life := (one.get("subscriptionProperties") or {}).get(LIFE))
        }

    async def group(self, name: str) -> Group:
        """One group, asked now. Raises `NotFound`."""
        found = (await self.groups()).get(name)
        if found is None:
            raise NotFound(
                f"there is no group {name} of {self._topic}: run `rayfold migrate`, or put its destination again"
            )
        return found

    def add(self, member: Listed) -> None:
        self._members.add(member)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name=f"members of {self._topic}")

    async def remove(self, member: Listed) -> None:
        self._members.discard(member)
        if not self._members:
            await self.close()

    async def look(self) -> None:
        """Tell all members now."""
        groups = await self.groups()
        for member in tuple(self._members):
            member.heard(groups)

    async def _ask(self) -> None:
        while True:
            try:
                await self.look()
            except LogUnavailable:
                self._doubt()
            except Misconfigured:
                pass  # whoever uses the log next is told
            for member in tuple(self._members):
                with contextlib.suppress(LogUnavailable, Misconfigured, NotFound):  # again after the next look
                    await member.tend()
            await self._connection.clock.sleep(_ASK_S)

    def _doubt(self) -> None:
        try:
            self._connection.doubt(self._connection.current())
        except (LogUnavailable, Misconfigured):
            return  # known already

    async def close(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
