"""What is done to an installation: kill -9, or a stop that ends after a while, of one process, of two, or of all."""

import os
import random
import signal
from collections.abc import Collection, Iterable
from typing import NamedTuple

from cluster.topology import LAYOUTS
from tests.chaos.processes import RAY, by_role
from tests.installation import Installation

KILL = "kill"
STOP = "stop"

#: Kinds beside single processes: two of them, all but the supervisor, the supervisor, all.
PAIR = "pair"
NODE = "node"
SUPERVISOR = "supervisor"
EVERYTHING = "everything"

#: After these nobody is left to start anything again: somebody types `rayfold up`.
BY_HAND = frozenset((SUPERVISOR, EVERYTHING))


class Fault(NamedTuple):
    """One of a round."""

    kind: str
    how: str
    roles: tuple[str, ...]  #: one process of each is meant; empty: as the kind says

    def __str__(self) -> str:
        return f"{self.how} {self.kind}" + (f" ({' + '.join(self.roles)})" if self.kind == PAIR else "")


def processes(layout: str, servers: Collection[str] = ()) -> list[str]:
    """The kinds that are one process in this layout, servers included."""
    return ["api.public", "api.private", *LAYOUTS[layout], *RAY, *servers]


def kinds(layout: str, servers: Collection[str] = ()) -> list[str]:
    """All that an installation of this layout can suffer of these faults."""
    return [*processes(layout, servers), PAIR, NODE, SUPERVISOR, EVERYTHING]


def kind(name: str, layout: str, servers: Collection[str] = ()) -> str:
    """The kind for a name: of a stage it is the worker that runs it. Raises `KeyError` for an unknown one."""
    if name in kinds(layout, servers):
        return name
    return {stage: worker for worker, stages in LAYOUTS[layout].items() for stage in stages}[name]


def fault(kind: str, how: str, layout: str, chance: random.Random, servers: Collection[str] = ()) -> Fault:
    """Of a pair, which two is left to chance."""
    if kind == PAIR:
        return Fault(kind, how, tuple(chance.sample(processes(layout, servers), 2)))
    return Fault(kind, how, () if kind in (NODE, SUPERVISOR, EVERYTHING) else (kind,))


def victims(fault: Fault, installation: Installation, chance: random.Random, servers: Collection[str]) -> list[int]:
    """The processes it means, servers excepted, as they are now. Raises `IndexError` when there is none of a kind."""
    if fault.roles:
        roles = by_role(installation.members())
        return [chance.choice(sorted(roles.get(role, ()))) for role in fault.roles if role not in servers]
    alone = [installation.supervisor] if fault.kind != NODE else []
    return alone if fault.kind == SUPERVISOR else [*alone, *installation.members()]


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """To all of them, those that ended meanwhile excepted."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def missing(installation: Installation, roles: Collection[str]) -> list[str]:
    """Which of these roles nobody plays just now."""
    now = by_role(installation.members())
    return [role for role in roles if role not in now]
