"""What a real installation at rest holds, read past it: for the invariants that the simulation is judged by."""

from collections.abc import Sequence
from typing import Any

from cluster import wiring
from cluster.folder import prepare
from cluster.settings import read_settings
from pipeline import envelope
from pipeline.log.port import BEGINNING, Log, Message
from pipeline.stores.documents import Documents, Kind, Query
from pipeline.topics import PROCESSED, RUNS
from tests import invariants
from tests.installation import Installation
from tests.invariants import Check, Evidence

_READ_BYTES = 4_000_000


async def violations(installation: Installation) -> list[str]:
    """Which invariants do not hold, in words."""
    settings, _ = prepare(read_settings(installation.environment))
    found: list[str] = []

    def check(name: str, holds: bool, detail: object = "") -> None:
        if not holds:
            found.append(f"{name} {detail}"[:500])

    log, documents = await wiring.open_log(settings), await wiring.open_documents(settings)
    try:
        invariants.check_all(await _evidence(log, documents, check), check)
    finally:
        await documents.close()
        await log.close()
    return found


async def _evidence(log: Log, documents: Documents, check: Check) -> Evidence:
    processed = await _all(log, PROCESSED, envelope.decode_processed, check)
    runs = await _all(log, RUNS, envelope.decode_runs, check)
    written: dict[Kind, set[str]] = {
        "event": {entry.id for _, one in processed for entry in one.events},
        "receipt": {receipt.id for _, one in processed for receipt in one.receipts},
        "profile": {stored.id for _, one in processed for stored in one.profiles},
        "session": {stored.id for _, one in processed for stored in one.sessions},
        "run": {stored.id for _, one in runs for stored in one.runs},
    }
    written["event"] -= written["receipt"]
    kept: dict[Kind, dict[str, bytes]] = {}
    for kind, ids in written.items():
        kept[kind] = {id: one.body for id, one in (await documents.load(kind, ids)).items()}
        count = await documents.count(kind, Query())
        if kind != "profile":  # aliases are not counted
            check(f"{kind} documents that nobody wrote:", count == len(kept[kind]), f"{count}, not {len(kept[kind])}")
    return Evidence(processed, runs, kept)


async def _all(log: Log, topic: str, decode: Any, check: Check) -> list[tuple[Message, Any]]:
    found = []
    for partition in range(log.partitions):
        found += invariants.once(await _messages(log, topic, partition), decode, check)
    return found


async def _messages(log: Log, topic: str, partition: int) -> Sequence[Message]:
    messages: list[Message] = []
    position = BEGINNING
    while more := await log.read(topic, partition, position, _READ_BYTES):
        messages += more
        position = more[-1].position
    return messages
