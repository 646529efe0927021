"""Whether the documents are there that the account speaks of."""

from collections.abc import Mapping, Sequence

from pipeline import envelope
from pipeline.account_terms import Account
from pipeline.envelope import Totals
from pipeline.log.port import Log
from pipeline.stores.documents import Documents, Query
from pipeline.topics import PROCESSED, RUNS


async def verify(
    log: Log, documents: Documents, at_saved: Sequence[Totals], letters: Mapping[str, int], account: Account
) -> None:
    """Count the documents and write into the account whether they agree. `at_saved`, `letters`: what is surely saved.

    Each count lies between what was surely saved before and what can have been saved after.
    """
    least, least_runs = _summed(at_saved), account.workflows.run + account.workflows.dead
    events = await documents.count("event", Query(equals={"client": True}))
    internal = await documents.count("event", Query(equals={"client": False}))
    refused = await documents.count("event", Query(equals={"refused": True}))
    receipts = await documents.count("receipt", Query())
    runs = await documents.count("run", Query())
    most = _summed([await _totals_of(log, partition) for partition in range(log.partitions)])
    most_runs = sum([await _runs_of(log, partition) for partition in range(log.partitions)])
    account.documents = {
        "events": events, "internal": internal, "refused": refused, "receipts": receipts, "runs": runs,
    }  # fmt: skip
    for name, found, low, high in (
        ("event documents", events + internal + refused, least.stored + least.internal, most.stored + most.internal),
        ("client events", events, least.stored - refused, most.stored),
        ("receipts", receipts, least.not_stored + least.rejected, most.not_stored + most.rejected),
        ("run records", runs, least_runs, most_runs),
    ):
        if found < low:
            account.differences.append(f"{low - found:,} {name} are missing")
        elif found > high:
            account.differences.append(f"{found - high:,} {name} more than there can be")
    for id, written in letters.items():
        found = account.documents[f"dead letters of {id}"] = await documents.count("dead", Query({"destination": id}))
        if found < written:  # more there may be: of replays
            account.differences.append(f"{written - found:,} dead letters of {id} are missing")
    if account.differences and account.replays_underway:
        account.differences.append("a replay is under way: ask again when it has ended")
    account.verified = not account.differences


async def _totals_of(log: Log, partition: int) -> Totals:
    last = await log.last(PROCESSED, partition)
    if last is None:
        return Totals()
    totals: Totals = envelope.decode_processed_header(last.data).totals
    return totals


async def _runs_of(log: Log, partition: int) -> int:
    last = await log.last(RUNS, partition)
    if last is None:
        return 0
    totals = envelope.decode_runs_header(last.data).totals
    return int(totals.run + totals.dead)


def _summed(all_totals: Sequence[Totals]) -> Totals:
    return Totals(**{name: sum(getattr(one, name) for one in all_totals) for name in Totals.__struct_fields__})
