"""Reads a request's body, never more of it than is allowed."""

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pipeline.errors import TooLarge


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises `TooLarge` as soon as it is known to pass `limit` bytes; 415 for an encoded body."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise HTTPException(415, f"the body is encoded as {encoding[:32]!r}; send it unencoded")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise TooLarge(f"the body has {announced} bytes; at most {limit} are accepted: send smaller batches")
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise TooLarge(f"the body has more than {limit} bytes: send smaller batches")
            parts.append(part)
    except ClientDisconnect:
        raise HTTPException(400, "the client went away before the body was complete") from None
    return b"".join(parts)
