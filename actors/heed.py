"""Which envelopes of `processed` a reader heeds: each sequence once, in order."""

from pipeline import envelope
from pipeline.envelope import Processed, ProcessedHeader
from pipeline.errors import Disordered
from pipeline.log.port import BEGINNING, Log, Position
from pipeline.topics import PROCESSED


class Heed:
    """A broker's client may store an envelope twice after an outage: its copy carries a sequence that has passed."""

    def __init__(self, partition: int, position: Position = BEGINNING, sequence: int = 0, time_ms: int = 0) -> None:
        self._partition = partition
        self._position = position
        self._sequence = sequence
        self._time_ms = time_ms

    @classmethod
    async def after(cls, log: Log, partition: int, position: Position) -> "Heed":
        """For a reader that has done everything up to `position`: that envelope is read to know its sequence."""
        if position == BEGINNING:
            return cls(partition)
        for message in await log.read(PROCESSED, partition, position, 1, inclusive=True):
            if message.position == position:
                header = envelope.decode_processed_header(message.data)
                return cls(partition, position, header.sequence, header.time_ms)
        return cls(partition, position)

    def take(self, header: Processed | ProcessedHeader, position: Position) -> bool:
        """Whether this envelope is new. Raises `Disordered` when a newer envelope carries an older number.

        What a broker gives once more lies where it lay; a second copy lies behind, but was made no later.
        """
        is_behind, self._position = position > self._position, max(position, self._position)
        if header.sequence > self._sequence:
            self._sequence, self._time_ms = header.sequence, header.time_ms
            return True
        if is_behind and header.sequence < self._sequence and header.time_ms > self._time_ms:
            raise Disordered(
                f"partition {self._partition} of `processed` goes on with sequence {header.sequence} after "
                f"{self._sequence}: the topic was not written by one owner after the other; "
                "stop this installation and run `rayfold doctor`"
            )
        return False
