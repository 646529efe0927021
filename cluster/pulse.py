"""Whether a running installation still does its work: asked over HTTP, as only that shows a part that hangs."""

import http.client
import json
import threading
import time
import urllib.error
import urllib.request

from cluster.haproxy_wrapper import UNAVAILABLE
from cluster.settings import Settings

#: How often it is asked, and how long an answer may take.
_ASK_S = 5.0
_ANSWER_S = 10.0


class Pulse:
    """Asks from its making until `close`."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.url
        self._token = settings.admin_token
        self._missing = ""
        self._since: float | None = None  #: when it was first missed
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pulse", daemon=True)
        self._thread.start()

    def lost(self, for_s: float) -> str:
        """What has been missing for that long without a break; empty while all answer.

        A part that answers with an error is there: a full disk, say, is not mended by starting anything again.
        """
        since = self._since
        return self._missing if since is not None and time.monotonic() - since > for_s else ""

    def close(self) -> None:
        """Ask no more; a question under way ends by itself."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(_ASK_S):
            self._missing = self._look()
            if not self._missing:
                self._since = None
            elif self._since is None:  # not since it was felt last: this process may have stood still itself
                self._since = time.monotonic()

    def _look(self) -> str:
        if self._ask("/ready") is None:
            return "the public API does not answer"
        answer = self._ask("/api/status")
        if answer is None:
            return "the private API does not answer"
        if _is_uncontrolled(answer):
            return "Ray Serve's controller does not answer, so nothing that ends is replaced"
        return ""

    def _ask(self, path: str) -> bytes | None:
        """The body of an answer of whatever status; None when no replica gave one."""
        request = urllib.request.Request(self._url + path, headers={"authorization": f"Bearer {self._token}"})  # noqa: S310
        try:
            try:
                answer = urllib.request.urlopen(request, timeout=_ANSWER_S)  # noqa: S310
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                status, body = answer.status, bytes(answer.read())
        except (OSError, http.client.HTTPException):
            return None
        if status < 400:
            return body
        return None if body == UNAVAILABLE else b"{}"


def _is_uncontrolled(status: bytes) -> bool:
    try:
        return bool(json.loads(status).get("controlled") is False)
    except ValueError:  # something answers
        return False
