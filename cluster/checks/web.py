"""Questions to a server's HTTP interface, each in bounded time."""

import base64
import ssl
import time
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urljoin

import aiohttp
import msgspec
from yarl import URL

from cluster.checks.finding import TIMEOUT_S
from pipeline.errors import Misconfigured

#: More than any answer that is asked for.
_MOST_BYTES = 10_000_000

#: A broker may name another one that knows.
_REDIRECTS = 3

_MOST_SAID = 1_000

T = TypeVar("T")


class NoAnswer(Exception):
    """It cannot be reached, takes too long, or says what no such server says; the text says which."""


class Refused(Exception):
    """It does not accept who asks (401), or not for this question (403)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class Web:
    """One server, asked as whom; secrets are shown nowhere. An async context manager."""

    def __init__(self, url: str, authorization: str = "", ca_file: str = "") -> None:
        """Raises `Misconfigured` for a CA file that cannot be read."""
        self._url = url.rstrip("/")
        trust: ssl.SSLContext | bool = True
        if ca_file and url.startswith("https:"):
            try:
                trust = ssl.create_default_context(cafile=ca_file)
            except OSError as error:  # `ssl.SSLError` is one
                raise Misconfigured(f"the CA file {ca_file} cannot be read: {error}") from None
        self._trust = trust
        self._headers = {"authorization": authorization} if authorization else {}
        self.ahead_s: float | None = None  #: of its clock before ours, as its last answer tells; to the second

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._trust),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, shape: type[T]) -> T | None:
        """The JSON it answers, None where there is nothing under that name. Raises `NoAnswer` or `Refused`."""
        data = await self._ask(path)
        if data is None:
            return None
        try:
            return msgspec.json.decode(data, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NoAnswer(f"its answer to {path.partition('?')[0]} is none that it should give: {error}") from None

    async def text(self, path: str) -> str:
        """What it answers, empty where there is nothing under that name. Raises as `get`."""
        return (await self._ask(path) or b"")[:_MOST_SAID].decode(errors="replace").strip().strip('"')

    async def _ask(self, path: str) -> bytes | None:
        url = self._url + path
        try:
            for _ in range(_REDIRECTS + 1):
                async with self._session.get(URL(url, encoded=True), allow_redirects=False) as answer:
                    if answer.status in (301, 302, 307, 308):
                        # followed here: the library would leave out who asks
                        url = urljoin(url, answer.headers.get("location", ""))
                        continue
                    data = await _whole(answer.content)
                    self._see(answer.headers.get("date", ""))
                    return _judged(answer.status, data)
        except TimeoutError:
            raise NoAnswer(f"no answer within {TIMEOUT_S:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from None
        raise NoAnswer("it sends from one to the other")

    def _see(self, date: str) -> None:
        try:
            self.ahead_s = parsedate_to_datetime(date).timestamp() - time.time()
        except ValueError:
            self.ahead_s = None


async def _whole(content: aiohttp.StreamReader) -> bytes:
    data = bytearray()
    while part := await content.readany():
        data += part
        if len(data) > _MOST_BYTES:
            raise ValueError(f"its answer is larger than {_MOST_BYTES} bytes")
    return bytes(data)


def _judged(status: int, data: bytes) -> bytes | None:
    if status in (401, 403):
        raise Refused(status)
    if status == 404:
        return None
    if status != 200:
        raise NoAnswer(f"HTTP {status} {data[:_MOST_SAID].decode(errors='replace')}".strip())
    return data


def basic(user: str, password: str) -> str:
    """What goes into the header of that name."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
