"""The executor: runs workflows on processed events; their effects go back to `collected` as commands."""

import logging
from collections.abc import Sequence
from functools import partial

import msgspec

from actors import outbox
from actors.chains import in_chains
from actors.counters import Counters
from actors.heed import Heed
from actors.partitions import Partitions
from actors.persist import persist
from pipeline import envelope, instant
from pipeline.clock import Clock
from pipeline.definition import Rule
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.envelope import Entry, Outgoing, Processed, Runs, RunTotals, Stored, Through
from pipeline.errors import Reject, Retry, Stop
from pipeline.http.port import Http, HttpFailure
from pipeline.log.port import Log, Message, Writer
from pipeline.scope import Scope, Scopes
from pipeline.secrets import SecretBox
from pipeline.stores.documents import Document, Documents
from pipeline.topics import PROCESSED, RUNS, WORKFLOW_GROUP, executor_outbox
from pipeline.workflow.flow import Flow, HttpCall, HttpResult, Run, Tools
from pipeline.workflow_plan import Plan, effect_of, record_of, run_id

_log = logging.getLogger(__name__)


_READ_BYTES = 300_000
_IDLE_WAIT_S = 1.0
_REVISION_WAIT_S = 5.0

#: Runs under way at once in one partition; runs of one profile follow one another.
_CONCURRENCY = 16


class _Job:
    __slots__ = ("entry", "flow", "id", "revision", "rule", "run", "scope")

    def __init__(self, id: str, revision: int, entry: Entry, scope: Scope, rule: Rule, flow: Flow) -> None:
        self.id = id
        self.revision = revision  #: of the definitions it runs by
        self.entry = entry
        self.scope = scope
        self.rule = rule
        self.flow = flow
        self.run: Run | None = None


