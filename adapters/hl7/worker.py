"""The worker: applies what was received, in the order in which it came, urgent messages ahead of other patients'.

A message's effect and its new state are one transaction. So the effect and the word that it has happened cannot
part, whatever ends the process, and two hubs on one store never apply a message twice: who comes second finds it
settled. Several messages share a transaction; where one of them fails it is tried alone, and the others go on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, cast

from adapters.hl7 import ack
from adapters.hl7.acquaintance import Acquaintances, Acquainted
from adapters.hl7.answer import Answer
from adapters.hl7.arrival import read
from adapters.hl7.backlog import Backlog, Waiting
from adapters.hl7.effect import TRANSIENT, Effect, reason_of, take_effect, told
from adapters.hl7.faults import Fault, Refused
from adapters.hl7.header import read_header
from adapters.hl7.hold import hold
from adapters.hl7.lanes import Lanes
from adapters.hl7.record import KIND, NOT_APPLIED, QUARANTINED, RECEIVED, error_part, raw_of, when
from adapters.hl7.stream import Stream
from fhir_server import gate
from fhir_server.errors import FhirError, Unavailable
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Record

MOST: Final = 64  # messages of one transaction
SLICE_S: Final = 0.004  # what one transaction may take while messages stream in
LONG_SLICE_S: Final = 0.08  # and while none do
FIRST_RETRY_S, LAST_RETRY_S, JITTER = 1.0, 300.0, 0.25

log = logging.getLogger("predmp.hl7")


def where(error: BaseException) -> str:
    """Say where an error was raised, without what it says: its text may hold a value."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"


def delay(tries: int, share: float) -> float:
    """Return the seconds until the next try: 1, 2, 4 ... 300, and up to a quarter more.

    Args:
        tries: How many there were.
        share: Of the jitter, 0 to 1.
    """
    return min(FIRST_RETRY_S * 2.0 ** min(tries - 1, 20), LAST_RETRY_S) * (1 + JITTER * share)


