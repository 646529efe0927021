"""`POST /track`: a tracker payload, or a list of them; answered 200 once durable in the log."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastapi import Request
from fastapi.responses import Response

from pipeline import intake
from pipeline.clock import Clock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.errors import DefinitionsUnavailable, Malformed, Retry, SourceRefused
from pipeline.intake import Accepted, Caller
from pipeline.limits import Limits, check_id
from pipeline.log.port import Log
from serve.body import read_body
from serve.coalescer import Coalescer
from serve.errors import json_response
from serve.outcomes import Outcome, Outcomes

#: Bounds of ``?timeout=``, in seconds.
_DEFAULT_WAIT_S = 5.0
_LONGEST_WAIT_S = 30.0

#: A refused source makes this process look for newer definitions, at most this often.
_LOOK_AGAIN_MS = 200

#: What the definitions database is given then.
_ASK_S = 2.0


class Waiting(NamedTuple):
    """What the query asks for."""

    until: str = ""  #: ``processed``, ``stored`` or nothing
    timeout_s: float = _DEFAULT_WAIT_S


class Track:
    """The endpoint; one instance a process."""

    def __init__(
        self, log: Log, watch: DefinitionsWatch, clock: Clock, new_id: Callable[[], str], limits: Limits
    ) -> None:
        self._watch = watch
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._coalescer = Coalescer(log, new_id())
        self._outcomes = Outcomes(log, clock)

    async def __call__(self, request: Request) -> Response:
        """The answer to one request. Raises the errors that serve.errors turns into statuses."""
        waiting = _waiting(request)
        body = await read_body(request, self._limits.body)
        payloads, many = intake.decode(body, self._limits)
        accepted = await self._accept(payloads, many, self._caller(request, bool(waiting.until)))
        with_events = [one for one in accepted if one.events]
        if waiting.until:
            answers, status = await self._append_and_wait(accepted, with_events, waiting)
        else:
            if with_events:
                await self._coalescer.append(with_events)
            answers = [intake.response(one) for one in accepted]
            status = 201 if payloads and all(one.options.get("queue") is True for one in payloads) else 200
        return json_response(answers if many else answers[0], status)

    def _caller(self, request: Request, wait: bool) -> Caller:
        key = request.headers.get("idempotency-key", "")
        return Caller(
            now_ms=self._clock.now_ms(),
            ip=request.client.host if request.client else "",
            headers=request.headers,
            idempotency_key=check_id(key, "Idempotency-Key") if key else "",
            profile_less=request.query_params.get("profile_less", "").lower() in ("true", "1", "yes"),
            wait=wait,
        )

    async def _accept(self, payloads: Sequence[Any], many: bool, caller: Caller) -> list[Accepted]:
        """All of them, or none: nothing is appended before the last one is judged.

        A refusal is given only by definitions read after the request came in: raises `DefinitionsUnavailable` where the
        database would have to be asked and does not answer.
        """
        try:
            return self._judged(payloads, many, caller)
        except SourceRefused:
            if self._watch.asked_ms > caller.now_ms:
                raise
        await self._clock.sleep(max(0, self._watch.asked_ms + _LOOK_AGAIN_MS - caller.now_ms) / 1000)
        away: DefinitionsUnavailable | None = None
        if self._watch.asked_ms <= caller.now_ms:
            try:
                async with asyncio.timeout(_ASK_S):
                    await self._watch.refresh()
            except TimeoutError:
                away = DefinitionsUnavailable(f"the definitions database has not answered for {_ASK_S:g} s: try again")
            except DefinitionsUnavailable as error:
                away = error
            except Malformed as error:  # of a definition, not of this payload
                self._watch.last_error = str(error)
        try:
            return self._judged(payloads, many, caller)
        except SourceRefused:
            if away is None:
                raise
            raise away from None

    def _judged(self, payloads: Sequence[Any], many: bool, caller: Caller) -> list[Accepted]:
        catalog = self._watch.catalog
        return [
            intake.accept(one, index if many else None, catalog, self._limits, caller, self._new_id)
            for index, one in enumerate(payloads)
        ]

    async def _append_and_wait(
        self, accepted: Sequence[Accepted], with_events: Sequence[Accepted], waiting: Waiting
    ) -> tuple[list[Any], int]:
        futures: dict[str, asyncio.Future[Outcome]] = {}
        try:
            for one in with_events:
                futures[one.task] = await self._outcomes.expect(one.task)
            if with_events:
                await self._coalescer.append(with_events)
            status = 200 if await self._settled(list(futures.values()), waiting) else 202
        finally:
            for one in with_events:
                self._outcomes.forget(one.task)
        return [_answer(one, futures.get(one.task)) for one in accepted], status

    async def _settled(self, futures: Sequence["asyncio.Future[Outcome]"], waiting: Waiting) -> bool:
        """Whether every outcome came in time; once appended, nothing that goes wrong here is the client's affair."""
        if not futures:
            return True
        deadline = self._clock.monotonic() + waiting.timeout_s
        _, missing = await asyncio.wait(futures, timeout=waiting.timeout_s)
        if missing or any(future.cancelled() for future in futures):
            return False
        if waiting.until != "stored":
            return True
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
                for future in futures:
                    await self._outcomes.stored(future.result())
        except (TimeoutError, Retry):
            return False
        return True


def _answer(accepted: Accepted, future: "asyncio.Future[Outcome] | None") -> Any:
    if future is None or not future.done() or future.cancelled():
        return intake.response(accepted)
    answer = future.result().answer
    definitive = accepted._replace(profile=answer.profile, session=answer.session)
    return intake.response(definitive, answer.events)


def _waiting(request: Request) -> Waiting:
    until = request.query_params.get("wait", "")
    if until not in ("", "processed", "stored"):
        raise Malformed("use wait=processed or wait=stored", "wait")
    text = request.query_params.get("timeout", "")
    if not text:
        return Waiting(until)
    try:
        timeout_s = float(text)
    except ValueError:
        timeout_s = -1.0
    if not 0 < timeout_s <= _LONGEST_WAIT_S:
        raise Malformed(f"timeout is a number of seconds up to {_LONGEST_WAIT_S:.0f}", "timeout")
    return Waiting(until, timeout_s)
