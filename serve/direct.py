"""The one endpoint that all events come through, asked before the layers of the application that has the others."""

import logging
from collections.abc import Awaitable, Callable

from fastapi import Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.errors import RayfoldError
from serve.errors import answer, json_response

_log = logging.getLogger(__name__)


class Direct:
    """An ASGI application: `POST path` is answered by `endpoint`, everything else by `others`.

    FastAPI's and Starlette's layers cost more than a single event's whole intake. Errors are answered as everywhere else;
    one that nobody foresaw is logged and answered 500.
    """

    def __init__(self, path: str, endpoint: Callable[[Request], Awaitable[Response]], others: ASGIApp) -> None:
        self._path = path
        self._endpoint = endpoint
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._others(scope, receive, send)
            return
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._endpoint(request)
        except (RayfoldError, HTTPException) as error:
            return answer(error)
        except Exception:  # noqa: BLE001  (whatever it is: the log has it, and the client knows that nothing was promised)
            _log.exception("POST %s failed", self._path)
            return json_response({"detail": "unforeseen error, see the log of the public API; send it again"}, 500)
