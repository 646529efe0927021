"""The terms of the account, and what must be equal in it."""

import msgspec


class Reader(msgspec.Struct, kw_only=True):
    """What is due to a destination: ``due = delivered + dead + in_flight``. A dead letter sent by hand is delivered."""

    due: int = 0
    delivered: int = 0
    dead: int = 0
    in_flight: int = 0


class Executed(msgspec.Struct, kw_only=True):
    """Workflow runs: ``due = run + dead + in_flight``."""

    due: int = 0
    run: int = 0
    dead: int = 0
    in_flight: int = 0


class Account(msgspec.Struct, kw_only=True):
    """Client events, but for `internal` and what is said to be something else."""

    accepted: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    not_stored: int = 0
    dead: int = 0
    in_flight: int = 0
    internal: int = 0  #: events made by Rayfold itself
    erased: int = 0
    refused_effects: int = 0  #: commands refused: too deep a chain of causes, or no such profile
    forwarded: int = 0
    taken: int = 0
    forwards_in_flight: int = 0
    commands_in_flight: int = 0  #: effects and aliases on their way to their partition
    unsaved_envelopes: int = 0  #: of `processed`, not yet in the document store
    destinations: dict[str, Reader] = {}
    without_group: list[str] = []  #: enabled destinations that nobody reads for: what comes is not delivered to them
    replays: dict[str, Reader] = {}  #: of destinations, by the replay's id
    replays_underway: int = 0  #: of the store too: while there is one, documents may be missing
    workflows: Executed = msgspec.field(default_factory=Executed)
    balanced: bool = False
    quiet: bool = False  #: nothing is under way anywhere
    verified: bool | None = None  #: the documents were counted too, and agree
    documents: dict[str, int] = {}  #: as counted
    differences: list[str] = []  #: between the documents and what the envelopes say

    def close(self) -> None:
        """Draw the line: says whether both sides agree."""
        readers = [*self.destinations.values(), *self.replays.values()]
        outcomes = self.stored + self.duplicate + self.rejected + self.not_stored + self.dead + self.in_flight
        self.balanced = (
            self.accepted == outcomes
            and self.forwarded == self.taken + self.forwards_in_flight
            and all(one.due == one.delivered + one.dead + one.in_flight for one in readers)
            and self.workflows.due == self.workflows.run + self.workflows.dead + self.workflows.in_flight
        )
        self.quiet = not (
            self.in_flight
            or self.commands_in_flight
            or self.unsaved_envelopes
            or self.workflows.in_flight
            or any(one.in_flight for one in readers)
            or self.replays_underway
        )
