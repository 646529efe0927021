"""Reading one partition of Pulsar on and on, surviving the loss of the connection."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pipeline.errors import LogUnavailable
from pipeline.log.port import Message, Position
from pipeline.log.pulsar_client import Client, PulsarFault, Reader
from pipeline.log.pulsar_connection import PulsarConnection

#: Messages the library fetches ahead for each partition that is read; each is one envelope.
_QUEUE = 8


class PulsarReader:
    """Messages of one partition from a position on. One position, so one caller; calls at the same time take turns."""

    def __init__(
        self,
        connection: PulsarConnection,
        topic: str,
        partition: int,
        start: Callable[[], Awaitable[Position]],
        arrived: Callable[[], None] | None = None,
    ) -> None:
        """`start` tells after which position to begin. `arrived` is called when there is something to read after nothing was."""
        self._connection = connection
        self._topic = topic
        self._partition = partition
        self._start = start
        self._arrived = arrived
        self._turn = asyncio.Lock()
        self._after: Position | None = None
        self._is_inclusive = False
        self._client: Client | None = None
        self._reader: Reader | None = None
        self._ahead: asyncio.Future[Any] | None = None  #: only when everything before it was given
        self._is_announced = False
        self._restarts = 0

    @property
    def after(self) -> Position | None:
        """The newest message given, or where to begin; None when it is not known yet."""
        return self._after

    def start_at(self, position: Position, *, is_inclusive: bool) -> None:
        """Begin there, once."""
        self.restart()
        self._after, self._is_inclusive = position, is_inclusive

    def restart(self) -> None:
        """Begin where `start` tells, with the next `read`."""
        self._drop()
        self._restarts += 1
        self._after, self._is_inclusive = None, False

    def _drop(self) -> None:
        reader, self._reader, self._ahead, self._is_announced = self._reader, None, None, False
        if reader is not None:
            reader.discard()

    async def read(self, max_bytes: int) -> Sequence[Message]:
        """See `pipeline.log.port.Membership.read`."""
        async with self._turn:
            await self._open()
            assert self._client is not None
            client, reader = self._client, self._reader
            is_given = False
            try:
                messages = await self._read(max_bytes)
                is_given = True
            except PulsarFault as error:
                raise self._failed(client, error) from error
            finally:
                if not is_given and self._reader is reader:
                    self._drop()  # what it has passed nobody was given: it begins again there
            return messages

    def _failed(self, client: Client, error: PulsarFault) -> LogUnavailable:
        self._connection.doubt(client)
        return LogUnavailable(f"partition {self._partition} of {self._topic} cannot be read from Pulsar now: {error}")

    async def _read(self, max_bytes: int) -> Sequence[Message]:
        found: list[Message] = []
        size, after, is_inclusive, reader = 0, self._after, self._is_inclusive, self._reader
        self._is_announced = False
        while size < max_bytes and reader is not None:
            if self._ahead is not None:
                if not self._ahead.done():
                    break
                taken, self._ahead = self._ahead, None
                message = reader.message_of(taken.result())
            elif await reader.has_more():
                message = await reader.take()
            else:
                if self._reader is reader:
                    self._watch()
                break
            if after is not None and (message.position < after or (message.position == after and not is_inclusive)):
                continue  # the library has connected anew and begun a little earlier
            found.append(message)
            size += len(message.data)
            after, is_inclusive = message.position, False
        if self._reader is not reader:
            raise PulsarFault("Interrupted", "the position was changed meanwhile")
        self._after, self._is_inclusive = after, is_inclusive
        return found

    def _watch(self) -> None:
        if self._arrived is None or self._reader is None:
            return
        ahead = self._ahead = self._reader.next()
        ahead.add_done_callback(self._came)

    def _came(self, ahead: "asyncio.Future[Any]") -> None:
        if ahead is self._ahead and self._arrived is not None:
            self._arrived()

    async def _open(self) -> None:
        client = await self._connection.client()
        if self._reader is not None and self._client is client and self._reader.is_connected:
            return
        self._drop()
        name = self._connection.address.partition(self._topic, self._partition)
        while self._reader is None:
            restarts, after, is_inclusive = self._restarts, self._after, self._is_inclusive
            if after is None:
                after = await self._start()
            try:
                reader = await client.reader(name, self._partition, after, _QUEUE, is_inclusive=is_inclusive)
            except PulsarFault as error:
                raise self._failed(client, error) from error
            if restarts == self._restarts:
                self._client, self._reader, self._after = client, reader, after
            else:
                reader.discard()

    async def follow(self) -> None:
        """See to it that `arrived` is called: to be called now and then, as connections are lost."""
        if self._turn.locked():
            return  # the reader that is being read sees to it
        async with self._turn:
            await self._open()
            assert self._client is not None
            if self._ahead is not None or self._is_announced:
                return
            try:
                is_more = self._reader is not None and await self._reader.has_more()
            except PulsarFault as error:
                raise self._failed(self._client, error) from error
            if not is_more:
                self._watch()
            elif self._arrived is not None:
                self._is_announced = True
                self._arrived()

    def close(self) -> None:
        """Hold nothing; a later `read` goes on where this one stopped."""
        self._drop()
