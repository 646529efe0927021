"""Dead letters: sent again or dropped by hand."""

from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter
from fastapi.responses import Response

from pipeline import delivery, envelope, instant
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.delivery import Outlet, Verdict, judge
from pipeline.document import decode_document
from pipeline.errors import Conflict, NotFound
from pipeline.http.port import HttpFailure
from pipeline.ports import Ports
from pipeline.stores.documents import Document
from serve.errors import json_response


def dead_letter_routes(ports: Ports, watch: DefinitionsWatch) -> APIRouter:
    """Routes under the private API's root."""
    router = APIRouter(tags=["dead letters"])
    documents = ports.documents

    async def waiting(id: str) -> tuple[Document, dict[str, object]]:
        found = (await documents.load("dead", [id])).get(id)
        if found is None:
            raise NotFound(f"there is no dead letter {id[:64]!r}")
        body = decode_document(found.body)
        if body["state"] != "waiting":
            raise Conflict(f"dead letter {id} was {body['state']} already")
        return found, body

    async def close(found: Document, body: dict[str, object], state: str) -> Response:
        closed = {**body, "state": state, "closed": instant.to_text(ports.clock.now_ms())}
        await documents.save([Document("dead", found.id, found.version + 1, envelope.encode(closed))])
        return json_response({"id": found.id, "state": state})

    @router.post("/dead-letters/{id}/send")
    async def send(id: str) -> Response:
        """Try the delivery once more, now, by the destination as it is defined today."""
        found, body = await waiting(id)
        destination = watch.catalog.destinations.get(str(body["destination"]))
        if destination is None:
            raise Conflict(f"destination {body['destination']!r} no longer exists; drop the dead letter instead")
        outlet = Outlet(destination, _now(ports.clock.now_ms), ports.secrets.lookup(watch.catalog.secrets))
        text = body["body"]
        request = outlet.call(id, text.encode() if isinstance(text, str) else None)
        try:
            response = await delivery.send(ports.http, request)
        except HttpFailure as failure:
            raise Conflict(f"not delivered: {failure}") from failure
        if judge(response) is not Verdict.DELIVERED:
            raise Conflict(f"not delivered: HTTP {response.status}")
        return await close(found, body, "sent")

    @router.post("/dead-letters/{id}/drop")
    async def drop(id: str) -> Response:
        """Give it up for good."""
        return await close(*await waiting(id), "dropped")

    return router


def _now(now_ms: Callable[[], int]) -> Callable[[], datetime]:
    return lambda: instant.to_datetime(now_ms())
