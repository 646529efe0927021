"""What destinations were owed, what came to them and what was given up: log, receivers, letters and account must agree."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pipeline import replay
from pipeline.account_terms import Account
from pipeline.letter import State
from pipeline.replay import Replay
from pipeline.topics import PROCESSED, destination_of, destination_reader
from tests.simulation.due import History

if TYPE_CHECKING:
    from tests.simulation.judge import Folded
    from tests.simulation.world import World

#: (destination, event)
Delivery = tuple[str, str]


class _Letter(NamedTuple):
    of: Delivery
    is_own: bool  #: of the destination itself, not of a replay
    is_sent: bool


class Deliveries:
    """Of an installation at rest. `check(name, holds, detail)` is told what must hold."""

    def __init__(
        self,
        world: "World",
        account: Account | None,
        events: Sequence["Folded"],
        history: History,
        check: Callable[..., None],
    ) -> None:
        self._world = world
        self._account = account
        self._events = events
        self._history = history
        self._check = check
        self._letters = [_letter(kept.body) for kept in world.shards.kinds["dead"].values()]
        self._arrivals: dict[str, list[str]] = {
            host: [one.event for one in received if one.taken] for host, received in world.receivers.received.items()
        }

    def judge(self) -> None:
        """Exactly what was asked for when it was folded arrives or is given up, in order, and is counted so."""
        asked_for: dict[str, set[str]] = defaultdict(set)
        chains: dict[tuple[str, str], list[int]] = defaultdict(list)
        own = {letter.of for letter in self._letters if letter.is_own}
        first = {host: _first_places(arrivals) for host, arrivals in self._arrivals.items()}
        given_up = self._given_up()
        often = self._often()
        replays = self._replays()
        for one in self._events:
            id = one.entry.id
            for asked in self._history.asked("destinations", one.entry.type, one.revision):
                asked_for[asked.id].add(id)
                if not asked.lasting:
                    continue
                place = first.get(asked.id, {}).get(id)
                if (asked.id, id) in self._world.losses.gone.letters:
                    continue  # given up, and forgotten with the documents
                if (asked.id, id) not in own:  # else it may come by hand, or have come to an owner that did not count
                    self._check("not delivered:", place is not None, f"{asked.id} {id} {one.revision}")
                    if (asked.id, id) not in given_up:
                        chains[asked.id, one.entry.profile or id].append(-1 if place is None else place)
                wanted = 1 + sum(
                    one.position <= each.ends[PROCESSED][one.partition] for each in replays if each.group == asked.group
                )
                self._check("not delivered often enough:", often[asked.id, id] >= wanted, f"{asked.id} {id}")
        for host, received in self._world.receivers.received.items():
            uninvited = {one.event for one in received} - asked_for[host]
            self._check("delivered though not due:", not uninvited, f"{host} {uninvited}")
        for key, places in chains.items():
            self._check("delivered out of order:", places == sorted(places), key)
        for letter in self._letters:
            host, event = letter.of
            self._check("a letter of what was not due:", event in asked_for[host], letter)
            self._check("sent by hand but not taken:", not letter.is_sent or event in first.get(host, ()), letter)
        if self._account is not None:
            self._counted(self._account, asked_for)

    def _counted(self, account: Account, asked_for: Mapping[str, set[str]]) -> None:
        for id, reader in account.destinations.items():
            own = [letter for letter in self._letters if letter.is_own and letter.of[0] == id]
            dead = len(own) + self._unwritten(id) - sum(letter.is_sent for letter in own)
            self._check("dead letters counted:", reader.dead == dead, f"{id} {reader.dead}, there are {dead}")
            self._check("more due than asked for:", reader.due <= len(asked_for[id]), f"{id} {reader.due}")
            if self._history.always("destinations", id):
                due = len(asked_for[id])
                least = due - self._world.losses.gone.due[destination_reader(id)]
                self._check("due counted:", least <= reader.due <= due, f"{id} {reader.due}, there are {due}")
                self._check("delivered counted:", reader.delivered == reader.due - dead, f"{id} {reader.delivered}")

    def _given_up(self) -> set[Delivery]:
        """What an owner that did not count may have given up, after which it went on with the next: refused, or failed when more
        than a day has passed at once. Its successor delivered it all the same, but late.
        """
        receivers = self._world.receivers
        refused = {
            (host, one.event) for host, received in receivers.received.items() for one in received if one.refused
        }
        return refused | receivers.failed if self._world.happened["jump"] else refused

    def _unwritten(self, id: str) -> int:
        """Letters that are counted and not written: their writer died, and the destination is off since."""
        kinds = self._world.shards.kinds
        bodies = [msgspec.json.decode(kept.body) for kept in kinds["progress"].values()]
        listed = [set(body["letters"]) for body in bodies if destination_of(body["group"]) == id]
        unwritten = sum(len(ids - kinds["dead"].keys()) for ids in listed)
        self._check("letters not written", not unwritten or not self._history.always("destinations", id), id)
        return unwritten

    def _often(self) -> Counter[Delivery]:
        """How often each delivery came or was given up."""
        often = Counter((host, event) for host, arrivals in self._arrivals.items() for event in arrivals)
        often.update(letter.of for letter in self._letters if not letter.is_sent)
        return often

    def _replays(self) -> Sequence[Replay]:
        """Those of destinations; of none is it known what it found once retention has dropped something."""
        if self._world.broker.seen.get("retention dropped something"):
            return []
        rows: Iterator[Any] = (row for row in self._world.rows.history if row.kind == replay.KIND and not row.deleted)
        replays = [replay.decode(row.body) for row in rows if row.id not in self._world.withdrawn]
        return [one for one in replays if not one.is_of_store]


def _letter(body: bytes) -> _Letter:
    found = msgspec.json.decode(body)
    sent = found["state"] in (State.SENT, State.RESENT)
    return _Letter((found["destination"], found["event"]), "replay" not in found, sent)


def _first_places(arrivals: Sequence[str]) -> Mapping[str, int]:
    return {event: place for place, event in reversed(list(enumerate(arrivals)))}
