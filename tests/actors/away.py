"""A document store that is away for some calls, or refuses some documents; else the one behind it."""

from collections.abc import Collection, Mapping, Sequence

from pipeline.errors import StoreUnavailable
from pipeline.stores.documents import Document, Documents, Kind, Outcome, Page, Query, Saved


class Away:
    """`fails`: calls of a method that fail first, by its name; `after`: calls that are let through before those that
    fail for ever; `refused`: ids it will never take.
    """

    def __init__(self, store: Documents, refused: Collection[str] = (), **fails: int) -> None:
        self._store = store
        self._refused = refused
        self.fails = fails
        self.after: dict[str, int] = {}

    def _answer(self, method: str) -> None:
        if self.fails.get(method, 0):
            self.fails[method] -= 1
            raise StoreUnavailable(f"{method} is away")
        if method in self.after:
            self.after[method] -= 1
            if self.after[method] < 0:
                raise StoreUnavailable(f"{method} is away")

    async def load(self, kind: Kind, ids: Collection[str], *, anywhen: bool = False) -> Mapping[str, Document]:
        self._answer(f"load_{kind}")
        return await self._store.load(kind, ids, anywhen=anywhen)

    async def known(self, ids: Collection[str]) -> frozenset[str]:
        self._answer("known")
        return await self._store.known(ids)

    async def save(self, documents: Sequence[Document]) -> Sequence[Outcome]:
        for kind in {document.kind for document in documents}:
            self._answer(f"save_{kind}")
        outcomes = iter(await self._store.save([one for one in documents if one.id not in self._refused]))
        return [Outcome(Saved.REFUSED, "not today") if one.id in self._refused else next(outcomes) for one in documents]

    async def save_refused(self, document: Document, reason: str) -> None:
        self._answer("save_refused")
        await self._store.save_refused(document, reason)

    async def search(self, kind: Kind, query: Query, *, limit: int = 25, cursor: str = "") -> Page:
        return await self._store.search(kind, query, limit=limit, cursor=cursor)

    async def count(self, kind: Kind, query: Query) -> int:
        return await self._store.count(kind, query)

    async def expire(self, retention_ms: int) -> Sequence[str]:
        return await self._store.expire(retention_ms)

    async def close(self) -> None:
        await self._store.close()
