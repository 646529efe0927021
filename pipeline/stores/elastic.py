"""The documents on Elasticsearch: an index per kind, those that grow with time cut by it."""

from collections.abc import Collection, Mapping, Sequence
from itertools import product

from pipeline.clock import Clock
from pipeline.errors import StoreUnavailable
from pipeline.stores.documents import Document, Kind, Outcome, Page, Query, Saved
from pipeline.stores.elastic_address import ElasticAddress
from pipeline.stores.elastic_bulk import Bulk, Placed
from pipeline.stores.elastic_client import ElasticClient
from pipeline.stores.elastic_ensure import Ensure
from pipeline.stores.elastic_health import Health
from pipeline.stores.elastic_indices import TIMES, Indices
from pipeline.stores.elastic_lookup import Lookup, Wanted
from pipeline.stores.elastic_retention import Retention
from pipeline.stores.elastic_search import Search
from pipeline.stores.elastic_source import Sources, Unfit, key, read

_UNKNOWN = Outcome(Saved.REFUSED, "nothing is known of it")


class ElasticDocuments:
    """See `pipeline.stores.documents.Documents`. It reconnects by itself; callers repeat what failed."""

    def __init__(self, address: ElasticAddress, clock: Clock) -> None:
        self._client = ElasticClient(address)
        self._indices = Indices(address, clock.now_ms)
        self._sources = Sources(self._indices)
        self._ensure = Ensure(self._client, address, self._indices)
        self._bulk = Bulk(self._client)
        self._lookup = Lookup(self._client, clock)
        self._search = Search(self._client)
        self._retention = Retention(self._client, self._indices, clock)
        self.health = Health(self._client, self._indices)

    @classmethod
    async def open(cls, address: ElasticAddress, clock: Clock) -> "ElasticDocuments":
        """A server that is away is no error: the first call says so. Raises `Misconfigured` for an unusable address."""
        return cls(address, clock)

    # ---- reading

    async def load(self, kind: Kind, ids: Collection[str], *, anywhen: bool = False) -> Mapping[str, Document]:
        """As the port says; of kinds that are cut by time only what is recent, or with `anywhen` all that there is."""
        await self._ensure.ready()
        names = self._indices.recent(kind)
        found = await self._load(kind, ids, names)
        if anywhen and kind in TIMES and len(found) < len(ids):
            older = [name for name in await self._retention.existing(kind) if name not in names]
            found.update(await self._load(kind, [id for id in ids if id not in found], older))
        return found

    async def _load(self, kind: Kind, ids: Collection[str], names: Sequence[str]) -> dict[str, Document]:
        wanted = [Wanted(name, key(id)) for id, name in product(ids, names)]
        fixed = "" if kind in TIMES else self._indices.name(kind)
        found: dict[str, Document] = {}
        for one in await self._lookup.get(wanted, fixed):
            id, body = read(one.source)
            if id not in found or found[id].version < one.version:
                found[id] = Document(kind, id, one.version, body)
        return found

    async def known(self, ids: Collection[str]) -> frozenset[str]:
        await self._ensure.ready()
        keys = {key(id): id for id in ids}
        names = [*self._indices.recent("event"), *self._indices.recent("receipt")]
        wanted = [Wanted(name, one) for one, name in product(keys, names)]
        return frozenset(keys[one.key] for one in await self._lookup.get(wanted, source=False))

    async def search(self, kind: Kind, query: Query, *, limit: int = 25, cursor: str = "") -> Page:
        await self._ensure.ready()
        return await self._search.page(self._indices.name(kind), kind, query, limit, cursor)

    async def count(self, kind: Kind, query: Query) -> int:
        await self._ensure.ready()
        return await self._search.count(self._indices.name(kind), kind, query, self._indices.pattern)

    # ---- writing

    async def save(self, documents: Sequence[Document]) -> Sequence[Outcome]:
        await self._ensure.ready()
        outcomes: list[Outcome] = [_UNKNOWN] * len(documents)
        placed: list[Placed] = []
        for place, document in enumerate(documents):
            try:
                placed.append(Placed(place, self._sources.entry(document)))
            except Unfit as error:
                outcomes[place] = Outcome(Saved.REFUSED, str(error))
        await self._ensure.there({(documents[one.place].kind, one.entry.into) for one in placed})
        refused = await self._send(placed, outcomes)
        # what Elasticsearch cannot read as JSON, though it is some, is kept as text
        again = [Placed(place, self._sources.entry(documents[place], opaque=True)) for place in refused]
        for place, reason in (await self._send(again, outcomes)).items():
            outcomes[place] = Outcome(Saved.REFUSED, reason)
        return outcomes

    async def save_refused(self, document: Document, reason: str) -> None:
        await self._ensure.ready()
        entry = self._sources.refused(document, reason)
        await self._ensure.there({(document.kind, entry.into)})
        for why in (await self._send([Placed(0, entry)], [_UNKNOWN])).values():
            raise StoreUnavailable(
                f"index {entry.into} does not take {document.kind} {document.id} even as one that is refused ({why}): its "
                "mapping is not Rayfold's, run `rayfold migrate`"
            )

    async def _send(self, placed: Sequence[Placed], outcomes: list[Outcome]) -> Mapping[int, str]:
        """Places of what was refused → why."""
        try:
            return {one.place: one.reason for one in await self._bulk.send(placed, outcomes)}
        except StoreUnavailable:
            self._ensure.forget()  # an index may be gone: they are made again where they are missing
            raise

    async def expire(self, retention_ms: int) -> Sequence[str]:
        """Drop indices all of whose time is longer ago than that; returns their names. Profiles never go."""
        await self._ensure.ready()
        dropped = await self._retention.drop(retention_ms)
        self._ensure.forget()
        return dropped

    async def close(self) -> None:
        await self._client.close()
