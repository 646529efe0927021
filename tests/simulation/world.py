"""One schedule: a whole installation on virtual time, what befalls it, and what has to be true when it has come to rest."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from pipeline.errors import LogUnavailable, RayfoldError, Reject, Retry
from pipeline.letter import State
from pipeline.stores.definitions import Definition
from pipeline.topics import COLLECTED, COLLECTOR_GROUP, PROCESSED, STORE_GROUP, WORKFLOW_GROUP, replay_group
from serve.changes import Changes
from serve.dead_letters import DeadLetters
from serve.replays import Asked
from tests.simulation import judge, knobs
from tests.simulation.broker import Broker
from tests.simulation.clerk import Clerk
from tests.simulation.client import Client
from tests.simulation.clock import TrueTime
from tests.simulation.definitions import Rows
from tests.simulation.documents import Shards
from tests.simulation.log import SimulatedLog
from tests.simulation.loop import Stalled, VirtualLoop
from tests.simulation.loss import Losses
from tests.simulation.machine import ANSWER_S, RETENTION_MS, Answer, Machine, Servers, Unreachable
from tests.simulation.member import LEASE_S
from tests.simulation.operator import Operator
from tests.simulation.process import Process, task_factory
from tests.simulation.receivers import MODES, Receivers

#: What may befall a schedule; each draws its own set.
FAULTS = (
    "crash",  # a process is killed
    "fuse",  # a process is killed between two steps
    "pause",  # a process is stopped, and goes on when another has taken its place
    "sleeper",  # a process is stopped in the middle of a change of a definition, or of what it does beside that
    "away",  # a process is killed and stays away
    "scale",  # workers come and go in order
    "broker",  # the log is away
    "store",
    "database",  # that of the definitions
    "append",  # appends fail, stored or not
    "twice",  # envelopes are stored twice in a row
    "late",  # copies of old appends land later
    "forgets",  # commits that were not persisted are lost
    "partial",  # bulks are saved in part
    "unanswered",  # look-ups fail
    "refused",  # documents are refused
    "lag",  # searches lag behind saves
    "receivers",  # other systems are slow, flapping, dead
    "jump",  # days pass
    "clock",  # clocks step
    "trim",  # retention
    "changes",  # definitions change
    "erase",  # profiles are deleted
    "replay",  # a destination or the store is fed again
)
#: Not drawn with these: "days", weeks of quiet under living owners, and "lost", which draws by itself: documents are put back
#: from a copy.

_ALL = ("collector", "batcher", "dispatcher", "executor")
_LAYOUTS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (_ALL,),
    (_ALL, _ALL),
    ((), ("collector",), ("batcher", "dispatcher"), ("executor",)),
    ((), ("collector",), ("collector",), ("batcher", "dispatcher", "executor"), ("executor",)),
)

#: An installation comes to rest within this much virtual time.
_QUIET_S = 600.0

#: What rests is accounted for when searches see it too.
_TRIES = 30

_EIGHT_DAYS_MS = 8 * 24 * 3600 * 1000


class Slot:
    """A worker that is to run; whoever supervises it starts it again."""

    def __init__(self, name: str, stages: Sequence[str]) -> None:
        self.name = name
        self.stages = stages
        self.starts = 0
        self.machine: Machine | None = None


class World:
    """`run` once. The same seed does the same."""

    def __init__(
        self, seed: int, only: Sequence[str] | None = None, *, by_age: bool = False, verbose: bool = False
    ) -> None:
        """`only`: the faults; each seed draws its own unless given. `by_age`: retention drops what is old and done with."""
        self.seed = seed
        self.random = random = Random(seed)
        knobs.turn(random)
        drawn = {name for name in FAULTS if random.random() < 0.45}
        self.losses = Losses(self, Random(f"{seed}/lost"))  # draws by itself: other schedules stay as they are
        if self.losses.are_drawn:
            drawn.add("lost")
        self.on = drawn if only is None else set(only)
        self._verbose = verbose
        self.partitions = random.choice((1, 2, 2, 3))
        self.loop = VirtualLoop()
        self.time = TrueTime()
        self.broker = Broker(self.partitions, self.time.now_ms, random, self.delay_s)
        self.broker.faults.keeps_last = not by_age
        self.shards = Shards(self.loop.time, random, seed)
        self.rows = Rows()
        self.rows.on_write = self._written
        self.broker.on_drop = self._dropped
        self.receivers = Receivers(random, seed)
        self.servers = Servers(self.broker, self.shards, self.rows, self.receivers, self.time, random, self.delay_s)
        self.withdrawn: set[str] = set()  #: replays that were ended before they were through
        self.wrong: list[str] = []
        self.happened: Counter[str] = Counter()
        self.chaos = False
        self.machines: list[Machine] = []
        self.slots = [Slot(f"{n}", stages) for n, stages in enumerate(random.choice(_LAYOUTS))]
        self.clients: list[Client] = []
        self.operator = Operator(random, self._anybody)
        self.clerk = Clerk(seed, self.shards, self._decide, self.happened)
        self._rate = random.choice((0.3, 1.0, 3.0))  #: faults a second
        self._slow = random.choice((0.0005, 0.005, 0.05))
        self._quit = False
        self.down = False  #: everything is stopped

    def delay_s(self) -> float:
        """How long a message takes; often nothing worth mentioning."""
        chance = self.random.random()
        if chance < 0.5:
            return 0.0
        if chance < 0.98:
            return self._slow * self.random.random()
        return self._slow * 40 * self.random.random()

    # ---- the course of things

    def run(self) -> list[str]:
        """Everything that went wrong; nothing, one hopes."""
        logging.disable(logging.NOTSET if self._verbose else logging.CRITICAL)
        loop = self.loop
        loop.set_task_factory(task_factory)
        loop.set_exception_handler(self._unhandled)
        try:
            loop.run_until_complete(self._course())
        except Stalled:
            self.wrong.append("everything stands still")
        except Exception as error:  # noqa: BLE001  (whatever it is: this seed is told with it)
            self.wrong.append(f"{type(error).__name__}: {error}")
        finally:
            loop.run_until_complete(self._end())
            loop.close()
        return sorted(set(self.wrong))

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, RayfoldError | None):
            self.wrong.append(f"nobody looked at {type(error).__name__}: {error}")

    async def _course(self) -> None:
        random = self.random
        groups = SimulatedLog(self.broker, Process("setup", random, lambda: 0.0))
        await groups.create_group(COLLECTED, COLLECTOR_GROUP, "start")
        await groups.create_group(PROCESSED, STORE_GROUP, "start")
        await groups.create_group(PROCESSED, WORKFLOW_GROUP, "end")
        for slot in self.slots:
            self._start(slot)
        await self.operator.begin()
        self._begin_chaos()
        for number in range(random.choice((1, 2, 3))):
            self.clients.append(Client(number, random, self._post, lambda: self.operator.revision, lambda: self.chaos))
        busy = [asyncio.create_task(client.run(random.randint(3, 9))) for client in self.clients]
        if "changes" in self.on:
            busy.append(asyncio.create_task(self.operator.run(random.randint(1, 6))))
        if "sleeper" in self.on:
            busy.append(asyncio.create_task(self.operator.switch(random.randint(3, 12))))
        if "days" in self.on:
            busy.append(asyncio.create_task(self._days_go_by()))
        if "erase" in self.on:
            busy.append(asyncio.create_task(self._erase_some(random.randint(1, 4))))
        if "replay" in self.on:
            busy.append(asyncio.create_task(self._replay_some(random.randint(1, 3))))
        if "lost" in self.on:
            busy.append(asyncio.create_task(self.losses.run()))
        if "receivers" in self.on:
            busy.append(asyncio.create_task(self.clerk.run(10)))
        faults = asyncio.create_task(self._faults())
        await asyncio.wait(busy, timeout=random.choice((5.0, 20.0, 40.0)))
        if random.random() < 0.5:  # the last word may be a fault
            await asyncio.sleep(random.random() * 5)
        faults.cancel()
        await asyncio.gather(faults, return_exceptions=True)
        self._calm()
        _, late = await asyncio.wait(busy, timeout=_QUIET_S)
        if late:
            self.wrong.append("those who ask for something have no answer")
            return
        await asyncio.gather(*busy)
        account = await self._quiet()
        if self.shards.kinds["dead"]:
            await self.clerk.run(5)
            await asyncio.sleep(self.shards.faults.refresh_s)  # then the account sees what was sent
            account = await self._quiet()
        for machine in self.machines:
            self.wrong += [f"{stage} stands still: {why}" for stage, why in machine.standing.items()]
        judge.judge(self, account)

    async def _end(self) -> None:
        """Let every task come to its end."""
        self._quit = True
        for machine in self.machines:
            machine.process.die()
        while others := [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]:
            for task in others:
                task.cancel()
            await asyncio.wait(others, timeout=1.0)

    async def _quiet(self) -> Any:
        """The account once everybody has done what there is to do; as it is when that does not come about."""
        end = self.loop.time() + _QUIET_S
        while not self._at_rest():
            if self.loop.time() > end:
                self.wrong.append("no quiet")
                return None
            await asyncio.sleep(0.5)
        account = None
        for _ in range(_TRIES):
            if self.wrong:
                return None
            try:
                machine = self.api()
                account = await machine.do(machine.account(verify=True), _QUIET_S)
            except Unreachable:
                await asyncio.sleep(1.0)
                continue
            except Exception as error:  # noqa: BLE001  (whatever it is: the judge is told)
                self.wrong.append(f"no account: {type(error).__name__}: {error}")
                return None
            agrees = account.quiet and account.balanced and account.verified
            if agrees and self._at_rest():  # else a change nobody waits for has begun a replay meanwhile
                return account
            await asyncio.sleep(1.0)
        self.wrong.append(f"the account does not agree: {account}")
        return account

    def _at_rest(self) -> bool:
        """Whether every group has done all of its topic."""
        return all(
            not partition.messages or group.committed.get(number) == partition.messages[-1].position
            for topic in self.broker.topics.values()
            for group in topic.groups.values()
            for number, partition in enumerate(topic.partitions)
        )

    def _written(self, row: Definition) -> None:
        if row.deleted and replay_group(row.id) in self.broker.topics[PROCESSED].groups:
            self.withdrawn.add(row.id)
        if row.kind == "destinations" and row.group not in (None, *self.broker.topics[PROCESSED].groups):
            self.wrong.append(f"a destination names a group that is gone: {row.group}")

    def _dropped(self, group: str) -> None:
        if any(row.group == group for row in self.rows.live("destinations")):
            self.wrong.append(f"a group was dropped that its destination names: {group}")

    # ---- who is there

    def _start(self, slot: Slot) -> None:
        if (
            self._quit
            or self.down
            or (slot.machine is not None and slot.machine.process.alive and not slot.machine.process.paused)
        ):
            return
        slot.starts += 1
        slot.machine = Machine(self.servers, f"{slot.name}.{slot.starts}", slot.stages, self.wrong.append)
        slot.machine.process.on_death.append(lambda: self._restart(slot))
        self.machines.append(slot.machine)

    def _restart(self, slot: Slot, after_s: float | None = None) -> None:
        delay = self.random.choice((0.0, 0.3, 2.0)) if after_s is None else after_s
        self.loop.call_later(delay if self.chaos else 0.0, self._start, slot)

    def _alive(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.process.alive]

    def shut_down(self) -> None:
        """Everything is killed, and nothing starts until `start_up`."""
        self.down = self.shards.faults.down = True
        for machine in self._alive():
            machine.process.die()

    def start_up(self) -> None:
        self.down = self.shards.faults.down = False
        for slot in self.slots:
            self._start(slot)

    def api(self) -> Machine:
        """Some process that answers. Raises `Unreachable`."""
        alive = self._alive()
        if not alive:
            raise Unreachable
        return self.random.choice(alive)

    async def _post(self, body: bytes) -> Answer:
        return await self.api().track(body)

    async def _anybody(self, change: Callable[[Changes], Awaitable[int]], within_s: float = ANSWER_S) -> int:
        machine = self.api()
        if self.chaos and "sleeper" in self.on and self.random.random() < 0.5:
            machine.process.stop_after(self.random.randint(1, 8), lambda: self._stop(machine))
        return int(await machine.do(change(machine.changes), within_s if self.chaos else ANSWER_S))

    async def _decide(self, decide: Callable[[DeadLetters], Awaitable[State]]) -> State:
        machine = self.api()
        return State(await machine.do(decide(machine.letters)))

    # ---- what befalls them

    def _begin_chaos(self) -> None:
        self.chaos = True
        on, pick = self.on, self.random.choice
        broker, store = self.broker.faults, self.shards.faults
        broker.lost = pick((0.02, 0.1)) if "append" in on else 0.0
        broker.twice = pick((0.05, 0.3)) if "twice" in on else 0.0
        broker.late = pick((0.05, 0.3)) if "late" in on else 0.0
        broker.forgets = 0.5 if "forgets" in on else 0.0
        store.partial = pick((0.1, 0.5)) if "partial" in on else 0.0
        store.unanswered = pick((0.02, 0.2)) if "unanswered" in on else 0.0
        store.refused = pick((0.05, 0.3)) if "refused" in on else 0.0
        store.refresh_s = pick((1.0, 10.0)) if "lag" in on else 0.0

    def _calm(self) -> None:
        """Every fault ends; what was stopped goes on; what was killed is started again."""
        self.chaos = False
        broker, store = self.broker.faults, self.shards.faults
        broker.away = store.away = self.rows.away = False
        broker.lost = broker.twice = broker.late = broker.forgets = 0.0
        store.partial = store.unanswered = 0.0
        self.receivers.modes.clear()
        while self.broker.copies:
            self.broker.land_copy()
        for machine in self._alive():
            machine.process.resume()
            for member in self.broker.members_of(machine.process):
                member.rejoin()
        for slot in self.slots:
            self._start(slot)

    async def _faults(self) -> None:
        kinds = [name for name in FAULTS if name in self.on and hasattr(self, f"_{name}")]
        while kinds:
            await asyncio.sleep(self.random.expovariate(self._rate))
            kind = self.random.choice(kinds)
            self.happened[kind] += 1
            getattr(self, f"_{kind}")()

    def _somebody(self) -> Machine | None:
        alive = self._alive()
        return self.random.choice(alive) if alive else None

    def _crash(self) -> None:
        if machine := self._somebody():
            machine.process.die()

    def _fuse(self) -> None:
        if machine := self._somebody():
            machine.process.die_after(self.random.randint(1, 40))

    def _away(self) -> None:
        if machine := self._somebody():
            slot = next((one for one in self.slots if one.machine is machine), None)
            machine.process.on_death.clear() if slot else None
            for member in self.broker.members_of(machine.process):
                member.expire()
            machine.process.die()
            if slot:
                self._restart(slot, self.random.choice((5.0, 15.0)))

    def _pause(self) -> None:
        if machine := self._somebody():
            self._stop(machine)

    def _sleeper(self) -> None:
        if machine := self._somebody():
            machine.process.stop_after(self.random.randint(1, 4), lambda: self._stop(machine))

    def _stop(self, machine: Machine) -> None:
        if machine.process.paused or not self.chaos:
            return
        self.happened["stopped"] += 1
        machine.process.pause()
        slot = next((one for one in self.slots if one.machine is machine), None)
        self.loop.call_later(LEASE_S, self._expire, machine)
        if slot and self.random.random() < 0.6:
            self._restart(slot, LEASE_S)
        self.loop.call_later(self.random.choice((0.2, 2.0, 6.0, 12.0)), self._resume, machine)

    def _expire(self, machine: Machine) -> None:
        if machine.process.paused:
            for member in self.broker.members_of(machine.process):
                member.expire()

    def _resume(self, machine: Machine) -> None:
        machine.process.resume()
        if machine.process.alive:
            for member in self.broker.members_of(machine.process):
                member.rejoin()

    def _scale(self) -> None:
        alive = self._alive()
        if self.down:
            return
        if len(alive) > len(self.slots) and self.random.random() < 0.6:
            extra = [machine for machine in alive if all(slot.machine is not machine for slot in self.slots)]
            asyncio.create_task(self.random.choice(extra).stop())  # noqa: RUF006  (its process holds it)
        elif len(alive) < len(self.slots) + 3:
            more = Slot(f"x{len(self.machines)}", self.random.choice(self.slots).stages)
            self._start(more)
            assert more.machine is not None
            more.machine.process.on_death.pop()  # nobody starts it again

    def _broker(self) -> None:
        self._outage(lambda away: setattr(self.broker.faults, "away", away))

    def _store(self) -> None:
        self._outage(lambda away: setattr(self.shards.faults, "away", away))

    def _database(self) -> None:
        self._outage(lambda away: setattr(self.rows, "away", away))

    def _outage(self, switch: Callable[[bool], None]) -> None:
        switch(True)
        self.loop.call_later(self.random.choice((0.1, 1.0, 4.0)), switch, False)

    def _late(self) -> None:
        self.broker.land_copy()

    def _receivers(self) -> None:
        self.receivers.modes[self.random.choice(("crm", "all"))] = self.random.choice(MODES)

    def _jump(self) -> None:
        if self.random.random() < 0.3:
            self.time.jump(_EIGHT_DAYS_MS)
            self.broker.copies.clear()  # no client sends again what it sent last week

    async def _erase_some(self, count: int) -> None:
        """People who want to be forgotten, once each."""
        for number in range(count):
            await asyncio.sleep(self.random.choice((0.5, 2.0, 6.0)))
            answered = [sent for client in self.clients for sent in client.sent if sent.answered and sent.profile]
            if not answered:
                continue
            profile = str(self.random.choice(answered).profile)
            while not await self._erased(f"erased-{number}", profile):
                await asyncio.sleep(0.3)

    async def _erased(self, id: str, profile: str) -> bool:
        try:
            machine = self.api()
            await machine.do(machine.erase(id, profile))
        except (Unreachable, LogUnavailable):
            return False
        self.happened["profile erased"] += 1
        return True

    async def _replay_some(self, count: int) -> None:
        """Everything is delivered or saved again."""
        for _ in range(count):
            await asyncio.sleep(self.random.choice((1.0, 5.0, 10.0)))
            asked = Asked(group=self.random.choice(("store", "dest.crm", "dest.all")), from_="2020-01-01T00:00:00Z")
            while not await self._replayed(asked):
                await asyncio.sleep(0.5)

    async def _replayed(self, asked: Asked) -> bool:
        try:
            machine = self.api()
            await machine.do(machine.replays.begin(asked))
        except Reject:  # no such destination, or one under way
            return True
        except (Unreachable, Retry):
            return False
        self.happened["replay begun"] += 1
        return True

    async def _days_go_by(self) -> None:
        """Weeks in which nobody is away for long."""
        for _ in range(10):
            await asyncio.sleep(12.0)
            for topic in self.broker.topics:
                self.broker.trim(topic, self.time.now_ms() - RETENTION_MS)
            self.time.jump(RETENTION_MS // 4)

    def _clock(self) -> None:
        if machine := self._somebody():
            machine.process.skew_ms = self.random.choice((0, -5_000, 5_000, -3_600_000))

    def _trim(self) -> None:
        for topic in self.broker.topics:
            self.broker.trim(topic, self.time.now_ms() - self.random.choice((0, RETENTION_MS)))
