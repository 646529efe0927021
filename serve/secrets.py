"""Secrets over HTTP: put and deleted, never returned."""

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from pipeline import envelope
from pipeline.errors import Malformed
from pipeline.ports import Ports
from pipeline.secrets import check_name
from serve.body import read_body
from serve.errors import json_response
from serve.openapi import request_body

_MAX_BODY_BYTES = 64_000


class _Secret(msgspec.Struct, forbid_unknown_fields=True):
    value: str


def secret_routes(ports: Ports) -> APIRouter:
    """Routes under the private API's root."""
    router = APIRouter(tags=["secrets"])

    @router.get("/secrets")
    async def list_secrets() -> Response:
        """Names only."""
        rows = await ports.definitions.list("secrets")
        return json_response({"total": len(rows), "items": [{"id": row.id} for row in rows], "cursor": ""})

    @router.put("/secrets/{name:path}", openapi_extra=request_body(_Secret))
    async def put_secret(name: str, request: Request) -> Response:
        """Store ``{"value": "…"}`` encrypted under a name that settings refer to as ``${NAME}``."""
        check_name(name)
        try:
            given = msgspec.json.decode(await read_body(request, _MAX_BODY_BYTES), type=_Secret)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Malformed(f"expected an object with the key value: {error}", "value") from None
        body = envelope.encode({"ciphertext": ports.secrets.encrypt(given.value)})
        return json_response({"id": name, "revision": await ports.definitions.put("secrets", name, body)})

    @router.delete("/secrets/{name:path}")
    async def delete_secret(name: str) -> Response:
        """Forget it."""
        return json_response({"id": name, "revision": await ports.definitions.delete("secrets", name)})

    return router
