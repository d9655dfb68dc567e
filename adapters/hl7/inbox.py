"""The durable inbox: every message is stored, then answered; a known one is answered as the first time.

A message that can be applied is stored and applied in one transaction (state `applied`, or `superseded` where
all it says is older than what is stored). One that cannot is stored with its reason (`quarantined`). Only
where the store itself does not answer is nothing kept; then the answer is AR and the sender sends it again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adapters.hl7 import ack
from adapters.hl7.apply import Plan, plan
from adapters.hl7.arrival import Arrival, Channel, read
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.lanes import Lanes, Turn
from adapters.hl7.times import stamp
from fhir_server import gate
from fhir_server.errors import FhirError, NotFound, Unavailable
from fhir_server.interface import Asking, Core, Erasure, Writing
from fhir_server.model import Outcome, Record

KIND = "hl7-inbox"
"""Kind of the records that hold messages."""

APPLIED, SUPERSEDED, QUARANTINED = "applied", "superseded", "quarantined"
INTERACTION = "hl7v2"
ACTOR = "adapters.hl7"
INTERNAL = "207"

STORE_DOWN = Fault(INTERNAL, Place("MSH"), "The store does not answer.", reject=True)
NOT_APPLIED = Fault(INTERNAL, Place("MSH"), "The message could not be applied.")

log = logging.getLogger("predmp.hl7")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a message is answered: no, one or two acknowledgements, in the message's character set."""

    code: str  # AA, AE, AR; "" where it is not answered
    state: str
    texts: tuple[str, ...] = ()
    codec: str = "utf-8"

    @property
    def frames(self) -> list[bytes]:
        """The acknowledgements as bytes, without framing."""
        return [text.encode(self.codec, "replace") for text in self.texts]


def _where(error: BaseException) -> str:
    """Say where an error was raised, without what it says: its text may hold a value."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"


class Inbox:
    """Takes messages.

    Args:
        core: The door.
        ack_when: `stored`: AA once the message is safely kept, also where applying it failed for a reason
            on our side; `applied`: AE 207 then.
    """

    def __init__(self, core: Core, *, ack_when: str = "stored") -> None:
        self._core, self._ack_when = core, ack_when
        self.lanes = Lanes()
        self.counts: Counter[tuple[str, str]] = Counter()

    def receive(self, channel: Channel, raw: bytes, *, cut: Fault | None = None) -> asyncio.Task[Answer]:
        """Take a message; messages about one patient are applied in the order of these calls."""
        arrival = read(channel, raw, cut=cut)
        turn = self.lanes.enter(arrival.lanes)
        return asyncio.create_task(self._take(arrival, turn))

    async def _take(self, arrival: Arrival, turn: Turn) -> Answer:
        try:
            await turn.come()
            answer = await self._settle(arrival)
        finally:
            turn.leave()
        self.counts[answer.code, answer.state] += 1
        if answer.code in ("AE", "AR"):
            log.warning("message %s answered %s, %s", arrival.label, answer.code, answer.state or "not kept")
        return answer

    async def _settle(self, arrival: Arrival) -> Answer:
        """Store and apply; store with the reason where it cannot be applied."""
        if arrival.is_answer:
            return Answer("", "")
        if not arrival.raw:
            return self._answer(arrival, "AR", "", self._core.now(), arrival.fault)
        try:
            return await self._apply(arrival)
        except Unavailable:
            return self._answer(arrival, "AR", "", self._core.now(), STORE_DOWN)
        except Refused as refused:
            return await self._keep_aside(arrival, refused.fault, {})
        except FhirError as error:
            reason = {
                "text": error.text,
                "issues": [{"code": i.code, "expression": i.expression} for i in error.issues[:20]],
            }
            log.warning("message %s not applied: %s", arrival.label, error.code)
            return await self._keep_aside(arrival, NOT_APPLIED, reason)
        except Exception as error:  # a supervisor: one message that breaks a map ends no connection
            log.error("message %s not applied: %s at %s", arrival.label, type(error).__name__, _where(error))
            return await self._keep_aside(arrival, NOT_APPLIED, {})

    async def _apply(self, arrival: Arrival, *, again: bool = False) -> Answer:
        async def work(writing: Writing) -> Answer:
            before = await writing.record(KIND, arrival.key)
            if before is not None and not again and (known := await self._known(writing, arrival, before)):
                return known
            if arrival.draft is None:
                assert arrival.fault is not None
                return await self._store(writing, arrival, QUARANTINED, arrival.fault, before=before)
            made = await plan(writing, arrival.draft, arrival.feed)
            outcomes = await self._submit(writing, arrival, made)
            state = SUPERSEDED if made.outdated and not made.entries else APPLIED
            return await self._store(writing, arrival, state, None, before=before, made=made, outcomes=outcomes)

        answer: Answer = await self._core.transact(arrival.channel.tenant, work)
        return answer

    async def _submit(self, writing: Writing, arrival: Arrival, made: Plan) -> Sequence[Outcome]:
        if not made.entries:
            return ()
        actor = self._core.internal(arrival.channel.tenant, ACTOR)
        return await writing.submit(made.entries, actor=actor, interaction=INTERACTION)

    async def _known(self, writing: Writing, arrival: Arrival, before: Record) -> Answer | None:
        """Answer a message whose key is known; None where it is to be tried again: we failed on it."""
        body = gate.load(before.body)
        if body["sha256"] == arrival.sha256:
            if before.state == QUARANTINED and body["error"]["code"] == INTERNAL:
                return None
            return Answer(body["code"], before.state, tuple(body["ack"]), arrival.codec)
        fault = Fault("205", Place("MSH", 1, 10), "Another message has this control id.")
        answer = self._answer(arrival, fault.answer, QUARANTINED, writing.now, fault)
        record = _body(arrival, answer, fault, writing.now)
        await writing.put_record(KIND, f"{arrival.key}|{arrival.sha256}", QUARANTINED, gate.write(record))
        return answer

    async def _store(
        self,
        writing: Writing,
        arrival: Arrival,
        state: str,
        fault: Fault | None,
        *,
        before: Record | None,
        made: Plan | None = None,
        outcomes: Sequence[Outcome] = (),
        reason: dict[str, Any] | None = None,
    ) -> Answer:
        """Put the message's record; return its answer."""
        code = fault.answer if fault else "AA"
        if fault and fault.code == INTERNAL and self._ack_when == "stored":
            code = "AA"
        answer = self._answer(arrival, code, state, writing.now, fault if code != "AA" else None)
        record = _body(arrival, answer, fault, writing.now)
        if made is not None:
            record["issues"] += [problem._asdict() for problem in made.problems]
        record["resources"] = [o.version.reference for o in outcomes if o.version is not None]
        if before is not None:
            record["attempts"] = gate.load(before.body)["attempts"] + 1
        if fault is not None and reason:
            record["error"] |= reason
        lane = arrival.lanes[0] if arrival.lanes else ""
        await writing.put_record(KIND, arrival.key, state, gate.write(record), lane=lane)
        return answer

    async def _keep_aside(self, arrival: Arrival, fault: Fault, reason: dict[str, Any]) -> Answer:
        """Store a message that could not be applied, in a transaction of its own."""

        async def work(writing: Writing) -> Answer:
            before = await writing.record(KIND, arrival.key)
            return await self._store(writing, arrival, QUARANTINED, fault, before=before, reason=reason)

        try:
            answer: Answer = await self._core.transact(arrival.channel.tenant, work)
        except FhirError:
            return self._answer(arrival, "AR", "", self._core.now(), STORE_DOWN)
        return answer

    def _answer(self, arrival: Arrival, code: str, state: str, now: int, fault: Fault | None) -> Answer:
        codes = ack.due(arrival.sender, code, kept=bool(state))
        texts = tuple(
            ack.write(arrival.sender, each, at=stamp(now), own_id=_own_id(arrival, each), fault=fault) for each in codes
        )
        return Answer(code, state, texts, arrival.codec)

    async def replay(self, channel: Channel, key: str) -> Answer:
        """Apply a stored message again, with today's maps; raise NotFound for an unknown key."""

        async def find(asking: Asking) -> Record | None:
            return await asking.record(KIND, key)

        found: Record | None = await self._core.ask(channel.tenant, find)
        if found is None:
            raise NotFound("There is no such message.")
        arrival = read(channel, raw_of(gate.load(found.body)))
        turn = self.lanes.enter(arrival.lanes)
        try:
            await turn.come()
            return await self._apply(arrival, again=True)
        finally:
            turn.leave()


