"""Definitions over HTTP: list, read, create or replace, delete."""

import decimal
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from pipeline import definition, envelope, instant
from pipeline.definition import Destination, Rule, Workflow
from pipeline.delivery import Selection
from pipeline.errors import Malformed, NotFound
from pipeline.ports import Ports
from pipeline.reference import compile_template
from pipeline.secrets import unresolved
from pipeline.workflow.flow import Tools, compile_workflow
from serve import outgoing
from serve.body import read_body
from serve.changes import Changes
from serve.data import bounded
from serve.errors import json_response
from serve.openapi import request_body

_MAX_BODY_BYTES = 1_000_000


def definitions_routes(ports: Ports) -> APIRouter:
    """Routes under the private API's root."""
    router = APIRouter(tags=["definitions"])
    kinds = "|".join(definition.KINDS)
    changes = Changes(ports)

    def now() -> datetime:
        return instant.to_datetime(ports.clock.now_ms())

    @router.get("/{kind}", include_in_schema=True)
    async def list_definitions(kind: str, limit: int = 1000, cursor: str = "") -> Response:
        """All definitions of a kind (sources, destinations, workflows, rules) by id."""
        _known(kind, kinds)
        limit = bounded(limit)
        total = await ports.definitions.count(kind)
        rows = await ports.definitions.list(kind, after=cursor, limit=limit + 1)
        items = [msgspec.Raw(row.body) for row in rows[:limit]]
        more = rows[limit - 1].id if len(rows) > limit else ""
        return json_response({"total": total, "items": items, "cursor": more})

    @router.get("/{kind}/{id:path}")
    async def get_definition(kind: str, id: str) -> Response:
        """One definition."""
        _known(kind, kinds)
        row = await ports.definitions.get(kind, id)
        if row is None or row.deleted:
            raise NotFound(f"there is no {kind[:-1]} {id!r}")
        return json_response(msgspec.Raw(row.body))

    @router.put("/{kind}/{id:path}", openapi_extra=request_body(*definition.KINDS.values(), optional=("id",)))
    async def put_definition(kind: str, id: str, request: Request) -> Response:
        """Create or replace; every worker acts on it within two seconds."""
        _known(kind, kinds)
        body = with_id(await read_body(request, _MAX_BODY_BYTES), id)
        await _check(definition.parse(kind, body), now, ports)
        revision = await changes.put(kind, id, body)
        return json_response({"id": id, "revision": revision})

    @router.delete("/{kind}/{id:path}")
    async def delete_definition(kind: str, id: str) -> Response:
        """Delete; a destination's cursor goes with it."""
        _known(kind, kinds)
        revision = await changes.delete(kind, id)
        return json_response({"id": id, "revision": revision})

    return router


def _known(kind: str, kinds: str) -> None:
    if kind not in definition.KINDS:
        raise NotFound(f"there are no {kind[:64]!r}; definitions are {kinds.replace('|', ', ')}")


def with_id(body: bytes, id: str) -> bytes:
    """The same object with the URL's id in it. Raises `Malformed` when it names another one."""
    try:
        value: Any = envelope.decode_object(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"this is not a JSON object: {error}") from error
    except RecursionError:
        raise Malformed("this object is nested too deeply") from None
    except decimal.InvalidOperation:
        raise Malformed("this object holds a number too large to be one") from None
    if value.setdefault("id", id) != id:
        raise Malformed(f"the body says {value['id']!r}, the address says {id!r}", "id")
    return envelope.encode(value)


async def _check(value: object, now: Callable[[], datetime], ports: Ports) -> None:
    """Compile what will be compiled by the workers, so that a mistake is answered here."""
    if isinstance(value, Destination):
        Selection(value, now)
        if value.mapping:
            compile_template(value.mapping)
        outgoing.check(value.settings)
    elif isinstance(value, Workflow):
        compile_workflow(value, Tools(now, unresolved))
    elif isinstance(value, Rule):
        workflow = await ports.definitions.get("workflows", value.workflow)
        if workflow is None or workflow.deleted:
            raise Malformed(f"there is no workflow {value.workflow[:64]!r}; put it first", "workflow")
