"""What a check has found."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from pipeline.errors import RayfoldError

#: One question to a server or an API, and all questions to one server.
TIMEOUT_S = 5.0
_SERVER_S = 20.0


class Finding(NamedTuple):
    """One check; `cure` is empty when all is well."""

    check: str
    ok: bool
    what: str
    cure: str = ""


def attempt(check: str, examine: Callable[[], Finding]) -> Finding:
    """The finding, or that it could not be had."""
    try:
        return examine()
    except RayfoldError as error:
        return Finding(check, False, str(error), "see `rayfold status`")


async def bounded(check: str, asking: Coroutine[Any, Any, list[Finding]]) -> list[Finding]:
    """What was found, or that it could not be had in time or by these settings."""
    try:
        async with asyncio.timeout(_SERVER_S):
            return await asking
    except TimeoutError:
        cure = "it is there, and far too slow: look at its load, its memory and its disk"
        return [Finding(check, False, f"did not answer all questions within {_SERVER_S:g} s", cure)]
    except RayfoldError as error:
        return [Finding(check, False, str(error), "mend the settings that it names (docs/operations.md)")]