class Worker:
    """Applies messages as long as there are some.

    Args:
        core: The door.
        backlog: What waits.
        stream: Says whether messages stream in, and lets them go first.
        retry_s: Age at which a message that fails for a passing reason is put in quarantine.
        known: Remembers Patients; None where nobody tells it which are written.
        share: Gives numbers from 0 to 1, for the jitter of retries.
    """

    def __init__(
        self,
        core: Core,
        backlog: Backlog,
        *,
        stream: Stream,
        retry_s: float = 86_400.0,
        known: Acquaintances | None = None,
        share: Callable[[], float] = random.random,
    ) -> None:
        self._core, self._backlog, self._stream = core, backlog, stream
        self._retry_s, self._known, self._share = retry_s, known, share
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending = self._alone = False  # whether the next message is tried alone
        self._worked = 0.0  # seconds that the last transaction took, without its commit
        self.lanes: Lanes[Waiting] = Lanes()
        self.counts: Counter[tuple[str, str]] = Counter()  # of settled messages, by answer and state

    def wake(self) -> None:
        """Go on, if there is something to do."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None and not self._ending:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End the transaction that is under way; the rest waits in the store."""
        self._ending = True
        if self._timer is not None:
            self._timer.cancel()
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        loop, backlog = asyncio.get_running_loop(), self._backlog
        pauses = 0
        try:
            while not self._ending:
                backlog.give_back(self.lanes.take(loop.time()))
                if not backlog.is_ready:
                    break
                began, batch = loop.time(), list[Waiting]()
                started = time.perf_counter()
                try:
                    await self._read_some(batch)
                    read_s, count = time.perf_counter() - started, len(batch)
                    if batch:
                        await self._apply(batch)
                except Unavailable:
                    backlog.give_back(batch)
                    pauses += 1
                    await self._pause(delay(pauses, self._share()))
                    continue
                except Exception as error:  # a supervisor: what even quarantine did not take comes again, others go on
                    log.error("messages wait: %s at %s", type(error).__name__, where(error))
                    for one in batch:
                        one.tries += 1
                        self.lanes.put_off(one, loop.time() + delay(one.tries, self._share()))
                    continue
                pauses = 0
                backlog.measure(loop.time() - began, read_s + self._worked, count)
                backlog.passed()
                await self._stream.give_way(read_s + self._worked, backlog, self._is_ending)
        finally:
            self._task = None
            backlog.passed()
            if not self._ending and (due := self.lanes.next_due()) is not None:
                self._timer = loop.call_at(due, self.wake)

    async def _pause(self, seconds: float) -> None:
        """Wait until the store may answer again, or the hub ends."""
        log.warning("messages wait: the store does not answer")
        self._backlog.is_stuck = True
        end = asyncio.get_running_loop().time() + seconds
        while not self._ending and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.1)
        self._backlog.is_stuck = False

    def _is_ending(self) -> bool:
        return self._ending

    async def _read_some(self, batch: list[Waiting]) -> None:
        """Take and read the messages of the next transaction.

        Raises:
            Unavailable: The store does not answer; no message is lost.
        """
        backlog = self._backlog
        hurries = backlog.is_next_urgent  # then its transaction has nothing else
        is_short = self._stream.is_running() and not (backlog.has_readers or hurries)
        slice_s = SLICE_S if is_short else LONG_SLICE_S
        most = 1 if self._alone else max(1, min(MOST, int(slice_s / backlog.work)))
        self._alone = False
        while backlog.is_ready and len(batch) < most:
            if batch and (
                backlog.first().channel.tenant != batch[0].channel.tenant or backlog.is_next_urgent is not hurries
            ):
                return
            one = backlog.take()
            try:
                if one.arrival is None and not await self._read(one):
                    continue
            except Unavailable:
                backlog.give_back([one])
                raise
            if not self.lanes.keeps(one):
                batch.append(one)

    async def _read(self, one: Waiting) -> bool:
        """Read a message; False where it is settled already, or cannot be read for a fault of ours."""
        raw = one.raw
        if not raw:
            record = await self._stored(one)
            if record is None or record.state != RECEIVED:
                self._forget(one, None)
                return False
            raw = raw_of(gate.load(record.body))
        try:
            one.arrival = read(one.channel, raw)
        except Exception as error:  # a supervisor: one message that breaks a map delays no other
            await self._fail(one, error)
            return False
        return True

    def _read_ahead(self, is_waiting: Callable[[], bool]) -> None:
        """Read messages whose turn comes soon, while the disk is waited for; what fails is read again in its turn."""
        for one in self._backlog.upcoming(MOST):
            if not is_waiting():
                return
            if one.raw and one.arrival is None:
                try:
                    one.arrival = read(one.channel, one.raw)
                except Exception as error:  # a supervisor: it is told of when it is its turn
                    log.debug("message not read ahead: %s at %s", type(error).__name__, where(error))

    async def _stored(self, one: Waiting) -> Record | None:
        async def find(asking: Asking) -> Record | None:
            return await asking.record(KIND, one.key)

        found: Record | None = await self._core.ask(one.channel.tenant, find)
        return found

    async def _apply(self, batch: list[Waiting]) -> None:
        """Apply messages in one transaction; where one of them fails, those before it now, it alone next.

        Raises:
            Unavailable: The store does not answer; nothing of what `batch` then holds is applied.
        """
        reached = 0

        async def work(writing: Writing) -> list[Effect | None]:
            nonlocal reached
            made, started = [], time.perf_counter()
            if self._known is not None:
                writing = cast(Writing, Acquainted(writing, self._known))
            drafts = [one.arrival.draft for one in batch if one.arrival is not None and one.arrival.draft is not None]
            await writing.records_of(KIND, [one.key for one in batch])  # so that each is at hand
            await writing.look_up([reference for draft in drafts for reference in draft.references])
            for number, one in enumerate(batch):
                reached = number
                made.append(await self._settle(writing, one))
            reached = len(batch)
            if not self._stream.is_running():
                writing.meanwhile(self._read_ahead)
            self._worked = time.perf_counter() - started
            return made

        try:
            effects = await self._core.transact(batch[0].channel.tenant, work)
        except Exception as error:  # a supervisor: one message that cannot be applied delays no other
            if isinstance(error, Unavailable) and reached == len(batch):
                raise
            if len(batch) == 1:
                await self._fail(batch[0], error)
                return
            failed = min(reached, len(batch) - 1)
            self._backlog.give_back(batch[failed:])
            del batch[failed:]
            self._alone = True
            if batch:
                await self._apply(batch)
            return
        for one, effect in zip(batch, effects, strict=True):
            if effect is None and one.futures:
                await self._tell_stored(one)
            self._forget(one, effect)

    async def _tell_stored(self, one: Waiting) -> None:
        """Answer as another hub did that applied the message first."""
        record = await self._stored(one)
        body = gate.load(record.body) if record is not None else {}
        if record is not None and body["code"]:
            answer = Answer(body["code"], record.state, tuple(body["ack"]), body["charset"])
            for future in one.futures:
                if not future.done():
                    future.set_result(answer)

    async def _settle(self, writing: Writing, one: Waiting) -> Effect | None:
        """Apply one message and store what it came to; None where it is settled already, or erased."""
        record = await writing.record(KIND, one.key)
        if record is None or record.state != RECEIVED:
            return None
        assert one.arrival is not None
        effect = await take_effect(self._core, writing, one.arrival)
        await self._put(writing, one, record, effect)
        return effect

    async def _put(self, writing: Writing, one: Waiting, record: Record, effect: Effect, **more: Any) -> None:
        """Store a message's new state."""
        body, arrival = gate.load(record.body), one.arrival
        if arrival is not None:
            body = told(body, arrival, effect, writing.now)
        if effect.fault is not None:
            body["error"] = {**error_part(effect.fault), **more}
        if not body["code"]:
            answer = _answer(one, raw_of(body), effect.state, effect.fault)
            body |= {"code": answer.code, "ack": answer.texts}
        lanes = arrival.lanes if arrival is not None else ()
        if effect.state == QUARANTINED and one.channel.hold_lane and lanes:
            body["hold"] = await hold(writing, lanes, one.key)
        await writing.put_record(KIND, one.key, effect.state, gate.write(body), lane=lanes[0] if lanes else "")

    # --- what failed ---------------------------------------------------------------------------------------

    async def _fail(self, one: Waiting, error: Exception) -> None:
        """Put a message that cannot be applied off, or in quarantine.

        Raises:
            Unavailable: The store does not answer.
        """
        if isinstance(error, TRANSIENT) and (self._core.now() - one.at) / 1_000_000 < self._retry_s:
            await self._put_off(one, error)
            return
        fault = error.fault if isinstance(error, Refused) else NOT_APPLIED
        if not isinstance(error, Refused):
            said = error.code if isinstance(error, FhirError) else f"{type(error).__name__} at {where(error)}"
            log.warning("message %s not applied: %s", one.label, said)
        effect = Effect(QUARANTINED, fault, one.arrival.problems if one.arrival is not None else ())

        async def work(writing: Writing) -> bool:
            record = await writing.record(KIND, one.key)
            if record is None or record.state != RECEIVED:
                return False
            await self._put(writing, one, record, effect, **reason_of(error))
            return True

        done = await self._core.transact(one.channel.tenant, work)
        self._forget(one, effect if done else None)

    async def _put_off(self, one: Waiting, error: Exception) -> None:
        one.tries += 1
        seconds = delay(one.tries, self._share())

        async def work(writing: Writing) -> bool:
            record = await writing.record(KIND, one.key)
            if record is None or record.state != RECEIVED:
                return False
            body = gate.load(record.body)
            body["attempts"] += 1
            body["next_at"] = when(writing.now + int(seconds * 1_000_000))
            body["error"] = {**error_part(NOT_APPLIED), **reason_of(error)}
            await writing.put_record(KIND, one.key, RECEIVED, gate.write(body), lane=record.lane)
            return True

        if not await self._core.transact(one.channel.tenant, work):
            self._forget(one, None)
            return
        log.warning("message %s is tried again: %s", one.label, type(error).__name__)
        self.lanes.put_off(one, asyncio.get_running_loop().time() + seconds)
        _tell(one, RECEIVED, NOT_APPLIED)

    def _forget(self, one: Waiting, effect: Effect | None) -> None:
        """Let go of a message that is settled, and tell who waits for that."""
        self._backlog.forget(one)
        self._tell_effect(one, effect)
        one.raw, one.arrival = b"", None  # what still names it keeps nothing of it

    def _tell_effect(self, one: Waiting, effect: Effect | None) -> None:
        if effect is None:  # another hub applied it, or it was erased
            _tell(one, RECEIVED, NOT_APPLIED)
            return
        if effect.state == QUARANTINED and one.channel.hold_lane and one.arrival is not None:
            self.lanes.hold({**self.lanes.held, **dict.fromkeys(one.arrival.lanes, one.key)})
        code = effect.fault.answer if effect.fault is not None and one.futures else "AA"
        self.counts[code, effect.state] += 1
        _tell(one, effect.state, effect.fault)


def _answer(one: Waiting, raw: bytes, state: str, fault: Fault | None) -> Answer:
    """Return the answer of a message whose effect was waited for: always the same."""
    header = read_header(one.channel, raw)
    code, faults = ("AA", ()) if fault is None else (fault.answer, (fault,))
    return Answer(code, state, header.answers(code, kept=True, now=one.at, faults=faults), header.codec)


def _tell(one: Waiting, state: str, fault: Fault | None) -> None:
    """Answer who waits for the effect of a message: in enhanced mode by the application acknowledgement alone."""
    raw = one.raw or (one.arrival.raw if one.arrival is not None else b"")
    for future in one.futures:
        if not future.done():
            answer = _answer(one, raw, state, fault)
            header = read_header(one.channel, raw)
            if header.sender.is_enhanced:
                code = ack.application_due(header.sender, answer.code)
                texts = tuple(text for text in answer.texts if f"\rMSA|{code}|" in text) if code else ()
                answer = Answer(answer.code, state, texts, header.codec)
            future.set_result(answer)
    one.futures = ()
