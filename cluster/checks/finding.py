"""What a check has found."""

from collections.abc import Callable
from typing import NamedTuple

from pipeline.errors import RayfoldError

#: One question to a server or an API.
TIMEOUT_S = 5.0


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
