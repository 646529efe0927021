"""One owned partition of `processed`: its fenced writer and the state carried from envelope to envelope."""

from actors import outbox
from pipeline import envelope
from pipeline.document import decode_living
from pipeline.envelope import Heard, Processed, Through, Totals
from pipeline.errors import Disordered
from pipeline.hot import Held, Hot, Limits
from pipeline.log.port import BEGINNING, Log, Position, Writer
from pipeline.to_save import holds_documents
from pipeline.topics import PROCESSED, STORE_GROUP, collector_outbox

#: Bytes read at a time while the tail is rebuilt.
_READ_BYTES = 4_000_000


class Owned:
    """Opened by `open`; from then on every change goes through `publish`."""

    def __init__(self, log: Log, partition: int, writer: Writer, hot: Hot) -> None:
        self._log = log
        self._partition = partition
        self._writer = writer
        self.hot = hot
        self.sequence = 0
        self.through = Through()
        self.heard: dict[str, tuple[int, int]] = {}
        self.senders: dict[str, Heard] = {}
        self.totals = Totals()
        self.last_ms = 0  #: when the newest envelope was made
        self.documents_at = BEGINNING  #: the newest envelope with documents

    @classmethod
    async def open(cls, log: Log, partition: int, input_topic: str, group: str, limits: Limits) -> "Owned":
        """Fence every older owner, then carry on from the last envelope (ARCHITECTURE.md §3).

        Raises `Disordered` when the output is empty though input was committed: what was written there is lost.
        """
        owned = cls(log, partition, await log.exclusive(PROCESSED, partition), Hot(limits))
        committed = await log.committed(input_topic, partition, group)  # before `last`: a newer owner may be at work
        last = await log.last(PROCESSED, partition)
        if last is None:
            if committed != BEGINNING:
                raise Disordered(
                    f"partition {partition} of `processed` is empty though its input was processed before: "
                    "the topic was deleted or is another installation's; restore it, nothing is guessed"
                )
            return owned
        newest: Processed = envelope.decode_processed(last.data)
        owned._carry(newest, last.position)
        await outbox.send(log, owned.sender, newest.sequence, newest.out)
        await owned._rebuild()
        return owned

    def _carry(self, newest: Processed, position: Position) -> None:
        self.sequence, self.through = newest.sequence, newest.through
        self.heard, self.senders = newest.heard, newest.senders
        self.totals, self.last_ms = newest.totals, newest.time_ms
        self.documents_at = position if holds_documents(newest) else newest.documents_at

    @property
    def sender(self) -> str:
        """Name of this partition's outbox."""
        return collector_outbox(self._partition)

    async def _rebuild(self) -> None:
        """Profiles, sessions and event ids of all envelopes that the store may not have."""
        position = await self._log.committed(PROCESSED, self._partition, STORE_GROUP)
        while messages := await self._log.read(PROCESSED, self._partition, position, _READ_BYTES):
            for message in messages:
                position = message.position
                processed: Processed = envelope.decode_processed(message.data)
                self._remember(processed)
                self.hot.appended(position, processed.sequence, len(message.data))

    def _remember(self, processed: Processed) -> None:
        sequence = processed.sequence
        self.hot.remember((entry.id for entry in processed.events), sequence)
        self.hot.remember((receipt.id for receipt in processed.receipts), sequence)
        for stored in (*processed.profiles, *processed.sessions):
            self.hot.put(stored.id, Held(stored.version, decode_living(bytes(stored.body)), 0, sequence))
            held = self.hot.get(stored.id)
            assert held is not None
            self.hot.changed(stored.id, held, len(bytes(stored.body)), sequence)

    async def publish(self, processed: Processed) -> None:
        """Append one envelope, then send its outbox. Any exception ends the ownership: open again."""
        if not holds_documents(processed):
            processed.documents_at = self.documents_at
        data = envelope.encode(processed)
        position = await self._writer.append(data, max(1, processed.stored))
        self._carry(processed, position)
        self.hot.appended(position, processed.sequence, len(data))
        await outbox.send(self._log, self.sender, processed.sequence, processed.out)
