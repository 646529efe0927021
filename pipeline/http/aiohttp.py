"""Outbound HTTP by aiohttp."""

import asyncio
from collections.abc import Mapping

import aiohttp

from pipeline.http.port import MAX_RESPONSE_BYTES, HttpFailure, Response

#: Open connections of one process, and to one host.
_MAX_CONNECTIONS = 100
_MAX_PER_HOST = 32


class AiohttpClient:
    """One pool of connections, opened at the first call."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=_MAX_CONNECTIONS, limit_per_host=_MAX_PER_HOST)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": "rayfold"},
                auto_decompress=True,
            )
        return self._session

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> Response:
        """See `pipeline.http.port.Http.send`."""
        session = self._open()
        try:
            async with asyncio.timeout(timeout_s):
                async with session.request(
                    method, url, headers=headers, data=body, allow_redirects=False, timeout=_NO_TIMEOUT
                ) as answer:
                    content = await answer.content.read(MAX_RESPONSE_BYTES)
                    found = {name.lower(): text for name, text in answer.headers.items()}
                    return Response(answer.status, found, content)
        except TimeoutError:
            raise HttpFailure(f"no answer within {timeout_s:g} s") from None
        except aiohttp.InvalidURL:
            # its text would repeat the address, and with it any secret in there
            raise HttpFailure("the address is not a valid URL") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HttpFailure(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
"""The call is bounded as a whole instead."""
