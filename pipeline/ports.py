"""The open ports of one process."""

from collections.abc import Callable
from typing import NamedTuple

from pipeline.clock import Clock
from pipeline.http.port import Http
from pipeline.log.port import Log
from pipeline.secrets import SecretBox
from pipeline.stores.definitions import Definitions
from pipeline.stores.documents import Documents


class Ports(NamedTuple):
    """Everything a stage or an API touches outside its own memory."""

    log: Log
    documents: Documents
    definitions: Definitions
    http: Http
    clock: Clock
    random: Callable[[], float]  #: in [0, 1)
    new_id: Callable[[], str]  #: a fresh time-ordered UUID (version 7)
    secrets: SecretBox

    async def close(self) -> None:
        """Close all, the log last: it finishes appends under way."""
        await self.http.close()
        await self.definitions.close()
        await self.documents.close()
        await self.log.close()
