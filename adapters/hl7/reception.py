"""Reception: what every way in shares before the inbox. Batches are parted, continued messages put together.

A message that is neither goes on at once, in the call itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakValueDictionary

from adapters.hl7 import ack, batch, continuation, sequence
from adapters.hl7.channels import Channel
from adapters.hl7.connection import Answered, HangUp
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.record import names
from adapters.hl7.times import stamp
from fhir_server import gate
from fhir_server.errors import FhirError
from fhir_server.interface import Asking, Core, Erasure, Writing
from fhir_server.model import Record

STORE_DOWN = Fault("207", Place("MSH"), "The store does not answer.", reject=True)
STRANGER = Fault("207", Place("MSH", 1, 3), "No channel takes messages of this sender.", reject=True)
KEPT = frozenset({"AA", "CA"})

log = logging.getLogger("predmp.hl7")


class Settled(Answered, Protocol):
    """What the inbox answers."""

    @property
    def code(self) -> str:
        """AA, AE, AR; "" where it is not answered."""
        ...

    @property
    def codec(self) -> str:
        """Python's name of the character set of the answer."""
        ...

    @property
    def state(self) -> str:
        """Of the message when it is answered; "" where it is not kept."""
        ...


class Receiving(Protocol):
    """The inbox's door."""

    def receive(
        self, channel: Channel, raw: bytes, *, cut: Fault | None = None, parent: str = ""
    ) -> Awaitable[Settled]:
        """Take a message."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What a batch or a part is answered."""

    frames: list[bytes]
    code: str = "AA"  # the worst of them
    codec: str = "utf-8"
    state: str = ""
    later: Awaitable[Answered] | None = None


