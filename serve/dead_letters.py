"""Dead letters: sent again or dropped by hand."""

from fastapi import APIRouter
from fastapi.responses import Response

from pipeline import delivery, instant
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.delivery import Outlet, Verdict, judge
from pipeline.errors import Conflict, NotFound
from pipeline.http.port import HttpFailure
from pipeline.letter import Letter, State
from pipeline.ports import Ports
from pipeline.stores.documents import Saved
from pipeline.undisturbed import Undisturbed
from serve.errors import json_response


class DeadLetters:
    """Decides over letters one by one. Of two who decide at once one is told `Conflict`: each letter is counted once."""

    def __init__(self, ports: Ports, watch: DefinitionsWatch) -> None:
        self._ports = ports
        self._watch = watch

    async def send(self, id: str) -> State:
        """Claim it, try the delivery once more, say what came of it.

        Raises `Conflict` when it is not delivered: then it waits again. After a crash in between it can be sent again two
        minutes later, under the same Idempotency-Key.
        """
        letter = await self._open(id)
        outlet = self._outlet(letter)
        letter = await self._become(letter, State.SENDING)
        failure = await self._try(outlet, letter)
        if failure:
            await self._become(letter, State.WAITING, failure)
            raise Conflict(f"not delivered: {failure}")
        return (await self._become(letter, State.SENT)).state

    async def drop(self, id: str) -> State:
        """Give it up for good."""
        return (await self._become(await self._open(id), State.DROPPED)).state

    async def _open(self, id: str) -> Letter:
        found = (await self._ports.documents.load("dead", [id])).get(id)
        if found is None:
            raise NotFound(f"there is no dead letter {id[:64]!r}")
        letter = Letter(found)
        letter.check_is_open(self._ports.clock.now_ms())
        return letter

    async def _become(self, letter: Letter, state: State, reason: str = "") -> Letter:
        changed = letter.becomes(state, self._ports.clock.now_ms(), reason)
        (saved,) = await self._ports.documents.save([changed])
        if saved.result is Saved.KEPT:
            raise Conflict(f"somebody else has just decided over dead letter {changed.id}: look again")
        return Letter(changed)

    def _outlet(self, letter: Letter) -> Outlet:
        id = str(letter.body["destination"])
        catalog = self._watch.catalog
        destination = catalog.destinations.get(id)
        if destination is None:
            raise Conflict(f"destination {id!r} no longer exists; drop the dead letter instead")
        now_ms = self._ports.clock.now_ms
        return Outlet(destination, lambda: instant.to_datetime(now_ms()), self._ports.secrets.lookup(catalog.secrets))

    async def _try(self, outlet: Outlet, letter: Letter) -> str:
        """Why it was not delivered; empty when it was."""
        try:
            response = await delivery.send(self._ports.http, outlet.call(letter.delivery, letter.request_body))
        except HttpFailure as failure:
            return str(failure)
        return "" if judge(response) is Verdict.DELIVERED else f"HTTP {response.status}"


def dead_letter_routes(ports: Ports, watch: DefinitionsWatch) -> APIRouter:
    """Routes under the private API's root."""
    router = APIRouter(tags=["dead letters"])
    letters = DeadLetters(ports, watch)
    undisturbed = Undisturbed()  # a client that hangs up must not leave a letter half decided

    @router.post("/dead-letters/{id}/send")
    async def send(id: str) -> Response:
        """Try the delivery once more, now, by the destination as it is defined today."""
        return json_response({"id": id, "state": await undisturbed.run(letters.send(id))})

    @router.post("/dead-letters/{id}/drop")
    async def drop(id: str) -> Response:
        """Give it up for good."""
        return json_response({"id": id, "state": await undisturbed.run(letters.drop(id))})

    return router
