"""The reference model: what must be true of an installation that has come to rest, whatever happened to it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pipeline import envelope
from pipeline.account_terms import Account
from pipeline.document import decode_living
from pipeline.envelope import INTERNAL, TRANSIENT, Entry
from pipeline.log.port import Message, Position
from pipeline.topics import COLLECTED, PROCESSED, RUNS
from tests import invariants
from tests.invariants import Evidence, check_all
from tests.simulation.client import Sent
from tests.simulation.deliveries import Deliveries
from tests.simulation.due import History

if TYPE_CHECKING:
    from tests.simulation.world import World


class Folded(NamedTuple):
    """One event as `processed` holds it."""

    partition: int
    place: int  #: in its partition
    position: Position
    revision: int
    entry: Entry
    body: Mapping[str, Any]


class Judge:
    """Compares what the log and the stores hold with what the clients know."""

    def __init__(self, world: "World", account: Account | None) -> None:
        self.world = world
        self.account = account
        self.wrong = world.wrong
        processed = self._all(PROCESSED, envelope.decode_processed)
        runs = self._all(RUNS, envelope.decode_runs)
        kept = {kind: {id: one.body for id, one in found.items()} for kind, found in world.shards.kinds.items()}
        self.evidence = Evidence(processed, runs, kept)
        self.folded: list[Folded] = []
        for place, (message, one) in enumerate(processed):
            for entry in one.events:
                body = envelope.decode_object(entry.body)
                self.folded.append(Folded(message.partition, place, message.position, one.revision, entry, body))
        self.by_mark: dict[str, list[Folded]] = defaultdict(list)
        for one in self.folded:
            if not one.entry.flags & INTERNAL:
                self.by_mark[one.body["properties"]["mark"]].append(one)
        self.erased = {one.entry.profile for one in self.folded if one.entry.type == "profile-deleted"}
        self.profiles = {
            id: body
            for id, kept in world.shards.kinds["profile"].items()
            if (body := decode_living(kept.body)) is not None
        }
        self.history = History(world.rows.history)
        self.sent: dict[str, Sent] = {
            mark: sent for client in world.clients for sent in client.sent for mark in sent.marks
        }

    def _all(self, topic: str, decode: Any) -> list[tuple[Message, Any]]:
        return [
            found
            for partition in range(self.world.partitions)
            for found in invariants.once(self.world.broker.history(topic, partition), decode, self.check)
        ]

    def check(self, name: str, holds: bool, detail: object = "") -> None:
        if not holds:
            self.wrong.append(f"{name} {detail}".strip())

    def survivor(self, id: str) -> str | None:
        """Whom an id stands for, None when it leads nowhere."""
        end = self.end(id)
        return end if end in self.profiles else None

    def end(self, id: str) -> str:
        """Where its aliases lead, there being a profile or not."""
        for _ in range(100):
            body = self.profiles.get(id)
            if body is None or "merged_into" not in body:
                return id
            id = body["merged_into"]
        self.check("aliases lead in a circle", False, id)
        return id

    # ---- the invariants

    def events(self) -> None:
        """Answered 200: there once. Anything: there at most once."""
        for mark, sent in self.sent.items():
            found = len(self.by_mark.get(mark, ()))
            self.check("counted more than once:", found <= 1, mark)
            self.check("answered 200 and lost:", found == 1 or not sent.answered, mark)
        for one in self._client_events():
            sent = self.sent[one.body["properties"]["mark"]]
            transient = bool(one.entry.flags & TRANSIENT)
            self.check("kept though it was not to be:", transient is not sent.stored, one.entry.id)
        self.check("rejected", self.account is None or self.account.rejected == 0)

    def accepted(self) -> None:
        """Each append of an API process counts once, its copies and what it was told of as failed too late do not."""
        accepted = 0
        for partition in range(self.world.partitions):
            newest: dict[str, int] = {}
            for message in self.world.broker.history(COLLECTED, partition):
                header = envelope.decode_collected_header(message.data)
                sender = header.sender
                if header.origins or (sender is not None and sender.sequence <= newest.get(sender.name, 0)):
                    continue
                if sender is not None:
                    newest[sender.name] = sender.sequence
                accepted += sum(header.counts)
        if self.account is not None:
            self.check("accepted", self.account.accepted == accepted, f"{self.account.accepted}, {accepted} came in")

    def counters(self) -> None:
        """What each profile counts is what was folded into it, once."""
        interests: Counter[str] = Counter()
        effects: dict[str, Counter[str]] = defaultdict(Counter)
        for one in self.folded:
            if one.entry.profile is None:
                continue
            if one.entry.flags & INTERNAL:
                if one.entry.type == "profile-deleted":  # of its partition, so in this order
                    interests[one.entry.profile] = 0
                    effects[one.entry.profile].clear()
                if one.entry.type == "profile-changed":
                    effects[str(self.survivor(one.entry.profile))][one.body["properties"]["workflow"]] += 1
                continue
            sent = self.sent[one.body["properties"]["mark"]]
            if sent.option("saveProfile"):
                who = self.survivor(one.entry.profile)
                lives = who is not None or self.end(one.entry.profile) in self.erased
                self.check("an event's profile leads nowhere:", lives, one.entry.id)
                if one.entry.type == "increase-interest":
                    interests[str(who)] += 1
        visits = Counter(
            msgspec.json.decode(kept.body)["profile"]["id"] for kept in self.world.shards.kinds["session"].values()
        )
        unsaved = {
            one.entry.profile for one in self.folded if not one.entry.flags & INTERNAL
            and not self.sent[one.body["properties"]["mark"]].option("saveProfile")
        }  # fmt: skip
        for id, body in self.profiles.items():
            if "merged_into" in body:
                lives = self.survivor(id) is not None or self.end(id) in unsaved | self.erased
                self.check("an alias leads nowhere:", lives, id)
                continue
            self.check(
                "interest", body["interests"].get("n", 0) == interests[id], f"{id} {body['interests']} {interests[id]}"
            )
            for workflow in ("w1", "w2"):
                found, expected = body["stats"].get(workflow, 0), effects[id][workflow]
                self.check("effects counted", found == expected, f"{workflow} {id} {found} {expected}")
            if id not in unsaved | self.erased:
                self.check(
                    "visits", body["stats"]["visits"] == visits[id], f"{id} {body['stats']['visits']} {visits[id]}"
                )

    def ids(self) -> None:
        """The profile id that was answered is, or leads to, the one whose event it became."""
        for mark, sent in self.sent.items():
            if sent.answered and sent.profile is not None:
                (one, *_) = self.by_mark.get(mark, [None])
                if one is not None and one.entry.profile is not None and sent.option("saveProfile"):
                    who = self.survivor(sent.profile)
                    lives = who is not None or self.end(sent.profile) in self.erased
                    self.check("an answered id leads nowhere:", lives, sent.profile)
                    self.check("an answered id leads elsewhere:", who == self.survivor(one.entry.profile), mark)

    def order(self) -> None:
        """What one client sent by one key, one after the other, is folded in that order."""
        chains: dict[tuple[int, str, int], list[tuple[int, int]]] = defaultdict(list)
        for mark, sent in self.sent.items():
            if sent.answered and not sent.given_up and mark == sent.marks[0] and mark in self.by_mark:
                one = self.by_mark[mark][0]
                chains[sent.client, sent.key, one.partition].append((sent.number, one.place))
        for key, chain in chains.items():
            places = [place for _, place in sorted(chain)]
            self.check("out of order:", places == sorted(places), key)

    def effects(self) -> None:
        """The effects of each run are applied, but to a profile that was not to be saved."""
        internal = Counter(
            one.entry.id for one in self.folded if one.entry.flags & INTERNAL and one.entry.type != "profile-deleted"
        )
        wanted = invariants.effects(self.evidence)
        refused = wanted - internal
        self.check("effects refused", self.account is None or refused.total() == self.account.refused_effects)
        unkept = [one for one in self.folded if one.entry.id in self._causes(refused)]
        for one in unkept:
            wanted_kept = self.sent[one.body["properties"]["mark"]].option("saveProfile")
            self.check("effect missing", not wanted_kept or one.entry.profile in self.erased, refused)

    def deliveries(self) -> None:
        """See `tests/simulation/deliveries.py`."""
        Deliveries(self.world, self.account, list(self._client_events()), self.history, self.check).judge()

    def due_runs(self) -> None:
        """What a rule asked for when it was folded ran; nothing else."""
        ran = {
            (body["workflow"], body["event"])
            for _, one in self.evidence.runs
            for stored in one.runs
            for body in [msgspec.json.decode(bytes(stored.body))]
        }
        asked_for: set[tuple[str, str]] = set()
        for one in self._client_events():
            for asked in self.history.asked("rules", one.entry.type, one.revision):
                run = (asked.body["workflow"], one.entry.id)
                asked_for.add(run)
                if asked.lasting and self.history.lasting("workflows", run[0], one.revision):
                    self.check("did not run:", run in ran, run)
        self.check("ran though not due:", ran <= asked_for, ran - asked_for)

    def revisions(self) -> None:
        """What was sent after a change was answered is folded by it, or by a newer one."""
        for one in self._client_events():
            sent = self.sent[one.body["properties"]["mark"]]
            self.check("folded by old definitions:", sent.revision <= one.revision, f"{sent.revision} > {one.revision}")
            if sent.answered:
                newer = [r for r, begun_s in self.world.operator.begun_s.items() if sent.answered_s < begun_s]
                self.check("folded by newer definitions:", one.revision < min(newer, default=1 << 60), one.entry.id)

    def _client_events(self) -> Iterator[Folded]:
        return (one for one in self.folded if not one.entry.flags & INTERNAL)

    def _causes(self, runs: Mapping[str, int]) -> set[str]:
        records = [msgspec.json.decode(kept.body) for id, kept in self.world.shards.kinds["run"].items() if id in runs]
        return {record["event"] for record in records}


def judge(world: "World", account: Account | None) -> None:
    """Write what is not as it should be into ``world.wrong``."""
    one = Judge(world, account)
    check_all(one.evidence, one.check)
    for invariant in (
        one.events,
        one.accepted,
        one.counters,
        one.ids,
        one.order,
        one.effects,
        one.deliveries,
        one.due_runs,
        one.revisions,
    ):
        invariant()
