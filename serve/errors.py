"""Errors as HTTP answers: always JSON with a `detail`."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from pipeline import envelope
from pipeline.errors import Conflict, Malformed, NotFound, RayfoldError, Retry, SourceRefused, TooLarge
from serve.coalescer import Overloaded


def status_of(error: RayfoldError) -> int:
    """The HTTP status for an error raised on purpose."""
    if isinstance(error, Malformed):
        return 422 if error.field else 400
    for kind, status in (
        (TooLarge, 413),
        (SourceRefused, 406),
        (NotFound, 404),
        (Conflict, 409),
        (Overloaded, 429),
        (Retry, 503),
    ):
        if isinstance(error, kind):
            return status
    return 500


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Any value as JSON."""
    return Response(envelope.encode(value), status, dict(headers or {}), "application/json")


def refusal(error: RayfoldError) -> Response:
    """The answer for an error: what, why and what to do; the field where one is at fault; when to try again."""
    body: dict[str, Any] = {"detail": str(error)}
    if isinstance(error, Malformed) and error.field:
        body = {"detail": f"{error.field}: {error}", "field": error.field}
    headers = {"retry-after": str(max(1, round(error.retry_after_s)))} if isinstance(error, Retry) else None
    return json_response(body, status_of(error), headers)


def answer(error: RayfoldError | HTTPException) -> Response:
    """The answer for an error raised on purpose, ours or the framework's."""
    if isinstance(error, RayfoldError):
        return refusal(error)
    return json_response({"detail": error.detail}, error.status_code, error.headers)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RayfoldError | HTTPException)
    return answer(error)


def install(app: FastAPI) -> None:
    """Make an application answer errors this way."""
    app.add_exception_handler(RayfoldError, _on_error)
    app.add_exception_handler(HTTPException, _on_error)
