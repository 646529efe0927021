"""The two APIs, each of which can fail while the other works."""

import asyncio
import json

from cluster.checks.finding import Finding
from cluster.checks.web import NoAnswer, Refused, Web
from cluster.settings import Settings
from pipeline.errors import RayfoldError

_PUBLIC = "public API"
_PRIVATE = "private API"

_AGAIN = (
    "Ray Serve starts it again by itself, which may take a minute; when this lasts look into the folder's ray.log and into "
    "GET /api/logs?level=error"
)


def public(settings: Settings) -> str:
    """Why it takes no events; empty where it does."""
    return asyncio.run(_ready(settings))


async def _ready(settings: Settings) -> str:
    async with Web(settings.url) as web:
        try:
            await web.text("/ready")
        except (NoAnswer, Refused) as error:
            return str(error)
    return ""


def apis(settings: Settings, public_fault: str, private_fault: RayfoldError | None) -> list[Finding]:
    """Both, each judged by how the other one is."""
    return [_public(settings, public_fault, private_fault is None), _private(settings, private_fault, not public_fault)]


def _public(settings: Settings, fault: str, other_works: bool) -> Finding:
    if not fault:
        return Finding(_PUBLIC, True, f"takes events at {settings.url}/track")
    if not other_works:
        return Finding(
            _PUBLIC, False, f"does not take events at {settings.url}: {_said(fault)}", "start it with `rayfold up`"
        )
    what = f"fails while the private API works: {_said(fault)}"
    if _is_told(fault):
        return Finding(_PUBLIC, False, what, "do what it says; clients that send again lose nothing")
    return Finding(_PUBLIC, False, what, f"clients that send again lose nothing. {_AGAIN}")


def _private(settings: Settings, fault: RayfoldError | None, other_works: bool) -> Finding:
    if fault is None:
        return Finding(_PRIVATE, True, f"answers at {settings.url}/api")
    if not other_works:
        return Finding(_PRIVATE, False, str(fault), "start it with `rayfold up`, or name its folder and port")
    what = f"fails while the public API works, so events are taken all the while: {fault}"
    return Finding(_PRIVATE, False, what, f"do what it says where it says so. {_AGAIN}")


def _said(fault: str) -> str:
    """The API's own sentence, where there is one in what it answered."""
    status, _, body = fault.partition(" {")
    try:
        return f"{status} {json.loads('{' + body)['detail']}"
    except (ValueError, KeyError, TypeError):
        return fault


def _is_told(fault: str) -> bool:
    """Whether a replica answered and said why; without one the ingress does."""
    return "{" in fault and "No replica" not in fault
