"""`call-http`: asks another system; its answer is `memory@<node id>` for the nodes after it."""

from collections.abc import Mapping
from decimal import InvalidOperation
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from pipeline import envelope
from pipeline.errors import Malformed
from pipeline.http.port import LONGEST_TIMEOUT_S
from pipeline.limits import check_value, replace_nul
from pipeline.reference import compile_template, compile_text
from pipeline.secrets import UNRESOLVED, resolve
from pipeline.workflow.node import HttpCall, Node, NodeType, State, Tools, Work


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``${NAME}`` in address, headers and body is a secret; ``{{reference}}`` in address and headers is filled in."""

    url: str
    method: Literal["POST", "PUT", "PATCH", "GET", "DELETE"] = "POST"
    headers: dict[str, str] = {}
    body: Any = None
    timeout: float = 10.0


def _compile(settings: Settings, id: str, tools: Tools) -> Node:
    address: str = resolve(settings.url, tools.secret)
    if not address.startswith(("http://", "https://", UNRESOLVED)):
        raise Malformed("expected an http:// or https:// address", "url")
    if not 0 < settings.timeout <= LONGEST_TIMEOUT_S:
        raise Malformed(f"timeout is a number of seconds up to {LONGEST_TIMEOUT_S:g}", "timeout")
    url = compile_text(address, _quoted)
    given: Mapping[str, str] = resolve(settings.headers, tools.secret)
    headers = {name.lower(): compile_text(text) for name, text in given.items()}
    template = compile_template(resolve(settings.body, tools.secret), "body")

    def run(state: State) -> Work:
        body = None if settings.method == "GET" or settings.body is None else envelope.encode(template(state.scope))
        rendered = {"content-type": "application/json", **{name: text(state.scope) for name, text in headers.items()}}
        result = yield HttpCall(settings.method, url(state.scope), rendered, body, settings.timeout)
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
