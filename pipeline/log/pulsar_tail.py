"""Learning of appends to a topic without reading them."""

import asyncio

from pipeline.errors import LogUnavailable
from pipeline.log.pulsar_client import Client, PulsarFault, Reader
from pipeline.log.pulsar_connection import PulsarConnection

#: One message at a time is fetched: that it came is all that counts.
_QUEUE = 1

#: When nobody has waited for so long, nothing is fetched any more.
_IDLE_S = 30.0


class PulsarTail:
    """Readers at the end of every partition, opened when somebody first waits."""

    def __init__(self, connection: PulsarConnection, topic: str) -> None:
        self._connection = connection
        self._topic = topic
        self._readers: list[Reader] = []
        self._client: Client | None = None
        self._news = asyncio.Event()
        self._idle: asyncio.TimerHandle | None = None

    async def wait(self, timeout_s: float) -> None:
        """See `pipeline.log.port.Log.wait`."""
        self._stay()
        client = await self._connection.client()
        if self._client is not client or not all(reader.is_connected for reader in self._readers):
            await self._open(client)
            self._stay(_IDLE_S)
            return  # what came before is not known
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self._stay(_IDLE_S)
            self._news.clear()

    def _stay(self, seconds: float | None = None) -> None:
        """Close by itself when nobody has waited for so long; None: not while somebody does."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self.close)

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
        self._stay()
        readers, self._readers, self._client = self._readers, [], None
        for reader in readers:
            reader.discard()
