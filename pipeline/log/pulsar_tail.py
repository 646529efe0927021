"""Learning of appends to a topic without reading them."""

import asyncio

from pipeline.errors import LogUnavailable
from pipeline.log.pulsar_client import Client, PulsarFault, Reader
from pipeline.log.pulsar_connection import PulsarConnection

#: One message at a time is fetched: that it came is all that counts.
_QUEUE = 1


class PulsarTail:
    """Readers at the end of every partition, opened when somebody first waits."""

    def __init__(self, connection: PulsarConnection, topic: str) -> None:
        self._connection = connection
        self._topic = topic
        self._readers: list[Reader] = []
        self._client: Client | None = None
        self._news = asyncio.Event()
        self.used = 0.0  #: when somebody last waited, by the monotonic clock

    async def wait(self, timeout_s: float) -> None:
        """See `pipeline.log.port.Log.wait`."""
        self.used = self._connection.clock.monotonic()
        client = await self._connection.client()
        if self._client is not client or not all(reader.is_connected for reader in self._readers):
            await self._open(client)
            return  # what came before is not known
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self.used = self._connection.clock.monotonic()
            self._news.clear()

    async def _open(self, client: Client) -> None:
        self.close()
        address = self._connection.address
        try:
            readers = await asyncio.gather(
                *(client.reader(address.partition(self._topic, p), p, None, _QUEUE) for p in range(address.partitions))
            )
        except PulsarFault as error:
            self._connection.doubt(client)
            raise LogUnavailable(f"topic {self._topic} cannot be followed on Pulsar now: {error}") from error
        self._client, self._readers = client, list(readers)
        for reader in readers:
            self._watch(reader)

    def _watch(self, reader: Reader) -> None:
        reader.next().add_done_callback(lambda future: self._came(reader, future))

    def _came(self, reader: Reader, future: "asyncio.Future[object]") -> None:
        self._news.set()
        if future.cancelled() or future.exception() is not None:
            self._client = None  # opened anew by the next who waits
        elif reader in self._readers:
            self._watch(reader)

    def close(self) -> None:
        readers, self._readers, self._client = self._readers, [], None
        for reader in readers:
            reader.discard()
