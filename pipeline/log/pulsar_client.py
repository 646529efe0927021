"""The Pulsar client's library on the event loop: nothing else imports it.

Every call has a deadline. What the library does after a caller gave up is closed, never kept. A client must be made in the
process that uses it: it does not live through a fork.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import _pulsar
import pulsar

from pipeline.log.port import BEGINNING, Message, Position
from pipeline.log.pulsar_address import PulsarAddress

#: How long one call waits for the broker, and the library for its own steps; the library gives up later than its caller.
CALL_S = 8.0
_OPERATION_S = 10
_CONNECT_MS = 3_000
_CLOSE_S = 3.0

#: Sends of a producer that wait for the broker; `append` has a deadline, so that this is never reached for long.
_PENDING_SENDS = 2_000

#: How the broker's names of readers' cursors begin: they hold back no retention.
READER = "~reader"

#: The property that carries `Message.records`.
_RECORDS = "records"


class PulsarFault(Exception):
    """The library's answer was no result; `result` is its name for why, `Timeout` also when none came."""

    def __init__(self, result: str, text: str = "") -> None:
        super().__init__(f"{result}: {text}" if text else result)
        self.result = result


class _Pending:
    """Calls whose results are not there yet, so that all can be failed when the connection is given up."""

    def __init__(self) -> None:
        self._futures: set[asyncio.Future[Any]] = set()

    def begin(self) -> tuple[asyncio.Future[Any], Callable[[bool, Any], None]]:
        """A future, and what tells its result from any thread; a result that comes too late is closed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._futures.add(future)

        def settle(is_well: bool, value: Any) -> None:
            self._futures.discard(future)
            if future.done():
                _discard(value)
            elif is_well:
                future.set_result(value)
            else:
                future.set_exception(value)
                future.exception()  # nobody may be left to ask for it

        def told(is_well: bool, value: Any) -> None:
            try:
                loop.call_soon_threadsafe(settle, is_well, value)
            except RuntimeError:  # the loop has ended; an exception in the library's own thread would end the process
                _discard(value)

        return future, told

    def fail(self, reason: str) -> None:
        futures, self._futures = self._futures, set()
        for future in futures:
            if not future.done():
                future.set_exception(PulsarFault("NotConnected", reason))
                future.exception()


def _discard(value: Any) -> None:
    if hasattr(value, "close_async"):
        value.close_async(_ignore)


def _ignore(*_: Any) -> None:
    """What the library says of a thing that nobody uses any more."""


def _told(told: Callable[[bool, Any], None], result: Any, value: Any = None) -> None:
    if result == _pulsar.Result.Ok:
        told(True, value)
    else:
        told(False, PulsarFault(str(result).rpartition(".")[2]))


def _told_made(told: Callable[[bool, Any], None], value: Any) -> None:
    if isinstance(value, _pulsar.Error):
        told(False, PulsarFault(str(value.error).rpartition(".")[2], str(value.message)))
    else:
        told(True, value)


async def _answer(future: "asyncio.Future[Any]", within_s: float) -> Any:
    try:
        async with asyncio.timeout(within_s):
            return await future
    except TimeoutError:
        raise PulsarFault("Timeout", f"no answer within {within_s:g} s") from None


class Producer:
    """Stores messages in one partition."""

    def __init__(self, pending: _Pending, producer: Any) -> None:
        self._pending = pending
        self._producer = producer

    @property
    def is_connected(self) -> bool:
        return bool(self._producer.is_connected())

    def send(self, data: bytes, records: int) -> "asyncio.Future[Any]":
        """Give the message to the library; `position_of` its result is where it was stored."""
        builder = _pulsar.MessageBuilder()
        builder.content(data)
        builder.property(_RECORDS, str(records))
        future, told = self._pending.begin()
        self._producer.send_async(builder.build(), partial(_told, told))
        return future

    def close(self) -> None:
        """What was not stored yet never will be by this producer, save what is on its way."""
        self._producer.close_async(_ignore)


class Consumer:
    """One member's place in a subscription of one partition. It is given no messages: it is there, and acknowledges."""

    def __init__(self, pending: _Pending, consumer: Any) -> None:
        self._pending = pending
        self._consumer = consumer

    @property
    def is_connected(self) -> bool:
        return bool(self._consumer.is_connected())

    def acknowledge(self, position: Position) -> None:
        """Everything up to and including the position; the library tells the broker within 100 ms."""
        id = _pulsar.MessageId(-1, position.ledger, position.entry, -1)
        self._consumer.acknowledge_cumulative_async(id, _ignore)

    async def close(self) -> None:
        """Acknowledgements are told first."""
        future, told = self._pending.begin()
        self._consumer.close_async(partial(_told, told))
        await _answer(future, CALL_S)

    def discard(self) -> None:
        """Without waiting for the broker."""
        self._consumer.close_async(_ignore)


