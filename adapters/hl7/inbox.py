"""The durable inbox: a message is stored as it came, answered, then applied.

`Intake` stores and answers, `Backlog` keeps what waits, `Worker` applies; here they are put together. What a
process that ended left behind, this one or another on the same store, is found again and applied.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from adapters.hl7 import charset, replay
from adapters.hl7.acquaintance import Acquaintances
from adapters.hl7.answer import Answer as Answer
from adapters.hl7.arrival import read
from adapters.hl7.backlog import Backlog, Waiting
from adapters.hl7.channels import Channel
from adapters.hl7.faults import Fault, Refused
from adapters.hl7.header import Header, Headers, label_of
from adapters.hl7.hold import held
from adapters.hl7.intake import Hook, Intake, Letter
from adapters.hl7.record import KIND as KIND
from adapters.hl7.record import QUARANTINED, RECEIVED
from adapters.hl7.record import holds as holds
from adapters.hl7.record import raw_of as raw_of
from adapters.hl7.stream import Stream
from adapters.hl7.urgency import Glance, Urgency
from adapters.hl7.worker import Worker, where
from fhir_server import gate
from fhir_server.errors import Unavailable
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Record

TENANT: Final = "hl7-tenant"
"""Kind of the records, of the hub's own tenant, that name the other tenants that messages came for."""

PAGE: Final = 500  # records that are read at once
FOUND_EACH_S: Final = 5.0  # how often messages of others are looked for
ABANDONED_S: Final = 15.0  # age at which another hub's message counts as left behind
MOST_FOUND: Final = 1_000  # of those that are taken over at once; none while as many wait here

log = logging.getLogger("predmp.hl7")


def _usual_channel(tenant: str, name: str) -> Channel:
    return Channel(name, tenant, ZoneInfo("UTC"), {})


