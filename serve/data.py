"""Profiles, sessions, events, dead letters and logs over HTTP."""

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response

from pipeline import identity, instant
from pipeline.document import decode_document
from pipeline.errors import Malformed, NotFound
from pipeline.identity import Kind as IdKind
from pipeline.ports import Ports
from pipeline.stores.documents import Document, Kind, Page, Query
from serve.errors import json_response

_MAX_LIMIT = 1_000

#: The last instant that can be written.
_END_MS = instant.parse("9999-12-31T23:59:59.999Z")

#: Aliases followed before a chain is called broken.
_MAX_ALIASES = 100


def data_routes(ports: Ports) -> APIRouter:
    """Routes under the private API's root."""
    router = APIRouter(tags=["data"])
    documents = ports.documents

    async def search(kind: Kind, query: Query, limit: int, cursor: str) -> Response:
        return json_response(listing(await documents.search(kind, query, limit=bounded(limit), cursor=cursor)))

    @router.get("/profiles")
    async def list_profiles(limit: int = 25, cursor: str = "", q: str = "") -> Response:
        """Profiles, latest change first."""
        return await search("profile", Query(text=q), limit, cursor)

    # ids may hold any character, "/" too: what follows an id in an address is looked for first

    @router.get("/profiles/{id:path}/events")
    async def profile_events(id: str, limit: int = 25, cursor: str = "") -> Response:
        """Events of a profile, newest first."""
        profile = await find_profile(ports, id)
        return await search("event", Query({"profile": profile.id}), limit, cursor)

    @router.get("/profiles/{id:path}")
    async def get_profile(id: str) -> Response:
        """A profile by any id it ever had."""
        return json_response(msgspec.Raw((await find_profile(ports, id)).body))

    @router.get("/sessions")
    async def list_sessions(profile: str = "", limit: int = 25, cursor: str = "", q: str = "") -> Response:
        """Sessions, newest first; one that several profiles shared is listed once for each."""
        if profile:
            profile = (await find_profile(ports, profile)).id
        return await search("session", Query(chosen(profile=profile), text=q), limit, cursor)

    @router.get("/sessions/{id:path}")
    async def get_session(id: str) -> Response:
        """A session; when several profiles shared it, the latest part with all of them under `parts`."""
        page = await documents.search("session", Query({"session": id}), limit=100)
        if not page.items:
            raise NotFound(f"there is no session {id[:64]!r}")
        parts = [decode_document(one.body) for one in page.items]
        newest = max(parts, key=lambda part: str(part["metadata"]["time"]["update"]))
        return json_response(newest if len(parts) == 1 else {**newest, "parts": parts})

    @router.get("/events/{id:path}")
    async def get_event(id: str, source: str = "") -> Response:
        """An event by its id, or with `source` by the client's own id."""
        key = identity.event_id(source, id) if source else id
        found = await documents.load("event", [key], anywhen=True)
        if key not in found:
            raise NotFound(f"there is no event {id[:64]!r}")
        return json_response(msgspec.Raw(found[key].body))

    @router.get("/events")
    async def list_events(
        type: str = "",
        source: str = "",
        profile: str = "",
        session: str = "",
        since: str = "",
        until: str = "",
        q: str = "",
        limit: int = 25,
        cursor: str = "",
    ) -> Response:
        """Events, newest first; `since` and `until` are RFC 3339 times."""
        since, until = _time(since, "since"), _time(until, "until")
        if profile:
            profile = (await find_profile(ports, profile)).id
        equals = chosen(type=type, source=source, profile=profile, session=session)
        return await search("event", Query(equals, since, until, q), limit, cursor)

    @router.get("/dead-letters")
    async def dead_letters(destination: str = "", state: str = "", limit: int = 25, cursor: str = "") -> Response:
        """Deliveries that were given up."""
        return await search("dead", Query(chosen(destination=destination, state=state)), limit, cursor)

    @router.get("/runs")
    async def runs(
        workflow: str = "", state: str = "", profile: str = "", limit: int = 25, cursor: str = ""
    ) -> Response:
        """Finished workflow runs, newest first."""
        equals = chosen(workflow=workflow, state=state, profile=profile)
        return await search("run", Query(equals), limit, cursor)

    @router.get("/logs")
    async def logs(level: str = "", stage: str = "", since: str = "", limit: int = 100, cursor: str = "") -> Response:
        """Warnings and errors of all workers, newest first."""
        return await search("log", Query(chosen(level=level, stage=stage), _time(since, "since")), limit, cursor)

    return router


def _time(text: str, name: str) -> str:
    """The same instant as documents write it; the future may be asked for."""
    return instant.to_text(instant.from_text(text, name, _END_MS - instant.MAX_AHEAD_MS)) if text else ""


def chosen(**given: str) -> Mapping[str, str | bool]:
    """The conditions that were given."""
    return {name: value for name, value in given.items() if value}


def bounded(limit: int) -> int:
    if limit < 1:
        raise Malformed("at least 1", "limit")
    return min(limit, _MAX_LIMIT)


def listing(page: Page) -> dict[str, Any]:
    """A page as every list is answered."""
    return {"total": page.total, "items": [msgspec.Raw(one.body) for one in page.items], "cursor": page.cursor}


async def find_profile(ports: Ports, id: str) -> Document:
    """The profile behind an id it has or ever had. Raises `NotFound`."""
    candidates = dict.fromkeys((id, identity.mint(IdKind.PROFILE, id), identity.mint(IdKind.SESSION, id)))
    for candidate in candidates:
        for _ in range(_MAX_ALIASES):
            found = (await ports.documents.load("profile", [candidate])).get(candidate)
            if found is None:
                break
            to = decode_document(found.body).get("merged_into")
            if to is None:
                return found
            candidate = to
    raise NotFound(f"there is no profile {id[:64]!r}")
