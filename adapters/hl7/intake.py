"""Intake: messages are stored as they came, then acknowledged; all that wait share one commit.

While a commit runs the next messages gather by themselves, so nothing is delayed to wait for company. What is done to
each of them alone is done to all of a commit in a row, which costs less than in between others' work. The key is
looked up in the transaction that stores: the same message again is answered as the first time, another one with its
key is refused and kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from adapters.hl7 import ack
from adapters.hl7.answer import DISK_LOW, STORE_DOWN, Answer
from adapters.hl7.connection import HangUp
from adapters.hl7.faults import Fault, Place
from adapters.hl7.header import Header
from adapters.hl7.record import INTERNAL, KIND, QUARANTINED, RECEIVED, error_part, raw_part, when
from adapters.hl7.urgency import Glance
from fhir_server import gate
from fhir_server.errors import FhirError
from fhir_server.interface import Core, Writing
from fhir_server.model import Record

MOST: Final = 256  # messages of one commit
MOST_BYTES: Final = 16_777_216  # of one commit's messages, or one message
NOTHING_SEEN: Final = Glance()
NOT_ANSWERED: Final = Answer("", "")
KNOWN_KEY: Final = Fault("205", Place("MSH", 1, 10), "Another message has this control id.")

log = logging.getLogger("predmp.hl7")


class Verdict(NamedTuple):
    """What a hook says of a message: the sequence number protocol, and what else decides in the same transaction."""

    fault: Fault | None = None  # refuses it: it is kept in quarantine and answered with the fault
    expected: int | None = None  # MSA-4
    is_kept: bool = True  # False: it is answered and not stored (it is to be sent again)


Hook: TypeAlias = Callable[[Writing, Header], Awaitable[Verdict | None]]
"""Asked for each message that is new and has a sequence number, in the transaction that stores it; may put records of
its own. It may be asked twice about the same message (a transaction may run again), so it changes nothing but by
`writing`."""


@dataclass(slots=True)
class Letter:
    """A message on its way into the store."""

    header: Header
    code: str  # that it is answered once it is stored; "" where it is answered once it is applied
    faults: tuple[Fault, ...]
    more: Mapping[str, Any]  # kept with it
    future: asyncio.Future[Answer]
    later: asyncio.Future[Answer] | None = None  # told of its effect, where that is an answer of its own
    glance: Glance = NOTHING_SEEN
    answer: Answer = NOT_ANSWERED
    body: bytes = b""
    state: str = ""  # that it has once it is stored
    is_new: bool = False  # whether it is to be applied
    at: int = 0  # when it was stored


class Intake:
    """Stores messages and answers them.

    Args:
        core: The door.
        stored: Told of each message that is to be applied, in order, once it is durable and before it is answered.
        room: Asked before a commit with the tenant; what it gives is awaited, e.g. until fewer messages wait.
        is_low: Whether the disk has no room for more messages.
        look: Tells what a message's turn depends on.
        is_full: Whether only urgent messages are to be stored now, with what came before them about the same patients.
    """

    def __init__(
        self,
        core: Core,
        stored: Callable[[Letter], None],
        room: Callable[[str], Awaitable[None] | None] = lambda tenant: None,
        is_low: Callable[[], bool] = lambda: False,
        look: Callable[[Letter], Glance] = lambda letter: NOTHING_SEEN,
        is_full: Callable[[], bool] = lambda: False,
    ) -> None:
        self._core, self._stored, self._room, self._is_low, self._look = core, stored, room, is_low, look
        self._is_full = is_full
        self._waiting: deque[Letter] = deque()
        self._unseen: deque[Letter] = deque()  # the last of them, which were not looked at yet
        self._task: asyncio.Task[None] | None = None
        self._urgent = 0  # messages of those that wait and were looked at
        self.hook: Hook | None = None
        self.is_storing = False  # whether a commit is under way
        self.last = 0.0  # when the newest message came, or was answered, by the clock of the event loop
        self.came = 0  # messages that came
        self.counts: Counter[str] = Counter()  # answers, by code
        self.refused: Counter[tuple[str, str]] = Counter()  # answers and states of new messages that are not applied

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_urgent(self) -> bool:
        """Whether an urgent message waits for a commit; looks at those that came since this was last asked."""
        self._look_at(len(self._unseen))
        return self._urgent > 0

    def _look_at(self, most: int) -> None:
        for _ in range(most):
            letter = self._unseen.popleft()
            if not letter.faults:
                letter.glance = self._look(letter)
                self._urgent += bool(letter.glance.urgent)

    def take(self, letter: Letter) -> None:
        """Let a message wait for the next commit; its future gets the answer."""
        loop = asyncio.get_running_loop()
        self.last = loop.time()
        self.came += 1
        self._waiting.append(letter)
        self._unseen.append(letter)
        if self._task is None:
            self._task = loop.create_task(self._run())

    async def stop(self) -> None:
        """Store and answer what came until now."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._waiting:
                try:
                    if (full := self._room(self._waiting[0].header.channel.tenant)) is not None:
                        await full
                except FhirError:
                    self._refuse(self._next(), STORE_DOWN, self._core.now())
                    continue
                self.is_storing = True
                await self._commit(self._next())
                self.is_storing, self.last = False, asyncio.get_running_loop().time()
        finally:
            self._task, self.is_storing = None, False

    def _next(self) -> list[Letter]:
        """Take the messages of one tenant from the front, as many as one commit takes; of a full hub, those ahead."""
        if self._is_full() and self.has_urgent and (ahead := self._ahead()):
            return ahead
        tenant, size = self._waiting[0].header.channel.tenant, 0
        seen = len(self._waiting) - len(self._unseen)
        made: list[Letter] = []
        while self._waiting and len(made) < MOST and size < MOST_BYTES:
            if self._waiting[0].header.channel.tenant != tenant:
                break
            made.append(self._waiting.popleft())
            size += len(made[-1].header.raw)
        self._look_at(max(len(made) - seen, 0))
        self._urgent -= sum(bool(letter.glance.urgent) for letter in made)
        return made

    def _ahead(self) -> list[Letter]:
        """Take the urgent messages of the first one's tenant, and what must stay before them; none where that is much.

        Before an urgent message stays what came before it about the same patient, or about nobody; on a channel with
        sequence numbers, whatever came before it.
        """
        tenant = self._waiting[0].header.channel.tenant
        made: list[Letter] = []
        left: deque[Letter] = deque()
        names: set[str] = set()
        channels: set[str] = set()
        for letter in reversed(self._waiting):
            channel, whose = letter.header.channel, letter.glance.whose
            is_before = bool(made) and (not whose or not names.isdisjoint(whose) or channel.name in channels)
            if channel.tenant == tenant and (letter.glance.urgent or is_before):
                made.append(letter)
                names.update(whose)
                channels |= {channel.name} if channel.sequence else set()
            else:
                left.appendleft(letter)
        if len(made) > MOST or sum(len(letter.header.raw) for letter in made[1:]) > MOST_BYTES:
            return []
        self._waiting = left
        self._urgent -= sum(bool(letter.glance.urgent) for letter in made)
        return made[::-1]

    async def _commit(self, letters: list[Letter]) -> None:
        """Store messages in one transaction and answer them; where it fails none is kept, and none accepted."""
        now = self._core.now()

        async def work(writing: Writing) -> None:
            known = await writing.records_of(KIND, [letter.header.key for letter in letters])
            for letter in letters:
                await self._keep(writing, known, letter, now)

        try:
            if self._is_low():
                self._refuse(letters, DISK_LOW, now)
                return
            await self._core.transact(letters[0].header.channel.tenant, work)
        except FhirError:
            self._refuse(letters, STORE_DOWN, now)
            return
        except Exception as error:  # a supervisor: one message that cannot be stored harms no other
            if len(letters) > 1:
                for letter in letters:
                    await self._commit([letter])
                return
            log.error("message %s not stored: %s", letters[0].header.label, type(error).__name__)
            self._refuse(letters, STORE_DOWN, now)
            return
        for letter in letters:
            if letter.is_new:
                self._stored(letter)
            elif letter.body:
                self.refused[letter.answer.code, letter.answer.state] += 1
            self._tell(letter, letter.answer)

    def _refuse(self, letters: list[Letter], fault: Fault, now: int) -> None:
        for letter in letters:
            header = letter.header
            letter.is_new = False
            if header.channel.when_store_down == "close":
                self.counts[""] += 1
                if not letter.future.done():
                    letter.future.set_exception(HangUp())
                continue
            texts = header.answers("AR", kept=False, now=now, faults=(fault,))
            self._tell(letter, Answer("AR", "", texts, header.codec))

    def _tell(self, letter: Letter, answer: Answer) -> None:
        if letter.is_new and letter.code == "":
            self._accept(letter)  # the rest when it is applied
            return
        self.counts[answer.code] += 1
        if answer.code != "AA":
            log.warning("message %s answered %s, %s", letter.header.label, answer.code, answer.state or "not kept")
        if not letter.future.done():
            letter.future.set_result(answer)

    def _accept(self, letter: Letter) -> None:
        """Answer that a message is kept, where its sender asked for enhanced mode and waits for the effect apart."""
        header = letter.header
        to = header.sender
        if letter.later is None or letter.future.done():
            return
        code = ack.accept_due(to, "AA", kept=True)
        texts = (header.answer(code, now=letter.at),) if code else ()
        self.counts[code] += 1
        letter.future.set_result(Answer(code, letter.state, texts, header.codec, letter.later))

    # --- inside the transaction, which may run twice --------------------------------------------------------

    async def _keep(self, writing: Writing, known: dict[str, Record], letter: Letter, now: int) -> None:
        """Store a message, unless it is among what is known: the rows of these keys."""
        header = letter.header
        key = header.key
        if key in known:
            await self._meet(writing, known, letter, now)
            return
        verdict = await self.hook(writing, header) if self.hook is not None and header.sequence else None
        if verdict is not None and verdict.fault is not None:
            self._fill(letter, now, verdict.fault.answer, (verdict.fault,), verdict)
        else:
            self._fill(letter, now, letter.code, letter.faults, verdict)
        if verdict is None or verdict.is_kept:
            known[key] = await writing.put_record(KIND, key, letter.state, letter.body)

    async def _meet(self, writing: Writing, known: dict[str, Record], letter: Letter, now: int) -> None:
        """Answer a message whose key is known."""
        header = letter.header
        before = known[header.key]
        body = gate.load(before.body)
        if body["sha256"] != header.sha256:
            key = f"{header.key}|{header.sha256}"
            again = known.get(key) or await writing.record(KIND, key)
            if again is None:
                self._fill(letter, now, KNOWN_KEY.answer, (KNOWN_KEY,), None)
                known[key] = await writing.put_record(KIND, key, letter.state, letter.body)
                return
            before, body = again, gate.load(again.body)
        elif before.state == QUARANTINED and body["error"]["code"] == INTERNAL and not letter.faults:
            # We failed on it, and it comes again: it is tried again.
            for name in ("error", "next_at"):
                body.pop(name, None)
            before = await writing.put_record(KIND, before.key, RECEIVED, gate.write(body), lane=before.lane)
            known[before.key] = before
        letter.is_new, letter.state, letter.at = before.state == RECEIVED, before.state, now
        code, texts = body["code"], tuple(body["ack"])
        if not code and letter.code:  # its channel waited for the effect then, and does not now
            code, texts = letter.code, header.answers(letter.code, kept=True, now=now)
        letter.answer = Answer(code, before.state, texts, header.codec)

    def _fill(self, letter: Letter, now: int, code: str, faults: tuple[Fault, ...], verdict: Verdict | None) -> None:
        """Make the answer and the record of a message that is new."""
        header, expected = letter.header, None if verdict is None else verdict.expected
        letter.at = now
        letter.state = QUARANTINED if faults else RECEIVED
        letter.is_new = not faults
        is_kept = verdict is None or verdict.is_kept
        texts = header.answers(code, kept=is_kept, now=now, faults=faults, expected=expected) if code else ()
        letter.answer = Answer(code, letter.state if is_kept else "", texts, header.codec)
        sender = header.form.sender
        body = {
            "control_id": header.control_id,
            "channel": header.channel.name,
            "application": sender.application,
            "facility": sender.facility,
            "type": header.name,
            "version": sender.version,
            "received": when(now),
            "sha256": header.sha256,
            "charset": header.codec,
            "code": code,
            "ack": texts,
            "attempts": 0,
            "issues": (),
            "unused": (),
            "resources": (),
        }
        if faults:
            body["error"] = error_part(faults[0])
        if letter.glance.urgent:
            body["urgent"] = letter.glance.urgent
        if letter.more:
            body |= letter.more
        if header.text is None:
            body |= raw_part(header.raw, header.codec)
        else:
            body["raw"] = header.text
        letter.body = gate.write(body)
