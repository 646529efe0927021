"""What every document store must do. An adapter's test class inherits `DocumentsContract` and provides `documents`."""

import unicodedata
from typing import Literal

import pytest

from pipeline import envelope, instant
from pipeline.errors import Malformed
from pipeline.stores.documents import Document, Documents, Query, Saved
from tests.contracts.ugly import MAY_BE_REFUSED, UGLY_BODIES, UGLY_IDS

#: Ways of writing the same text; ids are compared as they were given.
FORMS: tuple[Literal["NFC", "NFD", "NFKC"], ...] = ("NFC", "NFD", "NFKC")


def event(number: int, **more: object) -> Document:
    body = {
        "id": f"e-{number:05d}",
        "type": "page-view",
        "source": {"id": "shop"},
        "profile": {"id": f"p-{number % 3}"},
        "session": {"id": f"s-{number % 5}"},
        "metadata": {"time": {"insert": instant.to_text(1_700_000_000_000 + number)}, "client": True},
        "properties": {"title": f"Title {number}"},
        **more,
    }
    return Document("event", str(body["id"]), 1, envelope.encode(body))


def profile(id: str, version: int, **more: object) -> Document:
    body = {"id": id, "metadata": {"time": {"update": instant.to_text(1_700_000_000_000)}}, **more}
    return Document("profile", id, version, envelope.encode(body))


async def every_id(documents: Documents, query: Query) -> list[str]:
    """Ids of all pages of a search, two documents each."""
    found: list[str] = []
    cursor = ""
    while True:
        page = await documents.search("event", query, limit=2, cursor=cursor)
        found += [one.id for one in page.items]
        cursor = page.cursor
        if not cursor:
            assert page.total == len(found)
            return found


