"""Storing messages in Pulsar: the one fenced writer of a partition, and one of many."""

import asyncio
from typing import Any

from pipeline.errors import Fenced, LogFull, LogUnavailable, TooLarge
from pipeline.log.port import Position
from pipeline.log.pulsar_client import Client, Producer, PulsarFault, position_of
from pipeline.log.pulsar_connection import PulsarConnection

#: An append that takes longer makes the connection doubtful.
_SLOW_S = 2.0

#: Then it is given up: one of many writers has somebody waiting for an answer, the fenced one has state to lose.
_SHARED_S = 5.0
_LEAST_S = 1.0  #: for the broker itself, when opening took long
_FENCED_S = 10.0

_FULL = frozenset(("ProducerBlockedQuotaExceededError", "ProducerBlockedQuotaExceededException"))


async def _send(
    connection: PulsarConnection, client: Client, producer: Producer, data: bytes, records: int, within_s: float
) -> Position:
    """Raises `PulsarFault`; then it is unknown whether the message was stored, unless the fault says so."""
    sending: asyncio.Future[Any] = producer.send(data, records)
    done, _ = await asyncio.wait([sending], timeout=min(_SLOW_S, within_s))
    if not done:
        connection.doubt(client)
        done, _ = await asyncio.wait([sending], timeout=max(0.0, within_s - _SLOW_S))
    if not done:
        sending.cancel()
        raise PulsarFault("Timeout", f"not stored within {within_s:g} s")
    return position_of(sending.result())


def _error(topic: str, partition: int, error: PulsarFault) -> Exception:
    where = f"partition {partition} of {topic} on Pulsar"
    if error.result in _FULL:
        return LogFull(
            f"{where} takes nothing, its backlog quota is used up: raise the quota or let its groups catch up"
        )
    if error.result == "MessageTooBig":
        return TooLarge(
            f"{where} takes no message that large: raise the broker's maxMessageSize, or send less at a time"
        )
    return LogUnavailable(f"it is unknown whether {where} has stored a message: {error}")


class PulsarWriter:
    """See `pipeline.log.port.Writer`. Made by `open`."""

    def __init__(
        self, connection: PulsarConnection, client: Client, producer: Producer, topic: str, partition: int
    ) -> None:
        self._connection = connection
        self._client = client
        self._producer = producer
        self._topic = topic
        self._partition = partition
        self._ended: Exception | None = None

    @classmethod
    async def open(cls, connection: PulsarConnection, topic: str, partition: int) -> "PulsarWriter":
        """Every older writer of this partition is fenced on return."""
        client = await connection.client()
        name = connection.address.partition(topic, partition)
        try:
            producer = await client.producer(name, is_exclusive=True)
        except PulsarFault as error:
            connection.doubt(client)
            raise LogUnavailable(f"{name} cannot be opened for one writer on Pulsar now: {error}") from error
        return cls(connection, client, producer, topic, partition)

    async def append(self, data: bytes, records: int) -> Position:
        if self._ended is not None:
            raise type(self._ended)(*self._ended.args)
        try:
            return await _send(self._connection, self._client, self._producer, data, records, _FENCED_S)
        except PulsarFault as error:
            if error.result == "MessageTooBig":  # it was not sent
                raise _error(self._topic, self._partition, error) from error
            if error.result in ("ProducerFenced", "ProducerBusy"):
                self.end(self._fenced())
            else:
                self.end(_error(self._topic, self._partition, error))
            assert self._ended is not None
            raise self._ended from error
        except asyncio.CancelledError:
            self.end(LogUnavailable("an append was given up before its outcome was known: open a new writer"))
            raise

    def _fenced(self) -> Fenced:
        return Fenced(f"a newer writer has opened partition {self._partition} of {self._topic}: nothing was appended")

    def supersede(self) -> None:
        """A newer writer was opened in this process."""
        self.end(self._fenced())

    def end(self, error: Exception) -> None:
        """Nothing of this writer lands any more, also when the broker comes back: what was not stored is dropped."""
        if self._ended is None:
            self._ended = error
            self._producer.close()


class PulsarAppender:
    """One of many writers of one partition: its producer, made anew whenever it has failed."""

    def __init__(self, connection: PulsarConnection, topic: str, partition: int) -> None:
        self._connection = connection
        self._topic = topic
        self._partition = partition
        self._turn = asyncio.Lock()
        self._client: Client | None = None
        self._producer: Producer | None = None
        self._under_way = 0

    async def append(self, data: bytes, records: int) -> Position:
        """Raises `LogUnavailable` within the deadline, at once while the broker is known to be away."""
        self._under_way += 1
        clock = self._connection.clock
        deadline = clock.monotonic() + _SHARED_S
        try:
            async with asyncio.timeout(_SHARED_S):
                client, producer = await self._opened()
            return await self._send(client, producer, data, records, max(_LEAST_S, deadline - clock.monotonic()))
        except TimeoutError:
            raise LogUnavailable(
                f"partition {self._partition} of {self._topic} on Pulsar could not be opened within "
                f"{_SHARED_S:g} s: nothing was appended"
            ) from None
        finally:
            self._under_way -= 1

    async def _send(self, client: Client, producer: Producer, data: bytes, records: int, within_s: float) -> Position:
        try:
            return await _send(self._connection, client, producer, data, records, within_s)
        except PulsarFault as error:
            if error.result != "MessageTooBig":
                self._forget(producer)
            raise _error(self._topic, self._partition, error) from error

    async def _opened(self) -> tuple[Client, Producer]:
        client = await self._connection.client()
        if self._producer is not None and self._client is client and self._producer.is_connected:
            return client, self._producer
        async with self._turn:
            client = await self._connection.client()
            producer = self._producer
            if producer is None or self._client is not client or not producer.is_connected:
                if producer is not None:
                    self._forget(producer)
                name = self._connection.address.partition(self._topic, self._partition)
                try:
                    producer = await client.producer(name, is_exclusive=False, within_s=_SHARED_S)
                except PulsarFault as error:
                    self._connection.doubt(client)
                    raise _error(self._topic, self._partition, error) from error
                self._client, self._producer = client, producer
            return client, producer

    def _forget(self, producer: Producer) -> None:
        """Its library would try for minutes to connect again, and then send late what was given up."""
        if producer is self._producer:
            self._producer = None
        producer.close()

    async def finish(self, within_s: float) -> None:
        """Return when no append is under way, or time is over."""
        deadline = self._connection.clock.monotonic() + within_s
        while self._under_way and self._connection.clock.monotonic() < deadline:
            await self._connection.clock.sleep(0.01)
