"""One payload to send."""

from typing import NamedTuple


class Item(NamedTuple):
    """`key` decides the lane: payloads of one key are sent one after the other."""

    key: str
    events: int
    body: bytes  #: a tracker payload as JSON
