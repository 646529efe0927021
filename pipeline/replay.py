"""A replay: a destination, or the document store, fed again from the log by a group of its own."""

from collections.abc import Mapping, Sequence

import msgspec

from pipeline.log.port import BEGINNING, Log, Position
from pipeline.topics import PROCESSED, RUNS, STORE_GROUP, replay_group

#: The kind of its rows among the definitions. They are made and ended as such, never put by users.
KIND = "replays"


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What is read again: for whom, from when, up to where. It has ended once its group is gone."""

    id: str
    group: str  #: `STORE_GROUP`, or the group of one life of a destination: it ends with that
    from_ms: int  #: what was published from then on
    time_ms: int  #: when it was asked for
    records: int = 0  #: that lay behind its group when it was made
    ends: Mapping[str, Sequence[Position]]  #: topic → last message of each partition, `BEGINNING` for none

    @property
    def is_of_store(self) -> bool:
        return self.group == STORE_GROUP

    @property
    def reader(self) -> str:
        """The group that reads for it, on each of its topics."""
        return replay_group(self.id)


decode = msgspec.json.Decoder(Replay).decode


def topics_of(group: str) -> tuple[str, ...]:
    """What a replay of this group reads: run records have a topic of their own."""
    return (PROCESSED, RUNS) if group == STORE_GROUP else (PROCESSED,)


async def is_through(log: Log, replay: Replay) -> bool:
    """Whether its group has committed all it was made for; where it is gone, somebody was about to end it."""
    for topic, ends in replay.ends.items():
        if replay.reader not in await log.groups(topic):
            continue
        for partition, end in enumerate(ends):
            if end != BEGINNING and await log.committed(topic, partition, replay.reader) < end:
                return False
    return True


async def end(log: Log, id: str) -> None:
    """Drop its groups, so that it holds no log back; safe to repeat. The one on `PROCESSED` is the last: it tells the state."""
    for topic in (RUNS, PROCESSED):
        await log.drop_group(topic, replay_group(id))
