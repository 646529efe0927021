"""The broker's REST API: what its client's library cannot ask or do."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

import aiohttp
import msgspec
from yarl import URL

from pipeline.errors import LogUnavailable, Misconfigured
from pipeline.log.pulsar_address import PulsarAddress

_TIMEOUT = aiohttp.ClientTimeout(total=8.0, sock_connect=2.0)

#: A broker that does not own a partition names the one that does.
_REDIRECTS = 3

#: Connections, and so requests at a time, of a process.
_CONNECTIONS = 8

_LARGEST_ANSWER_BYTES = 50_000_000


class PulsarAdmin:
    """Used from one event loop."""

    def __init__(self, address: PulsarAddress) -> None:
        self._base = address.admin_url.rstrip("/") + "/admin/v2/"
        self._headers = {"Content-Type": "application/json"}
        if address.token:
            self._headers["Authorization"] = f"Bearer {address.token}"
        self._ca_file = address.ca_file
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self, method: str, path: str, body: object = None, *, query: Mapping[str, str] = {}, ok: tuple[int, ...] = ()
    ) -> tuple[int, Any]:
        """Status and decoded answer of a request that succeeded or has one of the statuses `ok`.

        `path` is percent-encoded already. Raises `LogUnavailable`, or `Misconfigured` when the right to do this is missing.
        """
        url = self._base + path
        data = None if body is None else msgspec.json.encode(body)
        try:
            for _ in range(_REDIRECTS + 1):
                async with self._opened().request(
                    method, URL(url, encoded=True).with_query(query), data=data, allow_redirects=False
                ) as answer:
                    if answer.status in (301, 302, 307, 308):
                        # followed here: the library would leave out the token
                        url = urljoin(url, answer.headers.get("Location", "")).partition("?")[0]
                        continue
                    return self._judge(method, path, answer.status, await _content(answer), ok)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise LogUnavailable(
                f"Pulsar's admin API at {self._base} cannot be reached, {type(error).__name__}: {error}"
            ) from error
        raise LogUnavailable(f"Pulsar's admin API at {self._base} sends from broker to broker for {path}")

    def _judge(self, method: str, path: str, status: int, content: bytes, ok: tuple[int, ...]) -> tuple[int, Any]:
        value: Any = None
        with contextlib.suppress(msgspec.DecodeError):
            value = msgspec.json.decode(content) if content else None
        if status < 300 or status in ok:
            return status, value
        reason = value.get("reason", "") if isinstance(value, dict) else content[:200].decode(errors="replace")
        if status in (401, 403):
            raise Misconfigured(
                f"Pulsar refuses {method} {path} with {status} ({reason}): the token needs the right to administer "
                "the namespace, and for `rayfold migrate` on a new broker the one to create tenants"
            )
        raise LogUnavailable(f"Pulsar answered {method} {path} with {status}: {reason}")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            trust: ssl.SSLContext | bool = True
            if self._base.startswith("https:"):
                try:
                    trust = ssl.create_default_context(cafile=self._ca_file or None)
                except OSError as error:
                    raise Misconfigured(f"the CA file {self._ca_file} cannot be read: {error}") from error
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=trust),
                headers=self._headers,
                timeout=_TIMEOUT,
                auto_decompress=True,
            )
        return self._session

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await asyncio.sleep(0)  # its sockets close on the next round of the loop


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    """All of it, in however many pieces it comes. Raises `LogUnavailable` for more than is ever sent."""
    found = bytearray()
    async for piece in answer.content.iter_any():
        found += piece
        if len(found) > _LARGEST_ANSWER_BYTES:
            raise LogUnavailable(f"Pulsar's admin API sent more than {_LARGEST_ANSWER_BYTES} bytes")
    return bytes(found)
