"""Which profile a payload belongs to: the table of identities, decided at one partition.

| payload has | happens |
|---|---|
| a session only (or nothing: a session is made for it) | at partition(session): its alias, else mint(session) |
| a profile id that lives or is an alias | that profile |
| an unknown id, and no session or a static source | mint(id) lives at once |
| an unknown id and a session | mint(id) becomes an alias of mint(session), once and for all |
| an unknown id of session kind | it lives itself |
| a deleted id | it lives again |
"""

from typing import NamedTuple

from pipeline import identity
from pipeline.hot import Hot
from pipeline.identity import Kind
from pipeline.record import Payload


class Here(NamedTuple):
    """Apply to this profile; `alias` is to be written first: (id, the id it becomes an alias of)."""

    profile: str
    alias: tuple[str, str] | None = None


class Elsewhere(NamedTuple):
    """Forward to the owner of this profile id."""

    profile: str
    alias: tuple[str, str] | None = None


class Unknown(NamedTuple):
    """This profile has to be loaded before anything can be said."""

    profile: str


Decision = Here | Elsewhere | Unknown


#: Aliases in a row within one partition, and partitions one record may be forwarded by. Each merge of a profile adds one.
MAX_HOPS = 1_000


class CircularAlias(Exception):
    """Aliases that lead nowhere: the record has to be set aside."""


def hop(hops: int) -> int:
    """One more partition. Raises `CircularAlias` when no honest chain of aliases is that long."""
    if hops >= MAX_HOPS:
        raise CircularAlias(f"forwarded by {hops} partitions: aliases lead in a circle")
    return hops + 1


def follow(id: str, hot: Hot, partition: int, partitions: int) -> Decision:
    """One alias after the other as far as they lie in this partition. Raises `CircularAlias`."""
    start = id
    for _ in range(MAX_HOPS):
        if identity.partition(id, partitions) != partition:
            return Elsewhere(id)
        held = hot.get(id)
        if held is None:
            return Unknown(id)
        if held.body is None or "merged_into" not in held.body:
            return Here(id)
        id = held.body["merged_into"]
    raise CircularAlias(f"the aliases of profile {start} lead in a circle")


def starting_id(payload: Payload) -> str:
    """The minted id that the payload names."""
    if payload.target is not None:
        return payload.target
    if payload.profile is not None:
        return identity.mint(Kind.PROFILE, payload.profile)
    return identity.mint(Kind.SESSION, payload.session)


def resolve(payload: Payload, hot: Hot, partition: int, partitions: int) -> Decision:
    """Where the payload belongs, by what is in memory; changes nothing."""
    decision = follow(starting_id(payload), hot, partition, partitions)
    if not isinstance(decision, Here) or payload.profile is None:
        return decision
    if payload.static or payload.artificial or payload.target is not None:
        return decision
    held = hot.get(decision.profile)
    never_lived = held is not None and held.body is None and held.version == 0
    if not never_lived or identity.minted_kind(decision.profile) is not Kind.PROFILE:
        return decision
    alias = (decision.profile, identity.mint(Kind.SESSION, payload.session))
    further = follow(alias[1], hot, partition, partitions)
    return further if isinstance(further, Unknown) else further._replace(alias=alias)
