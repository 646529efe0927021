"""docs/reliability.md: what was done, under which conditions, and what came of it."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from tests.chaos import faults
from tests.chaos.disk import Filled
from tests.chaos.rounds import Outcome

_METHOD = """# Reliability

Written by `make chaos` (tests/chaos/); the figures are those of the run below, bad ones too.

## Method

A real installation, started by `rayfold up` as a user does, under steady load: 8 clients send single events with message ids
of their own, each again until it is answered 200, while a probe sends an event to each of the 4 partitions with `?wait=stored`
and waits for its delivery, over and over. Every event is due to a destination and to a workflow with an effect on its profile.
At a random moment a random process of the kind gets SIGKILL (*kill*), or SIGSTOP and some time later SIGCONT (*stop*): what was
replaced meanwhile wakes up and must do no harm. Nobody helps, but after *supervisor* and *everything* somebody types
`rayfold up`.

After each round the load ends, and once nothing is under way everything is counted: `account --verify` balances; each message id
that was answered 200 is stored once and no other is; both counters of each profile (one by folding, one by the workflow) agree
with the clients' own count; each event was delivered, in order per profile. Events are those answered 200 in the rounds.

*Recovered* is the time from the fault until the last probe that took longer than 1.5 s was stored and delivered (of a stop also
from its end: *after waking*); where none took that long, until the first one begun after the fault was. *Head anew*: rounds in
which the supervisor had to start another Ray head. With `--together` the layouts run at the same time on one machine, which
makes everything slower.

| kind | what is hit |
|---|---|
| `api.public`, `api.private` | the replica of that API |
| `workers` (compact), `collector`, `background` (batcher and dispatcher), `workflow` (executor) | the worker of these stages |
| `controller`, `proxy`, `haproxy-manager`, `haproxy` | Ray Serve's controller and its ways in |
| `raylet`, `gcs`, `head`, `agent`, … | what Ray runs on a node; `head` is `ray start` itself |
| `pair` | two of these at once |
| `node` | all of these at once |
| `supervisor`, `everything` | `rayfold up`; that and the node |
"""

#: What of a verdict is shown.
_COUNTS = ("lost", "doubled", "disordered")

#: Of the installations; where they were says nothing.
_FOLDER = re.compile(r"/\S*rayfold-chaos-\w+(?:/disk)?/data")

_HEADINGS = (
    "fault", "rounds", "events", "lost", "doubled", "out of order", "recovered: median", "worst", "after waking: median",
    "worst", "head anew", "went wrong",
)  # fmt: skip


class Found:
    """What came of a run so far."""

    def __init__(self, planned: int) -> None:
        self.planned = planned  #: rounds
        self.outcomes: list[Outcome] = []
        self.filled: list[Filled] = []
        self.seconds: dict[str, str] = {}  #: layout → what a second `up` was told
        self.broken: dict[str, str] = {}  #: layout → why it was given up
        self.untried: dict[str, str] = {}  #: layout → why its disk was not filled


def written(under: Mapping[str, str], found: Found) -> str:
    """The whole text."""
    outcomes, filled = found.outcomes, found.filled
    rounds = ("rounds", f"{len(outcomes)} of {found.planned} that were asked for")
    parts = [_METHOD, "## This run\n", _table(("", ""), [*under.items(), rounds])]
    by_layout: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_layout[outcome.layout].append(outcome)
    for layout, rounds in by_layout.items():
        parts += [f"## Layout `{layout}`\n", _table(_HEADINGS, _rows(rounds))]
    parts += ["## A full disk\n", _disk(filled, found.untried)]
    parts += ["## A second `up` on the same data folder\n", _second(found.seconds)]
    wrong = [f"- {one.layout}, {one.fault}: {one.problem.splitlines()[0]}" for one in outcomes if one.problem]
    wrong += [f"- {one.layout}, full disk: {problem}" for one in filled for problem in one.problems]
    wrong += [f"- {layout} was given up: {why}" for layout, why in found.broken.items()]
    parts += ["## What went wrong\n", "\n".join(wrong) or "Nothing.", ""]
    return _FOLDER.sub("DATA", "\n".join(parts))


def _rows(outcomes: Iterable[Outcome]) -> list[list[str]]:
    """One for each kind and way, and their sum."""
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.fault.how, outcome.fault.kind].append(outcome)
    rows = [_row(f"{how} {kind}", found) for (how, kind), found in sorted(groups.items())]
    for how in (faults.KILL, faults.STOP):
        every = [one for (done, _), found in groups.items() for one in found if done == how]
        if every:
            rows.append([text and f"**{text}**" for text in _row(f"all {how}s", every)])
    return rows


def _row(name: str, found: Sequence[Outcome]) -> list[str]:
    verdicts = [one.verdict for one in found if one.verdict is not None]
    return [
        name,
        str(len(found)),
        f"{sum(one.events for one in found):,}",
        *(str(sum(getattr(one, name) for one in verdicts)) if verdicts else "not judged" for name in _COUNTS),
        *_median_and_worst([one.recovered_s for one in found]),
        *_median_and_worst([one.woken_s for one in found]),
        str(sum(one.head_anew for one in found)),
        str(sum(bool(one.problem) for one in found)),
    ]


def _median_and_worst(times: Iterable[float | None]) -> tuple[str, str]:
    known = [time for time in times if time is not None]
    return (f"{median(known):.1f} s", f"{max(known):.1f} s") if known else ("", "")


def _disk(filled: Sequence[Filled], untried: Mapping[str, str]) -> str:
    why = "".join(f"**Not tried in layout {layout}**: {reason}.\n\n" for layout, reason in untried.items())
    if not filled:
        return why or "Not part of this run.\n"
    headings = (
        "layout", "full for", "events", "503 with Retry-After", "other answers", "slowest answer", "recovered", "lost",
        "doubled", "went wrong",
    )  # fmt: skip
    rows = [
        [
            one.layout, f"{one.full_s:g} s", f"{one.events:,}", str(one.refused), str(one.others), f"{one.slowest_s:.1f} s",
            f"{one.recovered_s:.1f} s", str(one.verdict.lost), str(one.verdict.doubled), str(len(one.problems)),
        ]
        for one in filled
    ]  # fmt: skip
    said = (
        "A file takes all room on the data folder's disk under load. Every answer must be 200 or 503 with Retry-After and come "
        "within 5 s, no process may be started anew, `/ready`, `rayfold status` and `rayfold doctor` must name the cause; once "
        "there is room, everything goes on without a hand.\n\n"
    )
    return why + said + _table(headings, rows)


def _second(seconds: Mapping[str, str]) -> str:
    return "".join(f"- {layout}: refused, exit status 1: `{said}`\n" for layout, said in seconds.items())


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
