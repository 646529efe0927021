"""One question to a server's HTTP interface."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from cluster.checks.finding import TIMEOUT_S

#: More than any answer that is asked for.
_MOST_BYTES = 10_000_000


class Web(NamedTuple):
    """Where to ask, and as whom; secrets are shown nowhere."""

    url: str
    authorization: str = ""
    ca_file: str = ""

    def get(self, path: str) -> Any:
        """JSON, or text where it is none. Raises `OSError`; `urllib.error.HTTPError` is one."""
        request = urllib.request.Request(self.url.rstrip("/") + path)  # noqa: S310  (checked with the settings)
        if self.authorization:
            request.add_header("authorization", self.authorization)
        context = ssl.create_default_context(cafile=self.ca_file or None) if self.url.startswith("https") else None
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310
            data = answer.read(_MOST_BYTES)
        try:
            return json.loads(data)
        except ValueError:
            return data.decode(errors="replace")


def basic(user: str, password: str) -> str:
    """What goes into the header of that name."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def reason(error: OSError) -> str:
    """In few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    return str(getattr(error, "reason", error))