class Reception:
    """Takes what comes in by any way.

    Args:
        core: The door.
        inbox: Takes single messages.
        max_message: Bytes of a message that is put together.
    """

    def __init__(self, core: Core, inbox: Receiving, *, max_message: int) -> None:
        self._core, self._inbox, self._max_message = core, inbox, max_message
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.counts: Counter[str] = Counter()

    def take(self, channel: Channel, raw: bytes, fault: Fault | None = None) -> Awaitable[Settled]:
        """Take a message, a batch or a part of a message; what depends on the order happens in the call itself."""
        if fault is not None:
            return self._inbox.receive(channel, raw, cut=fault)
        if batch.is_batch(raw):
            return self._batch(channel, raw)
        if continuation.concerns(raw) and (part := continuation.read(channel, raw)) is not None:
            return self._in_turn(part, raw)
        if channel.sequence and (to := _opens_link(raw)) is not None:
            return self._open_link(channel, to)
        return self._inbox.receive(channel, raw)

    # batches

    def _batch(self, channel: Channel, raw: bytes) -> Awaitable[Settled]:
        self.counts["batches"] += 1
        try:
            found = batch.split(raw)
        except Refused as refused:
            return self._inbox.receive(channel, raw, cut=refused.fault)
        parent = found.sender.control_id or f"sha256:{hashlib.sha256(raw).hexdigest()}"
        taken = [asyncio.ensure_future(self._inbox.receive(channel, one, parent=parent)) for one in found.messages]
        return asyncio.ensure_future(self._answer_batch(channel, found, taken, raw))

    async def _answer_batch(
        self, channel: Channel, found: batch.Batch, taken: Sequence[asyncio.Future[Settled]], raw: bytes
    ) -> Reply:
        found_all = await asyncio.gather(*taken, return_exceptions=True)
        if failed := [one for one in found_all if isinstance(one, BaseException)]:
            raise failed[0]  # the connection ends without an answer; all is sent again
        answers = [one for one in found_all if not isinstance(one, BaseException)]
        codes = {answer.code for answer in answers}
        code = next((code for code in ("AR", "AE") if code in codes), "AA")
        codec = answers[0].codec if answers else "utf-8"
        laters = [later for answer in answers if (later := getattr(answer, "later", None)) is not None]
        frames = [frame for answer in answers for frame in answer.frames]
        if channel.batch == "batch" or not answers:
            each = [[frame.decode(codec) for frame in answer.frames] for answer in answers]
            frames = [self._joined(found, each, codec, raw)]
        is_kept = all(answer.state or answer.code != "AR" for answer in answers)
        later = _all(laters, codec) if laters else None
        return Reply(frames, code, codec, state="kept" if is_kept else "", later=later)

    def _joined(self, found: batch.Batch, answers: Sequence[Sequence[str]], codec: str, raw: bytes) -> bytes:
        """Return the answers as one batch; to an empty one as one acknowledgement."""
        own_id, at = hashlib.sha256(raw).hexdigest()[:20].upper(), stamp(self._core.now())
        if not found.messages:
            return ack.write(found.sender, "AA", at=at, own_id=own_id).encode()
        return batch.join(answers, found, at=at, own_id=own_id).encode(codec)

    # the sequence number protocol: opening a link

    async def _open_link(self, channel: Channel, to: ack.Sender) -> Reply:
        """Answer a message that does nothing but begin a link's numbers."""

        async def work(writing: Writing) -> None:
            await sequence.begin(writing, channel, to)

        try:
            await self._core.transact(channel.tenant, work)
        except FhirError:
            return self._reply(to, "AR", fault=STORE_DOWN)
        return self._reply(to, "AA", expected=sequence.FIRST)

    def _reply(
        self,
        to: ack.Sender,
        code: str,
        *,
        codec: str = "utf-8",
        fault: Fault | None = None,
        expected: int | None = None,
    ) -> Reply:
        at, made = stamp(self._core.now()), f"{to.application}|{to.facility}|{to.control_id}|{to.trigger}"
        texts = [
            ack.write(
                to,
                each,
                at=at,
                own_id=hashlib.sha256(f"{made}|{each}".encode()).hexdigest()[:20].upper(),
                fault=fault,
                expected=expected,
            )
            for each in ack.due(to, code, kept=code == "AA")
        ]
        frames = [text.encode(codec, "replace") for text in texts]
        return Reply(frames, code, codec, state=continuation.WAITING if code == "AA" else "")

    # continued messages

    async def _in_turn(self, part: continuation.Part, raw: bytes) -> Settled:
        """Take the parts of one sender one after the other."""
        name = part.key("")
        turn = self._turns.get(name)
        if turn is None:
            turn = self._turns[name] = asyncio.Lock()
        async with turn:
            self.counts["parts"] += 1
            try:
                return await self._part(part, raw)
            except Refused as refused:
                return await self._inbox.receive(part.channel, raw, cut=refused.fault)
            except FhirError:
                return self._reply(part.sender, "AR", codec=part.codec, fault=STORE_DOWN)

    async def _part(self, part: continuation.Part, raw: bytes) -> Settled:
        lines, written = part.lines, 0
        if part.continues:
            before = await self._stored(part.channel.tenant, part.key(part.continues))
            if before is None:
                raise Refused(continuation.UNKNOWN)
            body = gate.load(before.body)
            lines, written = continuation.join(continuation.lines_in(body), part), body.get("written", 0)
        size = sum(map(len, lines))
        written += size
        if size > self._max_message:
            raise Refused(continuation.TOO_LONG)
        if written > self._max_message * continuation.COST:
            raise Refused(continuation.TOO_MANY)
        if part.pointer:
            if not await self._make_room(part, lines):
                return self._reply(part.sender, "AR", codec=part.codec, fault=STORE_DOWN)
            await self._keep(part, lines, written)
            return self._reply(part.sender, "AA", codec=part.codec)
        whole = continuation.write(lines, part.codec)
        answer = await self._inbox.receive(part.channel, whole, parent=part.continues)
        await self._mark_joined(part)
        return answer

    async def _stored(self, tenant: str, key: str) -> Record | None:
        async def find(asking: Asking) -> Record | None:
            return await asking.record(continuation.KIND, key)

        found: Record | None = await self._core.ask(tenant, find)
        return found

    async def _make_room(self, part: continuation.Part, lines: tuple[str, ...]) -> bool:
        """Abandon another text that waits under the same pointer; False where it cannot be kept: then it stays."""
        before = await self._stored(part.channel.tenant, part.key(part.pointer))
        if before is None or before.state != continuation.WAITING:
            return True
        body = gate.load(before.body)
        if body["sha256"] == continuation.body_of(part, lines, 0)["sha256"]:
            return True
        return await self._abandon(part.channel, body)

    async def _keep(self, part: continuation.Part, lines: tuple[str, ...], written: int) -> None:
        """Keep the text so far."""

        async def work(writing: Writing) -> None:
            body = continuation.body_of(part, lines, writing.now, written=written)
            await writing.put_record(continuation.KIND, part.key(part.pointer), continuation.WAITING, gate.write(body))
            if part.continues:
                await _put_state(writing, part.key(part.continues), continuation.JOINED)

        await self._core.transact(part.channel.tenant, work)

    async def _mark_joined(self, part: continuation.Part) -> None:
        """Keep what was put together a while: the last part may come again."""

        async def work(writing: Writing) -> None:
            await _put_state(writing, part.key(part.continues), continuation.JOINED)

        await self._core.transact(part.channel.tenant, work)

    async def _abandon(self, channel: Channel, body: dict[str, Any]) -> bool:
        """Put a text whose rest did not come into quarantine; whether it is kept there."""
        try:
            answer = await self._inbox.receive(channel, continuation.raw_of(body), cut=continuation.ABANDONED)
        except HangUp:
            return False
        return answer.state != ""

    async def sweep(self, channel_of: Any, tenant: str) -> int:
        """Put parts whose rest did not come in time into quarantine, and forget those that are done; return how many.

        What quarantine does not take now, and what was put in the place of an old part meanwhile, stays.

        Args:
            channel_of: Gives the channel of a name.
            tenant: Whose parts.
        """
        border = self._core.now() - continuation.KEPT_S * 1_000_000

        async def find(asking: Asking) -> list[Record]:
            return await asking.records(continuation.KIND, limit=1000)

        rows: list[Record] = await self._core.ask(tenant, find)
        dropped = 0
        for row in rows:
            body = gate.load(row.body)
            if body["at"] >= border:
                continue
            if row.state == continuation.WAITING and not await self._abandon(channel_of(body["channel"]), body):
                continue
            dropped += await self._drop(tenant, row)
        return dropped

    async def _drop(self, tenant: str, row: Record) -> bool:
        """Forget a part, unless another one is in its place."""

        async def work(writing: Writing) -> bool:
            now = await writing.record(continuation.KIND, row.key)
            if now is None or now.body != row.body:
                return False
            await writing.drop_record(continuation.KIND, row.key)
            return True

        is_dropped: bool = await self._core.transact(tenant, work)
        return is_dropped


async def _put_state(writing: Writing, key: str, state: str) -> None:
    before = await writing.record(continuation.KIND, key)
    if before is not None and before.state != state:
        await writing.put_record(continuation.KIND, key, state, before.body)


def _opens_link(raw: bytes) -> ack.Sender | None:
    """Return whom to answer where a message is a header with MSH-13 0 and nothing else; else None."""
    line = raw.strip(b"\r\n\x00 ")
    if b"\r" in line or b"\n" in line or line[:3] != b"MSH":
        return None
    cells = line.split(line[3:4])
    return ack.sender_of(line) if len(cells) > 12 and cells[12].strip() == b"0" else None


async def _gathered(laters: Sequence[Awaitable[Answered]], codec: str) -> Reply:
    return Reply([frame for later in laters for frame in (await later).frames], codec=codec)


def _all(laters: Sequence[Awaitable[Answered]], codec: str) -> Awaitable[Answered]:
    """Return what answers once all do."""
    return asyncio.ensure_future(_gathered(laters, codec))


def holds(record: Record, erasure: Erasure) -> bool:
    """Whether a part names by an identifier what is erased (`interface.Eraser`)."""
    return names(gate.load(record.body)["text"], erasure.identifiers)
