"""Outbound HTTP by aiohttp."""

import asyncio
from collections.abc import Mapping

import aiohttp

from pipeline.http.port import MAX_RESPONSE_BYTES, HttpFailure, Response

#: Open connections of one process, and to one host.
_MAX_CONNECTIONS = 100
_MAX_PER_HOST = 32

_REASONS = {
    aiohttp.ClientResponseError: "the answer is not valid HTTP",
    aiohttp.ClientPayloadError: "the answer ended before it was complete",
    aiohttp.ServerDisconnectedError: "the other side hung up without an answer",
}


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
                    found = {name.lower(): text for name, text in answer.headers.items()}
                    return Response(answer.status, found, await _read(answer.content))
        except TimeoutError:
            raise HttpFailure(f"no answer within {timeout_s:g} s") from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise HttpFailure("the address is not a valid URL") from None
        except OSError as error:  # says host and port at most
            raise HttpFailure(f"{type(error).__name__}: {error}") from None
        except ValueError as error:
            raise HttpFailure(f"the address or a header cannot be sent ({type(error).__name__})") from None
        except aiohttp.ClientError as error:
            # its text may repeat the address, or an answer that does, and with it any secret in there
            raise HttpFailure(_REASONS.get(type(error), type(error).__name__)) from None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Up to the end or the maximum: one read gives no more than has arrived."""
    found = b""
    while len(found) < MAX_RESPONSE_BYTES and (part := await content.read(MAX_RESPONSE_BYTES - len(found))):
        found += part
    return found


_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
"""The call is bounded as a whole instead."""
