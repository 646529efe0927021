"""Calls the private API of a running installation."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from copy import copy
from decimal import Decimal
from typing import Any

from cluster import folder
from cluster.settings import Settings
from pipeline.errors import Conflict, Malformed, NotFound, RayfoldError, Retry

#: Seconds for one call; `account --verify` of a large installation takes some.
_TIMEOUT_S = 60.0

_PAGE = 1_000


class Client:
    """Synchronous: the command line does one thing at a time."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.url
        self._token = folder.admin_token(settings)
        self._timeout_s = _TIMEOUT_S

    def waiting(self, seconds: float) -> "Client":
        """The same, for calls that may take that long."""
        other = copy(self)
        other._timeout_s = seconds
        return other

    def get(self, path: str, **query: str | int) -> Any:
        """JSON under /api, non-integers as `Decimal`."""
        return self.call("GET", path, None, **query)

    def call(self, method: str, path: str, body: bytes | None = None, **query: str | int) -> Any:
        """Raises `NotFound`, `Malformed`, `Conflict` or `Retry` with the API's own sentence."""
        url = f"{self._url}/api{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        request = urllib.request.Request(  # noqa: S310  (the scheme is ours)
            url, body, {"authorization": f"Bearer {self._token}", "content-type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310
                return json.loads(answer.read(), parse_float=Decimal)
        except urllib.error.HTTPError as error:
            raise _refused(error) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Retry(
                f"no Rayfold answers at {self._url} ({reason}): start it with `rayfold up`, or name --port"
            ) from None

    def pages(self, path: str, **query: str | int) -> Iterator[Any]:
        """Every item of a list."""
        cursor = ""
        while True:
            page = self.get(path, limit=_PAGE, cursor=cursor, **query)
            yield from page["items"]
            cursor = page["cursor"]
            if not cursor:
                return


def at(*parts: str) -> str:
    """A path under /api from a kind, an id, …, whatever characters they hold."""
    return "".join(f"/{urllib.parse.quote(part, safe='')}" for part in parts)


def _refused(error: urllib.error.HTTPError) -> RayfoldError:
    try:
        detail = str(json.loads(error.read())["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"HTTP {error.code} {error.reason}"
    if error.code == 401:
        return Malformed(f"{detail}: this is another installation's data folder; name the right one with --data")
    kinds: dict[int, type[RayfoldError]] = {404: NotFound, 409: Conflict, 400: Malformed, 422: Malformed}
    return kinds.get(error.code, Retry)(detail)
