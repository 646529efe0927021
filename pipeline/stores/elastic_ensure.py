"""Indices that have to be there before anything is saved to them."""

import asyncio
from collections.abc import Collection

import msgspec

from pipeline.errors import Misconfigured, StoreUnavailable, UnknownFormat
from pipeline.stores.documents import Kind
from pipeline.stores.elastic_address import ElasticAddress
from pipeline.stores.elastic_client import Answer, ElasticClient, fault
from pipeline.stores.elastic_fault import NO_SHARD, Cause, Fault, unavailable
from pipeline.stores.elastic_indices import TIMES, Indices
from pipeline.stores.elastic_mapping import FORMAT, index_body

#: How long Elasticsearch waits for the first shard of a new index.
_ACTIVE_WAIT = "20s"

_EXISTS = "resource_already_exists_exception"


class Meta(msgspec.Struct, frozen=True):
    """What a mapping says of itself."""

    rayfold_format: int = 0
    time_partition: str = ""


class _Mappings(msgspec.Struct, frozen=True):
    meta: Meta = msgspec.field(name="_meta", default_factory=Meta)


class _Mapping(msgspec.Struct, frozen=True):
    mappings: _Mappings = msgspec.field(default_factory=_Mappings)


class _Created(msgspec.Struct, frozen=True):
    shards_acknowledged: bool = False


_decode_mapping = msgspec.json.Decoder(dict[str, _Mapping]).decode
_decode_created = msgspec.json.Decoder(_Created).decode


class Ensure:
    """Knows which indices exist, and creates those of a new period when the first document comes for it."""

    def __init__(self, client: ElasticClient, address: ElasticAddress, indices: Indices) -> None:
        self._client = client
        self._address = address
        self._indices = indices
        self._there: set[str] = set()
        self._making = asyncio.Lock()
        self._is_checked = False

    async def ready(self) -> None:
        """Raises `UnknownFormat`, `Misconfigured`, or `StoreUnavailable` where `migrate` has not been run."""
        if self._is_checked:
            return
        name = self._indices.name("profile")
        answer = await self._client.call("GET", f"/{name}/_mapping", index=name, ok=(404,))
        found = meta_of(answer) if answer.status == 200 else Meta()
        if found.rayfold_format < FORMAT:
            raise StoreUnavailable(f"index {name} is not what this Rayfold needs: run `rayfold migrate`")
        check_meta(self._address, name, found)
        self._is_checked = True

    async def there(self, wanted: Collection[tuple[Kind, str]]) -> None:
        """Create those that are missing; all can be written to on return."""
        if all(index in self._there for _, index in wanted):
            return
        async with self._making:
            for kind, index in sorted(wanted):
                # one that never changes its name is made by `migrate` alone: were it gone, its documents would be too
                if index not in self._there and kind in TIMES:
                    failure = await create(self._client, self._address, self._indices, kind, index)
                    if failure is not None:
                        raise unavailable(failure, index)
                self._there.add(index)

    def forget(self) -> None:
        """One of them is gone, or was dropped."""
        self._there.clear()


async def create(
    client: ElasticClient, address: ElasticAddress, indices: Indices, kind: Kind, index: str
) -> Fault | None:
    """One that is there already is left as it is. Returns why it could not be made."""
    body = msgspec.json.encode(index_body(address, indices, kind))
    answer = await client.request("PUT", f"/{index}?wait_for_active_shards=1&timeout={_ACTIVE_WAIT}", body)
    if answer.status == 200:
        if _decode_created(answer.data).shards_acknowledged:
            return None
        return Fault(503, Cause(NO_SHARD, f"index {index} was created but has no active shard"))
    failure = fault(answer)
    return None if failure.cause.type == _EXISTS else failure


def meta_of(answer: Answer) -> Meta:
    """Of the answer to ``GET /<index>/_mapping``."""
    return next(iter(_decode_mapping(answer.data).values()), _Mapping()).mappings.meta


def check_meta(address: ElasticAddress, index: str, found: Meta) -> None:
    """Raises `UnknownFormat` for a newer one, `Misconfigured` for one that is cut by another span of time."""
    if found.rayfold_format > FORMAT:
        raise UnknownFormat(
            f"index {index} has format {found.rayfold_format}, this Rayfold reads {FORMAT}: upgrade Rayfold"
        )
    if found.time_partition not in ("", address.time_partition):
        raise Misconfigured(
            f"the indices of this installation are cut by {found.time_partition}, settings say {address.time_partition}: "
            f"set RAYFOLD_DOCUMENTS_BY={found.time_partition}"
        )