class Inbox:
    """Takes messages.

    Args:
        core: The door.
        channels: (tenant, name) -> the channel of a message that is found in the store.
        most: Waiting messages at which no more are taken in.
        retry_s: Age at which a message that fails for a passing reason is put in quarantine.
        is_low: Whether the disk has no room for more messages.
        known: Remembers Patients; None where nobody tells it which are written.
        prepare: Awaited for a tenant before its messages are read.
    """

    def __init__(
        self,
        core: Core,
        *,
        channels: Callable[[str, str], Channel] = _usual_channel,
        most: int = 50_000,
        retry_s: float = 86_400.0,
        is_low: Callable[[], bool] = lambda: False,
        known: Acquaintances | None = None,
        prepare: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._core, self._channels, self._prepare = core, channels, prepare
        self._headers = Headers()
        self._home = core.tenants()[0]
        self._tenants = {self._home}
        self._found: dict[tuple[str, str, str], tuple[Channel, Channel]] = {}  # channels of messages found in the store
        self._urgency = Urgency(lambda: core.calm)
        self._intake = Intake(core, self._stored, self._room, is_low, self._glance, lambda: self._backlog.is_full)
        self._backlog = Backlog(most, lambda: self._intake.has_urgent)
        self._worker = Worker(core, self._backlog, stream=Stream(self._intake), retry_s=retry_s, known=known)

    # --- messages in ---------------------------------------------------------------------------------------

    def receive(
        self, channel: Channel, raw: bytes, *, cut: Fault | None = None, parent: str = ""
    ) -> asyncio.Future[Answer]:
        """Take a message; messages about one patient are applied in the order of these calls.

        Args:
            channel: The way it came.
            raw: Its bytes, without framing.
            cut: What is wrong with its frame.
            parent: Names the batch that it is a part of.

        Returns:
            What becomes its answer: once it is stored, or checked, or applied, as its channel says.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        header = self._headers.read(channel, raw, cut=cut)
        if header.is_answer:
            future.set_result(Answer("", ""))
            return future
        fault = header.fault
        if not raw:
            texts = header.answers("AR", kept=False, now=self._core.now(), faults=(fault,) if fault else ())
            future.set_result(Answer("AR", "", texts, header.codec))
            return future
        if fault is None and channel.ack_when == "validated":
            fault = _content_fault(header)
        code = fault.answer if fault is not None else "" if channel.ack_when == "applied" else "AA"
        letter = Letter(header, code, (fault,) if fault else (), {"parent": parent} if parent else {}, future)
        if not code and header.sender.is_enhanced:
            letter.later = asyncio.get_running_loop().create_future()
        self._intake.take(letter)
        if self._backlog.is_full and self._intake.has_urgent:
            self._backlog.hurry()
        return future

    def _glance(self, letter: Letter) -> Glance:
        header = letter.header
        return self._look(header.channel, header.raw, header.text, header.name, header.codec)

    def _look(self, channel: Channel, raw: bytes, text: str | None, name: str, codec: str) -> Glance:
        """Look at a message that was not read yet."""
        try:
            return self._urgency.look(channel, text or charset.decode(raw, default=channel.charset).text, name, codec)
        except Refused:
            return Glance()
        except Exception as error:  # a supervisor: a look that breaks is a fault of ours, and only about the order
            log.error("message %s not looked at: %s at %s", label_of(name), type(error).__name__, where(error))
            return Glance()

    def use_hook(self, hook: Hook) -> None:
        """Have something asked about each new message, in the transaction that stores it (`intake.Verdict`)."""
        self._intake.hook = hook

    def _stored(self, letter: Letter) -> None:
        """Let a message that is durable wait for its turn."""
        header = letter.header
        futures = () if letter.code else (letter.later or letter.future,)
        one = Waiting(header.key, header.channel, header.raw, letter.at, futures)
        self._await_turn(one, letter.glance, header.form.known)
        self._worker.wake()

    def _await_turn(self, one: Waiting, glance: Glance, sender: str) -> None:
        one.whose, one.is_urgent, one.sender = glance.whose, bool(glance.urgent), sender
        self._backlog.add(one)

    def _room(self, tenant: str) -> Awaitable[None] | None:
        if tenant not in self._tenants:
            return self._note_tenant(tenant)
        return self._backlog.room()

    async def _note_tenant(self, tenant: str) -> None:
        """Keep that a tenant has messages, before its first one: so that the next process finds them."""

        async def work(writing: Writing) -> None:
            await writing.put_record(TENANT, tenant, "", b"")

        await self._core.transact(self._home, work)
        self._tenants.add(tenant)

    # --- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Find what was acknowledged and not applied before this process began, in its order."""

        async def others(asking: Asking) -> list[Record]:
            return await asking.records(TENANT, limit=10_000)

        self._tenants |= {record.key for record in await self._core.ask(self._home, others)}
        for tenant in sorted(self._tenants):
            if self._prepare is not None:
                await self._prepare(tenant)
            await self._read_holds(tenant)
            await self._find(tenant, before=self._core.now())
        self._worker.wake()

    async def watch(self) -> None:
        """Find, for ever, what other processes on the same store left behind, and what is held back no more."""
        while True:
            await asyncio.sleep(FOUND_EACH_S)
            for tenant in sorted(self._tenants):
                try:
                    if len(self._worker.lanes):
                        await self._read_holds(tenant)
                    if len(self._backlog) < MOST_FOUND:
                        await self._find(tenant, self._core.now() - int(ABANDONED_S * 1_000_000), MOST_FOUND)
                except Unavailable:
                    log.warning("messages of other processes cannot be looked for: the store does not answer")
            self._worker.wake()

    async def _find(self, tenant: str, before: int, most: int = 1 << 62) -> None:
        """Let messages wait that were received and not applied."""
        after = 0

        async def work(asking: Asking) -> list[Record]:
            return await asking.records(KIND, state=RECEIVED, after=after, limit=PAGE)

        while most > 0 and (page := await self._core.ask(tenant, work)):
            for record in page:
                if record.at <= before and not self._backlog.holds(tenant, record.key):
                    self._add_found(tenant, record)
                    most -= 1
            after = page[-1].seq

    def _add_found(self, tenant: str, record: Record) -> None:
        body = gate.load(record.body)
        channel = self._read_as(self._channels(tenant, body["channel"]), tenant, body["charset"])
        at = int(datetime.fromisoformat(body["received"]).timestamp() * 1_000_000)
        raw = raw_of(body)
        glance = self._look(channel, raw, body.get("raw"), body["type"], body["charset"])
        sender = "|".join([*record.key.split("|")[:3], ""])  # as `Header.form` names it
        self._await_turn(Waiting(record.key, channel, b"", at), glance, sender)

    def _read_as(self, channel: Channel, tenant: str, charset: str) -> Channel:
        """Return the channel of a message as it was read when it came, whatever its sender did not say.

        Messages that were read alike have one channel, so that what it remembers serves all of them.
        """
        place = (tenant, channel.name, charset)
        known = self._found.get(place)
        if known is None or known[0] is not channel:
            known = self._found[place] = (channel, replace(channel, tenant=tenant, charset=charset))
        return known[1]

    async def _read_holds(self, tenant: str) -> None:
        lanes = self._worker.lanes
        found: dict[str, str] = await self._core.ask(tenant, held)
        others = {lane: key for lane, key in lanes.held.items() if not lane.startswith(f"{tenant}|")}
        lanes.hold(others | found)

    async def let_in(self) -> None:
        """Take all that came however much waits: the hub ends, and the next process applies it."""
        self._backlog.open()

    async def stop(self) -> None:
        """Answer what came, end what is under way; the rest is applied by the next process."""
        await self.let_in()
        await self._intake.stop()
        await self._worker.stop()

    async def drained(self) -> None:
        """Return once all that was taken is applied, put off or held back."""
        while len(self._intake) or self._backlog.is_ready or self._backlog.is_behind:
            await asyncio.sleep(0.001)

    # --- what others ask -----------------------------------------------------------------------------------

    def settled(self, within_s: float = 5.0) -> Awaitable[None] | None:
        """Return what a reader awaits to see what was acknowledged; None where it need not wait.

        Args:
            within_s: It waits at most that long, and not at all where that would not do.
        """
        return self._backlog.settled(within_s)

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """Messages that are settled, by answer and state, since this process began."""
        return self._worker.counts + self._intake.refused

    def metrics(self) -> dict[str, float]:
        """Return what is counted, by name."""
        made = {
            f'predmp_hl7_messages_total{{answer="{code}",state="{state}"}}': float(count)
            for (code, state), count in sorted(self.counts.items())
        }
        made |= {
            f'predmp_hl7_received_total{{answer="{code}"}}': float(count)
            for code, count in sorted(self._intake.counts.items())
        }
        since = self._backlog.since()
        age = 0.0 if since is None else max(self._core.now() - since, 0) / 1_000_000
        return {
            **made,
            "predmp_hl7_waiting": float(len(self._backlog)),
            "predmp_hl7_oldest_waiting_seconds": age,
            "predmp_hl7_held_back": float(len(self._worker.lanes)),
            "predmp_hl7_seconds_a_message": self._backlog.cost,
        }

    async def replay(self, channel: Channel, key: str) -> Answer:
        """Apply a stored message again, with today's maps; raise NotFound for an unknown key."""
        report = await replay.apply(self._core, key, channels=lambda _: channel, tenant=channel.tenant)
        return Answer("AA" if report.state != QUARANTINED else "AE", report.state)


def _content_fault(header: Header) -> Fault | None:
    """Return what is wrong with a message's content."""
    try:
        return read(header.channel, header.raw).fault
    except Exception as error:  # a supervisor: a map that breaks is a fault of ours; the message is kept
        log.error("message %s not checked: %s at %s", header.label, type(error).__name__, where(error))
        return None
