"""One process's connection to Pulsar: found lost by doubt and proof, made anew for as long as it takes."""

import asyncio
import contextlib
import logging
from urllib.parse import urlsplit

from pipeline.clock import Clock
from pipeline.errors import LogUnavailable, Misconfigured
from pipeline.log.pulsar_address import PulsarAddress
from pipeline.log.pulsar_admin import PulsarAdmin
from pipeline.log.pulsar_client import Client, PulsarFault
from pipeline.topics import COLLECTED

_log = logging.getLogger("rayfold.log")

#: A first call waits that long for the connection; later ones are told at once that it is away.
_FIRST_S = 4.0

#: Between two attempts, and how long one may take to answer.
_PAUSE_S = 0.5
_REACH_S = 2.0
_ANSWER_S = 5.0

#: A broker that does not answer a question within this time, when it is doubted, is away.
_PROOF_S = 3.0

_REFUSED = frozenset(("AuthenticationError", "AuthorizationError", "ErrorGettingAuthenticationData"))


class PulsarConnection:
    """Used from one event loop. The library's own reconnecting backs off for minutes: a lost client is replaced."""

    def __init__(self, address: PulsarAddress, admin: PulsarAdmin, clock: Clock) -> None:
        self.address = address
        self._admin = admin
        self.clock = clock
        self._client: Client | None = None
        self._refusal: Misconfigured | None = None
        self._reason = "it has not been reached yet"
        self._opening: asyncio.Task[None] | None = None
        self._proving: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._tried = asyncio.Event()
        self._lost_at: float | None = None
        self._closed = False

    async def client(self) -> Client:
        """The client, connected as far as is known.

        Raises `LogUnavailable` while the broker is away, `Misconfigured` when its topics are others than those meant.
        """
        if self._client is None and not self._closed:
            self._begin()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_S):
                    await self._tried.wait()
        return self.current()

    def current(self) -> Client:
        """As `client`, at once."""
        if self._closed:
            raise LogUnavailable("this process has closed the log, nothing was appended: open it again")
        if self._refusal is not None:
            raise self._refusal
        if self._client is None:
            self._begin()
            raise self.away()
        return self._client

    def away(self) -> LogUnavailable:
        """What to raise while there is no connection."""
        return LogUnavailable(f"Pulsar at {self.address.url} is away, {self._reason}: it is tried until it is back")

    def _begin(self) -> None:
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open(), name="connect to Pulsar")

    async def _open(self) -> None:
        while self._client is None and not self._closed:
            try:
                await self._reach()
                await self._count()
                client = Client(self.address)
                try:
                    await self._greet(client)
                except BaseException:
                    self._end(client)
                    raise
                self._refusal = None
                self._client = client
            except Misconfigured as error:
                self._refusal = error
            except (PulsarFault, LogUnavailable, OSError, TimeoutError) as error:
                self._reason = _text(error)
                if self._lost_at is None:
                    self._lost_at = self.clock.monotonic()
                    _log.warning(
                        "Pulsar at %s cannot be reached (%s): it is tried until it is there",
                        self.address.url,
                        self._reason,
                    )
            self._tried.set()
            if self._client is None:
                await self.clock.sleep(_PAUSE_S)
        if self._client is not None and self._lost_at is not None:
            away_s = self.clock.monotonic() - self._lost_at
            self._lost_at = None
            _log.warning("Pulsar at %s is back after %.0f s", self.address.url, away_s)

    async def _reach(self) -> None:
        """Whether anything listens: a client that cannot connect would only back off."""
        failed: Exception = OSError("the address names no host")
        url = urlsplit(self.address.url)
        for place in url.netloc.split(","):
            host, _, port = place.rpartition(":") if ":" in place else (place, "", "")
            default = 6651 if url.scheme.endswith("+ssl") else 6650
            try:
                async with asyncio.timeout(_REACH_S):
                    _, writer = await asyncio.open_connection(host.strip("[]"), int(port or default))
            except (OSError, TimeoutError) as error:
                failed = error
                continue
            writer.close()
            return
        raise failed

    async def _count(self) -> None:
        """Whether the topics are those meant; a token that is refused is known here, where the library would only try again."""
        topic = self.address.topic(COLLECTED)
        _, metadata = await self._admin.call("GET", f"{self.address.path(COLLECTED)}/partitions", ok=(404,))
        found = metadata.get("partitions", 0) if isinstance(metadata, dict) else 0
        if found == 0:
            raise Misconfigured(f"there is no partitioned topic {topic} on Pulsar: run `rayfold migrate`")
        if found != self.address.partitions:
            raise Misconfigured(
                f"topic {topic} has {found} partitions, settings say {self.address.partitions}: "
                f"set RAYFOLD_PARTITIONS={found}, or another prefix for a new installation"
            )

    async def _greet(self, client: Client) -> None:
        try:
            await client.partitions(self.address.topic(COLLECTED), _ANSWER_S)
        except PulsarFault as error:
            if error.result in _REFUSED:
                raise Misconfigured(
                    f"Pulsar at {self.address.url} refuses this token ({error}): it needs the rights to produce and "
                    f"consume in namespace {self.address.tenant}/{self.address.namespace}"
                ) from error
            raise

    def doubt(self, client: Client) -> None:
        """A call was slow or failed: ask whether the broker is there, and give the client up when it is not."""
        if client is self._client and (self._proving is None or self._proving.done()):
            self._proving = asyncio.create_task(self._prove(client), name="ask whether Pulsar is there")

    async def _prove(self, client: Client) -> None:
        try:
            await self._reach()
            await client.partitions(self.address.topic(COLLECTED), _PROOF_S)
        except (PulsarFault, OSError, TimeoutError) as error:
            self._lose(client, _text(error))

    def _lose(self, client: Client, reason: str) -> None:
        if client is not self._client:
            return
        self._client, self._reason = None, reason
        self._tried.set()  # nobody waits for it to come back
        self._lost_at = self.clock.monotonic()
        _log.warning(
            "the connection to Pulsar at %s is lost (%s): it is tried until it is back", self.address.url, reason
        )
        client.fail(reason)
        self._end(client)
        self._begin()

    def is_current(self, client: Client) -> bool:
        """Whether this client is in use still."""
        return client is self._client

    async def check(self) -> None:
        """Ask the broker now. Raises `LogUnavailable` or `Misconfigured`."""
        client = await self.client()
        try:
            await self._reach()
            await client.partitions(self.address.topic(COLLECTED), _PROOF_S)
        except (PulsarFault, OSError, TimeoutError) as error:
            self._lose(client, _text(error))
            raise self.away() from error

    def _end(self, client: Client) -> None:
        task = asyncio.create_task(client.close(), name="close a connection to Pulsar")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        self._closed = True
        client, self._client = self._client, None
        tasks = [task for task in (self._opening, self._proving) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if client is not None:
            await client.close()
        await asyncio.gather(*self._ending, return_exceptions=True)


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, PulsarFault | LogUnavailable) else f"{type(error).__name__} {error}".strip()
