"""Outbound HTTP as stages see it."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Response(NamedTuple):
    """What the other side answered."""

    status: int
    headers: Mapping[str, str]  #: names in lower case
    body: bytes  #: cut at `MAX_RESPONSE_BYTES`


#: Answers are read up to this size; the rest is thrown away.
MAX_RESPONSE_BYTES = 64 * 1024

#: No call may be given longer, in seconds.
LONGEST_TIMEOUT_S = 60.0


class HttpFailure(Exception):
    """No answer: name look-up, connection, TLS or time-out; the text says which."""


class Http(Protocol):
    """Sends one request; follows no redirects; keeps connections open between calls."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> Response:
        """Raises `HttpFailure` when there was no answer within the time."""
        ...

    async def close(self) -> None: ...
