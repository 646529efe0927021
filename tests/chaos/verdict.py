"""Whether what was answered 200 is there once: in the account, the documents, the profiles and at the destination."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tests.installation import Installation


class Verdict(NamedTuple):
    """Counts over all that an installation was sent so far."""

    events: int  #: answered 200
    lost: int  #: of these, not stored
    doubled: int  #: stored more than once, or more often counted in a profile than sent
    undelivered: int
    disordered: int  #: deliveries that came before an earlier one of their profile
    repeats: int  #: deliveries made again under the same Idempotency-Key: allowed
    problems: Sequence[str]  #: whatever is wrong, in words; empty when all is well


def judged(
    installation: Installation,
    account: Mapping[str, Any],
    answered: Collection[str],
    per_profile: Mapping[str, int],
    bodies: Sequence[Mapping[str, Any]],
    repeats: int,
) -> Verdict:
    """`account`: with documents counted, while nothing is under way; `bodies`: first arrivals at the destination, in order."""
    problems = _account(account, len(answered))
    stored = Counter(one["message_id"] for one in installation.pages("/events", type="increase-interest"))
    lost = len(set(answered) - stored.keys())
    doubled = sum(stored.values()) - len(stored)
    if unknown := len(stored.keys() - set(answered)):
        problems.append(f"{unknown} events are stored that nobody was answered for")
    for profile, events in per_profile.items():
        found = installation.get(f"/profiles/{profile}")
        counts = {"interests": found["interests"].get("load"), "runs": found["stats"]["counters"].get("runs")}
        for name, count in counts.items():
            if count != events:
                problems.append(f"profile {profile} has {name} {count} after {events} events")
                doubled += max(0, (count or 0) - events)
    undelivered = len(set(answered) - {body["message"] for body in bodies})
    disordered = _disordered(bodies, per_profile, problems)
    for count, what in (
        (lost, "lost"), (doubled, "doubled"), (undelivered, "not delivered"), (disordered, "delivered out of order"),
    ):  # fmt: skip
        if count:
            problems.append(f"{count} {what}")
    return Verdict(len(answered), lost, doubled, undelivered, disordered, repeats, problems)


def _account(account: Mapping[str, Any], count: int) -> list[str]:
    """What the account says that it should not."""
    problems = []
    for name, found, wanted in (
        ("balanced", account["balanced"], True),
        ("verified", account["verified"], True),
        ("stored", account["stored"], count),
        ("accepted", account["accepted"], account["stored"] + account["duplicate"]),
        ("workflow runs", account["workflows"]["run"], count),
        ("delivered", account["destinations"]["all"]["delivered"], count),
    ):
        if found != wanted:
            problems.append(f"the account says {name} {found}, not {wanted}: {account}")
    return problems


def _disordered(bodies: Sequence[Mapping[str, Any]], per_profile: Mapping[str, int], problems: list[str]) -> int:
    """Each delivery carries its profile's interest, which counts its events."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for body in bodies:
        numbers[body["profile"]].append(body["number"])
    for profile, events in per_profile.items():
        if sorted(numbers[profile]) != list(range(1, events + 1)):
            problems.append(f"the deliveries of profile {profile} are not those of its {events} events")
    return sum(sum(a > b for a, b in pairwise(found)) for found in numbers.values())
