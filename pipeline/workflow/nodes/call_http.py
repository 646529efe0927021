"""`call-http`: asks another system; its answer is `memory@<node id>` for the nodes after it."""

from decimal import InvalidOperation
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from pipeline import envelope
from pipeline.errors import Malformed
from pipeline.limits import check_value, replace_nul
from pipeline.reference import compile_template, compile_text
from pipeline.workflow.node import HttpCall, Node, NodeType, Now, State, Work

#: Longest time-out of one call, in seconds.
_LONGEST_TIMEOUT_S = 60.0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    method: Literal["POST", "PUT", "PATCH", "GET", "DELETE"] = "POST"
    headers: dict[str, str] = {}
    body: Any = None
    timeout: float = 10.0


def _compile(settings: Settings, id: str, now: Now) -> Node:
    if not settings.url.startswith(("http://", "https://")):
        raise Malformed("expected an http:// or https:// address", "url")
    if not 0 < settings.timeout <= _LONGEST_TIMEOUT_S:
        raise Malformed(f"timeout is a number of seconds up to {_LONGEST_TIMEOUT_S:g}", "timeout")
    url, template = compile_text(settings.url, _quoted), compile_template(settings.body, "body")
    headers = {"content-type": "application/json", **{k.lower(): v for k, v in settings.headers.items()}}

    def run(state: State) -> Work:
        body = None if settings.method == "GET" or settings.body is None else envelope.encode(template(state.scope))
        result = yield HttpCall(settings.method, url(state.scope), headers, body, settings.timeout)
        response = result.response
        if response is None:
            state.scope["memory"][id] = {"error": result.error}
            return ("error",)
        state.scope["memory"][id] = {"status": response.status, "body": _decoded(response.body)}
        return ("response",) if 200 <= response.status < 300 else ("error",)

    return run


def _quoted(text: str) -> str:
    """Customers' values stay inside their part of the address."""
    return quote(text, safe="")


def _decoded(body: bytes) -> Any:
    """JSON within the limits of a payload if it is some, else text: it may become part of a profile."""
    try:
        value = envelope.decode_any(replace_nul(body))
        check_value([value], "body", 0)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidOperation, Malformed):
        return body.decode(errors="replace").replace("\0", "\ufffd")
    return value


CALL_HTTP = NodeType(Settings, ("response", "error"), _compile)
