"""Making what the documents need on Elasticsearch, before anything is saved."""

import asyncio
from collections.abc import Awaitable, Iterable

import msgspec

from pipeline.clock import Clock, SystemClock
from pipeline.errors import Misconfigured, StoreUnavailable
from pipeline.stores.documents import FIELDS, Kind
from pipeline.stores.elastic_address import ElasticAddress
from pipeline.stores.elastic_client import ElasticClient, fault
from pipeline.stores.elastic_ensure import Meta, check_meta, create, meta_of
from pipeline.stores.elastic_fault import Fault, unavailable
from pipeline.stores.elastic_indices import Indices
from pipeline.stores.elastic_mapping import changing_settings, mappings, template

#: What a user of Elasticsearch must be allowed for each step.
_TEMPLATES = "the cluster privilege manage_index_templates"
_INDICES = "the index privilege manage"


class _Template(msgspec.Struct, frozen=True):
    version: int = 0


class _Named(msgspec.Struct, frozen=True):
    index_template: _Template


class _Templates(msgspec.Struct, frozen=True):
    index_templates: list[_Named] = []


_decode = msgspec.json.Decoder(_Templates).decode


async def migrate(address: ElasticAddress, clock: Clock | None = None) -> None:
    """Make templates, the indices that are not cut by time, and those of now; bring older mappings up to date.

    Safe to repeat, also while an installation runs on it. Raises `UnknownFormat` where a newer Rayfold was at work, and has
    changed nothing then; `Misconfigured` for rights that are missing; `StoreUnavailable`.
    """
    indices = Indices(address, (clock or SystemClock()).now_ms)
    client = ElasticClient(address)
    try:
        was_there = await _check(client, address, indices)
        await _all(_make_template(client, address, indices, kind) for kind in FIELDS)
        await _all(_make_index(client, address, indices, kind) for kind in FIELDS if kind != "profile")
        if was_there:
            for kind in FIELDS:
                body = msgspec.json.encode(mappings(address, kind))
                await _put(client, f"{indices.name(kind)}/_mapping", body, _INDICES)
            settings = msgspec.json.encode({"index": changing_settings(address)})
            await _put(client, f"{indices.pattern}/_settings", settings, _INDICES)
        await _make_index(client, address, indices, "profile")  # last: it says that all is there
    finally:
        await client.close()


async def _all(steps: Iterable[Awaitable[None]]) -> None:
    """At once; raises the first error when all have ended."""
    for result in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def _make_template(client: ElasticClient, address: ElasticAddress, indices: Indices, kind: Kind) -> None:
    await _put(client, f"_index_template/{indices.name(kind)}", template(address, indices, kind), _TEMPLATES)


async def _make_index(client: ElasticClient, address: ElasticAddress, indices: Indices, kind: Kind) -> None:
    index = indices.now(kind)
    failure = await create(client, address, indices, kind, index)
    if failure is not None:
        raise _refusal(failure, index, _INDICES)


async def _put(client: ElasticClient, path: str, body: bytes, privilege: str) -> None:
    answer = await client.request("PUT", f"/{path}", body)
    if answer.status != 200:
        raise _refusal(fault(answer), path, privilege)


async def _check(client: ElasticClient, address: ElasticAddress, indices: Indices) -> bool:
    """Whether an installation is there already."""
    name = indices.name("profile")
    answer = await client.request("GET", f"/_index_template/{name}")
    if answer.status == 200:
        found = max((one.index_template.version for one in _decode(answer.data).index_templates), default=0)
        check_meta(address, name, Meta(found))
    elif answer.status != 404:
        raise _refusal(fault(answer), name, _TEMPLATES)
    answer = await client.request("GET", f"/{name}/_mapping")
    if answer.status == 200:
        check_meta(address, name, meta_of(answer))
    elif answer.status != 404:
        raise _refusal(fault(answer), name, _INDICES)
    return answer.status == 200


def _refusal(failure: Fault, index: str, privilege: str) -> Misconfigured | StoreUnavailable:
    if failure.status == 403 and failure.cause.type == "security_exception":
        return Misconfigured(f"Elasticsearch does not allow it: the user needs {privilege} ({failure.cause.text})")
    if failure.status == 401:
        return Misconfigured(
            f"Elasticsearch does not accept the user name and password, or the API key: {failure.cause.text}"
        )
    if failure.status == 400:
        return Misconfigured(f"Elasticsearch refuses what {index} is to be: {failure.cause.text}")
    return unavailable(failure, index)