class _OwnedRuns:
    """One owned partition of `runs`."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.sequence = 0
        self.through = Through()
        self.totals = RunTotals()
        self.last_ms = 0  #: when the newest envelope was made


class Executor:
    """Stage `executor`."""

    name = "executor"

    def __init__(
        self,
        log: Log,
        documents: Documents,
        watch: DefinitionsWatch,
        http: Http,
        clock: Clock,
        worker: str,
        secrets: SecretBox,
        retention_ms: int,
    ) -> None:
        self._log = log
        self._documents = documents
        self._watch = watch
        self._http = http
        self._clock = clock
        self._secrets = secrets
        self._checkpoint_ms = retention_ms // 2
        self._plan: Plan | None = None
        self.counters = Counters(clock)
        self._partitions = Partitions(log, PROCESSED, WORKFLOW_GROUP, worker, self._own, clock, self.counters)

    @property
    def held(self) -> frozenset[int]:
        return self._partitions.held

    async def run(self) -> None:
        await self._partitions.run()

    async def stop(self, within_s: float) -> None:
        await self._partitions.stop(within_s)

    async def _open(self, partition: int) -> _OwnedRuns:
        """Fence older owners, finish what the last envelope began: its outbox and its run records."""
        owned = _OwnedRuns(await self._log.exclusive(RUNS, partition))
        last = await self._log.last(RUNS, partition)
        if last is not None:
            newest: Runs = envelope.decode_runs(last.data)
            owned.sequence, owned.through, owned.totals = newest.sequence, newest.through, newest.totals
            owned.last_ms = newest.time_ms
            await self._finish(partition, newest)
        return owned

    async def _finish(self, partition: int, runs: Runs) -> None:
        await outbox.send(self._log, executor_outbox(partition), runs.sequence, runs.out)
        documents = [Document("run", one.id, 1, bytes(one.body)) for one in runs.runs]
        if documents:
            alive = partial(self._partitions.alive, partition)
            await persist(partial(self._documents.save, documents), self._clock, self.counters, alive)

    async def _own(self, partition: int) -> None:
        partitions = self._partitions
        owned = await self._open(partition)
        committed = await self._log.committed(PROCESSED, partition, WORKFLOW_GROUP)
        heed = await Heed.after(self._log, partition, max(committed, owned.through.position))
        while partitions.may_own(partition):
            partitions.alive(partition)
            generation = partitions.generation
            messages = await partitions.membership.read(partition, _READ_BYTES)
            if not messages:
                await self._checkpoint(partition, owned)
                await partitions.news(generation, _IDLE_WAIT_S)
                continue
            await self._handle(partition, owned, heed, messages)
            await partitions.membership.commit(partition, messages[-1].position)

    async def _handle(self, partition: int, owned: _OwnedRuns, heed: Heed, messages: Sequence[Message]) -> None:
        jobs: list[_Job] = []
        for message in messages:
            if message.position <= owned.through.position:
                continue
            header = envelope.decode_processed_header(message.data)
            if not heed.take(header, message.position):
                continue
            await self._watch.reach(header.revision, _REVISION_WAIT_S)
            plan = self._planned()
            if plan.wants(header.pairs):
                processed: Processed = envelope.decode_processed(message.data)
                jobs += _jobs(plan, processed)
        if not jobs:
            return
        self.counters.received += len(jobs)
        await in_chains(jobs, _profile_of, partial(self._do, partition), _CONCURRENCY)
        await self._publish(partition, owned, jobs, Through(messages[-1].position, 0))
        self.counters.handled += len(jobs)

    def _planned(self) -> Plan:
        catalog = self._watch.catalog
        if self._plan is None or self._plan.revision != catalog.revision:
            tools = Tools(lambda: instant.to_datetime(self._clock.now_ms()), self._secrets.lookup(catalog.secrets))
            try:
                self._plan = Plan(catalog, tools)
            except (Reject, Stop) as error:  # until somebody mends it, nothing is due to be skipped
                raise Retry(f"the workflows of revision {catalog.revision} cannot be used: {error}") from error
        return self._plan

    async def _do(self, partition: int, job: _Job) -> bool:
        job.run = await self._run(partition, job)
        return True

    async def _run(self, partition: int, job: _Job) -> Run:
        """Drive one run; its HTTP calls may be made again after a crash, under the same Idempotency-Key."""
        steps = job.flow.run(job.scope, job.id)
        calls = 0
        try:
            call = next(steps)
            while True:
                self._partitions.alive(partition)
                result = await self._call(call, f"{job.id}:{calls}")
                calls += 1
                call = steps.send(result)
        except StopIteration as end:
            run: Run = end.value
            return run
        except Exception as error:  # noqa: BLE001  (a run that fails in an unforeseen way is a failed run, with its reason)
            _log.exception("workflow %s failed", job.rule.workflow)
            return Run("failed", (), (), (), f"{type(error).__name__}: {error}")

    async def _call(self, call: HttpCall, key: str) -> HttpResult:
        headers = {"idempotency-key": key, **call.headers}
        try:
            response = await self._http.send(call.method, call.url, headers, call.body, call.timeout_s)
        except HttpFailure as failure:
            return HttpResult(None, str(failure))
        return HttpResult(response, "")

    async def _publish(self, partition: int, owned: _OwnedRuns, jobs: Sequence[_Job], through: Through) -> None:
        now = self._clock.now_ms()
        records: list[Stored] = []
        out: list[Outgoing] = []
        failed = 0
        for job in jobs:
            run = job.run
            assert run is not None
            if run.state == "failed":
                failed += 1
                self.counters.error(f"workflow {job.rule.workflow}: {run.error}")
            record = record_of(run, job.id, job.rule, job.entry, job.revision, instant.to_text(now))
            records.append(Stored(job.id, 1, msgspec.Raw(envelope.encode(record))))
            effect = effect_of(run, job.id, job.rule.workflow, job.revision, job.entry, job.scope["event"], now)
            if effect is not None:
                out.append(Outgoing(effect.profile, 0, msgspec.Raw(envelope.encode(effect))))
        totals = owned.totals
        totals = RunTotals(totals.due + len(jobs), totals.run + len(jobs) - failed, totals.dead + failed)
        await self._append(partition, owned, through, totals, records, out)

    async def _checkpoint(self, partition: int, owned: _OwnedRuns) -> None:
        """A quiet partition's last envelope must never be the oldest thing that retention could take."""
        if owned.sequence and self._clock.now_ms() - owned.last_ms > self._checkpoint_ms:
            await self._append(partition, owned, owned.through, owned.totals, [], [])

    async def _append(
        self,
        partition: int,
        owned: _OwnedRuns,
        through: Through,
        totals: RunTotals,
        records: list[Stored],
        out: list[Outgoing],
    ) -> None:
        """Append one envelope and finish what it begins. Any exception ends the ownership: open again."""
        runs = Runs(
            v=envelope.RUNS_FORMAT,
            sequence=owned.sequence + 1,
            through=through,
            totals=totals,
            time_ms=self._clock.now_ms(),
            runs=records,
            out=out,
        )
        await owned.writer.append(envelope.encode(runs), max(1, len(records)))
        owned.sequence, owned.through, owned.totals = runs.sequence, runs.through, runs.totals
        owned.last_ms = runs.time_ms
        await self._finish(partition, runs)


def _profile_of(job: _Job) -> str:
    return job.entry.profile or job.entry.id


def _jobs(plan: Plan, processed: Processed) -> list[_Job]:
    scopes = Scopes(processed)
    return [
        _Job(run_id(rule.workflow, entry.id), plan.revision, entry, scopes.of(entry), rule, flow)
        for entry, rule, flow in plan.due(processed)
    ]