def _own_id(arrival: Arrival, code: str) -> str:
    """Return the control id of an answer: always the same for the same message and code."""
    return hashlib.sha256(f"{arrival.key}\x1f{arrival.sha256}\x1f{code}".encode()).hexdigest()[:20].upper()


def _body(arrival: Arrival, answer: Answer, fault: Fault | None, now: int) -> dict[str, Any]:
    """Return what is stored of a message."""
    made: dict[str, Any] = {
        "control_id": arrival.control_id,
        "channel": arrival.channel.name,
        "application": arrival.sender.application,
        "facility": arrival.sender.facility,
        "type": arrival.name,
        "version": arrival.sender.version,
        "received": datetime.fromtimestamp(now / 1_000_000, UTC).isoformat(timespec="milliseconds"),
        "sha256": arrival.sha256,
        "charset": arrival.codec,
        "code": answer.code,
        "ack": list(answer.texts),
        "attempts": 1,
        "issues": [problem._asdict() for problem in arrival.problems],
        "unused": list(arrival.unused),
        "used": dict(arrival.used),
        "unmapped": [list(row) for row in arrival.unmapped],
        "resources": [],
        **_raw(arrival),
    }
    if fault is not None:
        made["error"] = {"code": fault.code, "path": fault.place.path, "detail": fault.detail}
    return made


def _raw(arrival: Arrival) -> dict[str, str]:
    """Return the bytes as text where the text gives the same bytes back, else as base64."""
    try:
        text = arrival.raw.decode(arrival.codec)
        if text.encode(arrival.codec) == arrival.raw and "\x00" not in text:
            return {"raw": text}
    except UnicodeError:
        text = ""
    return {"raw64": base64.b64encode(arrival.raw).decode("ascii")}


def raw_of(body: dict[str, Any]) -> bytes:
    """Return the bytes of a stored message."""
    if "raw64" in body:
        return base64.b64decode(body["raw64"])
    text: str = body["raw"]
    return text.encode(body["charset"])


def holds(record: Record, erasure: Erasure) -> bool:
    """Whether a message made, or names by an identifier, what is erased (`interface.Eraser`)."""
    body = gate.load(record.body)
    if not erasure.references.isdisjoint(body.get("resources", ())):
        return True
    raw = raw_of(body)
    return any(
        re.search(rb"(?<![0-9A-Za-z])" + re.escape(value.encode()) + rb"(?![0-9A-Za-z])", raw)
        for value in erasure.identifiers
    )