class DocumentsContract:
    async def visible(self, documents: Documents) -> None:
        """Wait until what was saved can be found by search; a realtime store has nothing to wait for."""

    async def test_what_is_saved_is_loaded_byte_for_byte(self, documents: Documents) -> None:
        one = event(1)
        assert [o.result for o in await documents.save([one])] == [Saved.DONE]
        assert await documents.load("event", [one.id, "nobody"]) == {one.id: one}

    async def test_an_event_is_written_once(self, documents: Documents) -> None:
        first, second = event(1), event(1, type="changed")
        outcomes = [*await documents.save([first]), *await documents.save([second, event(2)])]
        assert [o.result for o in outcomes] == [Saved.DONE, Saved.KEPT, Saved.DONE]
        assert (await documents.load("event", [first.id]))[first.id].body == first.body

    async def test_the_higher_version_of_a_profile_wins_in_any_order(self, documents: Documents) -> None:
        old, new = profile("p", 2, n=2), profile("p", 3, n=3)
        await documents.save([new])
        assert [o.result for o in await documents.save([old])] == [Saved.KEPT]
        assert [o.result for o in await documents.save([profile("p", 3, n="other")])] == [Saved.KEPT]
        assert (await documents.load("profile", ["p"]))["p"] == new
        outcomes = await documents.save([profile("q", 2), profile("q", 5), profile("q", 4)])
        assert [o.result for o in outcomes] == [Saved.DONE, Saved.DONE, Saved.KEPT]
        assert (await documents.load("profile", ["q"]))["q"].version == 5

    async def test_known_sees_events_receipts_and_refused_ones_at_once(self, documents: Documents) -> None:
        receipt = Document("receipt", "r-1", 1, b'{"id":"r-1","outcome":"not_stored"}')
        await documents.save([event(1), receipt])
        await documents.save_refused(Document("event", "bad", 1, b"{}"), "no good")
        assert await documents.known(["e-00001", "r-1", "bad", "nobody"]) == {"e-00001", "r-1", "bad"}
        assert await documents.known([]) == frozenset()
        many = [f"id-{n}" for n in range(3_000)]
        assert await documents.known([*many, "r-1"]) == {"r-1"}

    async def test_a_wrong_type_is_refused_and_kept_under_its_own_id(self, documents: Documents) -> None:
        bad = Document("profile", "p", 2, b'{"id":"p","metadata":{"time":{"update":5}}}')
        outcomes = await documents.save([profile("ok", 1), bad])
        assert [o.result for o in outcomes] == [Saved.DONE, Saved.REFUSED]
        assert outcomes[1].reason
        await documents.save_refused(bad, outcomes[1].reason)
        await self.visible(documents)
        assert (await documents.load("profile", ["p"]))["p"].body == bad.body
        assert await documents.count("profile", Query(equals={"refused": True})) == 1
        assert await documents.count("profile", Query()) == 1
        await documents.save([profile("p", 3)])
        await self.visible(documents)
        assert await documents.count("profile", Query(equals={"refused": True})) == 0
        assert await documents.count("profile", Query()) == 2

    async def test_search_is_newest_first_and_pages_without_gaps(self, documents: Documents) -> None:
        await documents.save([event(n) for n in range(25)])
        await self.visible(documents)
        found, cursor = [], ""
        for _ in range(4):
            page = await documents.search("event", Query(), limit=7, cursor=cursor)
            assert page.total == 25
            found += [one.id for one in page.items]
            cursor = page.cursor
        assert cursor == ""
        assert found == [f"e-{n:05d}" for n in reversed(range(25))]

    async def test_refused_and_timeless_documents_are_paged_too(self, documents: Documents) -> None:
        for n in range(5):
            await documents.save_refused(Document("event", f"bad-{n}", 1, b'{"type":5}'), "type is no text")
        await documents.save([Document("event", f"odd-{n}", 1, b'{"type":"odd"}') for n in range(5)])
        await documents.save([event(1)])
        await self.visible(documents)
        assert await every_id(documents, Query({"refused": True})) == [f"bad-{n}" for n in reversed(range(5))]
        assert await every_id(documents, Query()) == ["e-00001", *(f"odd-{n}" for n in reversed(range(5)))]
        later = instant.to_text(1_700_000_000_000 + 2)
        assert await every_id(documents, Query(until=later)) == ["e-00001"]  # what has no time is not before one
        assert await every_id(documents, Query(since=later)) == []

    async def test_search_by_fields_times_and_words(self, documents: Documents) -> None:
        await documents.save([event(n) for n in range(30)])
        await documents.save([event(90, type="search", properties={"q": "Soft ROCK 50%_off"}, message_id="m")])
        await self.visible(documents)

        async def ids(query: Query) -> list[str]:
            return sorted(one.id for one in (await documents.search("event", query, limit=100)).items)

        assert await ids(Query({"type": "search"})) == ["e-00090"]
        assert await ids(Query({"message": "m", "client": True})) == ["e-00090"]
        assert await ids(Query({"profile": "p-1", "session": "s-2", "type": "page-view"})) == ["e-00007", "e-00022"]
        time = instant.to_text(1_700_000_000_000 + 28)
        assert await ids(Query(since=time)) == ["e-00028", "e-00029", "e-00090"]
        assert len(await ids(Query(until=time))) == 28
        assert await ids(Query(text="rock soft")) == ["e-00090"]
        assert await ids(Query(text="50%_off")) == ["e-00090"]
        assert await ids(Query(text="rock jazz")) == []

    async def test_an_alias_is_found_only_as_one(self, documents: Documents) -> None:
        await documents.save([profile("a", 1), profile("b", 2, merged_into="a")])
        await self.visible(documents)
        assert [one.id for one in (await documents.search("profile", Query())).items] == ["a"]
        assert [one.id for one in (await documents.search("profile", Query({"merged_into": "a"}))).items] == ["b"]
        assert await documents.count("profile", Query()) == 1

    async def test_a_bad_cursor_and_an_unknown_field_are_refused(self, documents: Documents) -> None:
        for cursor in ("x", "bm90IG91cnM=", "%%%"):
            with pytest.raises(Malformed, match="cursor"):
                await documents.search("event", Query(), cursor=cursor)
        with pytest.raises(Malformed):
            await documents.search("event", Query({"shoe_size": "42"}))
        for query in (Query(since="2020"), Query(until="2020")):
            with pytest.raises(Malformed, match="time"):
                await documents.count("progress", query)

    @pytest.mark.parametrize("name", UGLY_BODIES)
    async def test_ugly_bodies_come_back_as_they_were(self, documents: Documents, name: str) -> None:
        body = UGLY_BODIES[name]
        for kind in ("event", "profile"):
            document = Document(kind, "ugly", 1, body)  # type: ignore[arg-type]
            (outcome,) = await documents.save([document])
            if name not in MAY_BE_REFUSED:
                assert outcome.result is Saved.DONE, outcome.reason
            if outcome.result is Saved.REFUSED:
                await documents.save_refused(document, outcome.reason)
            assert (await documents.load(kind, ["ugly"]))["ugly"].body == body  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", UGLY_BODIES)
    async def test_an_ugly_body_is_found_like_any_other(self, documents: Documents, name: str) -> None:
        body = b'{"id":"ugly","type":"page-view","properties":' + UGLY_BODIES[name] + b"}"
        outcomes = await documents.save([event(1), Document("event", "ugly", 1, body), event(2)])
        assert [o.result for o in outcomes[::2]] == [Saved.DONE, Saved.DONE]
        if name not in MAY_BE_REFUSED:
            assert outcomes[1].result is Saved.DONE, outcomes[1].reason
        await self.visible(documents)
        page = await documents.search("event", Query({"type": "page-view"}))
        expected = [body] if outcomes[1].result is Saved.DONE else []
        assert [one.body for one in page.items] == [event(2).body, event(1).body, *expected]

    async def test_ugly_ids_stay_apart(self, documents: Documents) -> None:
        saved = [profile(id, n + 1) for n, id in enumerate(UGLY_IDS)]
        assert {o.result for o in await documents.save(saved)} == {Saved.DONE}
        found = await documents.load("profile", UGLY_IDS)
        assert {id: one.version for id, one in found.items()} == {id: n + 1 for n, id in enumerate(UGLY_IDS)}

    async def test_ugly_ids_are_known_and_nothing_that_looks_like_them(self, documents: Documents) -> None:
        receipts = [Document("receipt", id, 1, b"{}") for id in UGLY_IDS[::2]]
        events = [Document("event", id, 1, b"{}") for id in UGLY_IDS[1::2]]
        assert {o.result for o in await documents.save([*receipts, *events])} == {Saved.DONE}
        alike = {
            other
            for id in UGLY_IDS
            for other in (id.swapcase(), id + " ", id[:-1], *(unicodedata.normalize(form, id) for form in FORMS))
        }
        assert await documents.known([*UGLY_IDS, *alike.difference(UGLY_IDS)]) == frozenset(UGLY_IDS)
        assert await documents.load("event", sorted(alike.difference(UGLY_IDS))) == {}

    @pytest.mark.parametrize("field", ["type", "source", "profile", "session", "message"])
    async def test_ugly_values_are_told_apart_by_a_search(self, documents: Documents, field: str) -> None:
        def body(value: str) -> dict[str, object]:
            name = {"message": "message_id"}.get(field, field)
            return {name: value if field in ("type", "message") else {"id": value}}

        await documents.save([event(n, **body(value)) for n, value in enumerate(UGLY_IDS)])
        await self.visible(documents)
        for n, value in enumerate(UGLY_IDS):
            page = await documents.search("event", Query({field: value}))
            assert (page.total, [one.id for one in page.items]) == (1, [f"e-{n:05d}"]), value

    @pytest.mark.parametrize("time", [{}, {"metadata": {"time": {"insert": "2024-01-01T00:00:00.000Z"}}}])
    async def test_ugly_ids_are_paged_without_gaps(self, documents: Documents, time: dict[str, object]) -> None:
        await documents.save([Document("event", id, 1, envelope.encode({"id": id, **time})) for id in UGLY_IDS])
        await self.visible(documents)
        assert await every_id(documents, Query()) == sorted(UGLY_IDS, reverse=True)