class Reader:
    """The messages of one partition from a position on."""

    def __init__(self, pending: _Pending, reader: Any, partition: int) -> None:
        self._pending = pending
        self._reader = reader
        self._partition = partition

    @property
    def is_connected(self) -> bool:
        return bool(self._reader.is_connected())

    async def has_more(self) -> bool:
        """Whether a message is there now that `next` has not given; asks the broker unless it is known."""
        future, told = self._pending.begin()
        self._reader.has_message_available_async(partial(_told, told))
        return bool(await _answer(future, CALL_S))

    def next(self) -> "asyncio.Future[Any]":
        """Done when the next message is there; one at a time. `message_of` makes one of its result."""
        future, told = self._pending.begin()
        self._reader.read_next_async(partial(_told, told))
        return future

    async def take(self) -> Message:
        """The next message, which is there."""
        return self.message_of(await _answer(self.next(), CALL_S))

    def message_of(self, message: Any) -> Message:
        id = message.message_id()
        records = int(message.properties().get(_RECORDS, "0"))
        position = Position(id.ledger_id(), id.entry_id())
        return Message(self._partition, position, message.publish_timestamp(), records, message.data())

    def discard(self) -> None:
        self._reader.close_async(_ignore)


class Client:
    """One process's connection to the broker, used from one event loop."""

    def __init__(self, address: PulsarAddress) -> None:
        self._pending = _Pending()
        self._made: Any = pulsar.Client(
            address.url,
            authentication=pulsar.AuthenticationToken(address.token) if address.token else None,
            operation_timeout_seconds=_OPERATION_S,
            connection_timeout_ms=_CONNECT_MS,
            stats_interval_in_seconds=0,
            tls_trust_certs_file_path=address.ca_file or None,
            tls_validate_hostname=True,
            # it says the same of every lost connection at every attempt; the adapter says it once
            logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull),
        )

    @property
    def _client(self) -> Any:
        if self._made is None:
            raise PulsarFault("AlreadyClosed")
        return self._made._client

    async def partitions(self, topic: str, within_s: float = CALL_S) -> int:
        """How many the topic has: the cheapest proof that the broker answers."""
        future, told = self._pending.begin()
        self._client.get_topic_partitions_async(topic, partial(_told, told))
        names = await _answer(future, within_s)
        return 0 if list(names) == [topic] else len(names)

    async def producer(self, topic: str, *, is_exclusive: bool, within_s: float = CALL_S) -> Producer:
        """An exclusive one fences every older one of this partition."""
        mode = _pulsar.ProducerAccessMode
        settings = _pulsar.ProducerConfiguration()
        settings.access_mode(mode.ExclusiveWithFencing if is_exclusive else mode.Shared)
        settings.batching_enabled(False)  # a position is one envelope's alone
        settings.compression_type(_pulsar.CompressionType.ZSTD)
        settings.send_timeout_millis(0)  # whoever appends has a deadline of its own
        settings.block_if_queue_full(False)
        settings.max_pending_messages(_PENDING_SENDS)
        future, told = self._pending.begin()
        self._client.create_producer_async_v2(topic, settings, partial(_told_made, told))
        return Producer(self._pending, await _answer(future, within_s))

    async def consumer(self, topic: str, subscription: str, name: str) -> Consumer:
        """A member of a failover subscription, which must exist."""
        settings = _pulsar.ConsumerConfiguration()
        settings.consumer_type(_pulsar.ConsumerType.Failover)
        settings.consumer_name(name)
        settings.receiver_queue_size(0)  # messages come by readers
        future, told = self._pending.begin()
        self._client.subscribe_async_v2(topic, subscription, settings, partial(_told_made, told))
        return Consumer(self._pending, await _answer(future, CALL_S))

    async def reader(
        self, topic: str, partition: int, after: Position | None, queue: int, *, is_inclusive: bool = False
    ) -> Reader:
        """Messages after a position; None: those that are stored from now on."""
        settings = _pulsar.ReaderConfiguration()
        settings.receiver_queue_size(queue)
        settings.subscription_role_prefix(READER)
        settings.start_message_id_inclusive(is_inclusive)
        if after is None:
            start = _pulsar.MessageId.latest
        elif after == BEGINNING:
            start = _pulsar.MessageId.earliest
        else:
            # compared with the newest one by the partition too
            start = _pulsar.MessageId(partition, after.ledger, after.entry, -1)
        future, told = self._pending.begin()
        self._client.create_reader_async_v2(topic, start, settings, partial(_told_made, told))
        return Reader(self._pending, await _answer(future, CALL_S), partition)

    def fail(self, reason: str) -> None:
        """Every call under way ends now."""
        self._pending.fail(reason)

    async def close(self) -> None:
        """Nothing of this client reaches the broker afterwards; the process may end at once."""
        made, self._made = self._made, None
        if made is None:
            return
        self._pending.fail("this process has closed the connection")
        await asyncio.to_thread(_end, made)


def _end(made: Any) -> None:
    closed = threading.Event()
    try:
        made._client.close_async(lambda *_: closed.set())
        closed.wait(_CLOSE_S)
    finally:
        made.shutdown()  # only closed, its threads run on, and now and then abort a process that ends just then


def position_of(id: Any) -> Position:
    """Where a message was stored, of what `Producer.send` came to."""
    return Position(id.ledger_id(), id.entry_id())
