"""One message as it came: read as far as it can be read, without waiting and without writing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.hl7 import ack, charset, tokens
from adapters.hl7.channels import Channel as Channel
from adapters.hl7.context import UNKNOWN, Context, urn_part
from adapters.hl7.convert import convert
from adapters.hl7.draft import Draft
from adapters.hl7.faults import Fault, Problem, Refused
from adapters.hl7.header import check_header, label_of, name_of
from adapters.hl7.log.profile import drift, sender_of
from adapters.hl7.times import Zone, header_offset
from adapters.hl7.tokens import Message


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message, read; either `draft` or `fault` is there."""

    channel: Channel
    raw: bytes
    sha256: str
    codec: str
    sender: ack.Sender
    name: str  # e.g. ADT^A01; "" where it cannot be told
    draft: Draft | None
    fault: Fault | None
    problems: tuple[Problem, ...]
    unused: tuple[str, ...]
    used: Mapping[str, list[int]] = field(default_factory=dict)  # segment name -> valued fields that a map reads
    unmapped: tuple[tuple[str, str, str, int], ...] = ()  # field, system, code, how often: codes that have no map
    is_cut: bool = False  # the frame had no end: it is not known by its control id, or it would hide the whole one

    @property
    def key(self) -> str:
        """What a message is known by: channel, application, facility, control id (its hash where it has none)."""
        parts = (self.channel.name, self.sender.application, self.sender.facility, self.control_id)
        known = "|".join(part.replace("|", "%7C") for part in parts)
        return f"{known}|{self.sha256}" if self.is_cut else known

    @property
    def control_id(self) -> str:
        """MSH-10, else a name made from the bytes."""
        return self.sender.control_id or f"sha256:{self.sha256}"

    @property
    def feed(self) -> str:
        """Who sent it."""
        return f"{self.sender.application}|{self.sender.facility}"

    @property
    def lanes(self) -> tuple[str, ...]:
        """The patients it is about."""
        people = self.draft.people if self.draft else ()
        return tuple(f"{self.channel.tenant}|{'|'.join(key)}" for person in people for key in person.keys)

    @property
    def label(self) -> str:
        """The name where it looks like one: what a log may show."""
        return label_of(self.name)


def _context(channel: Channel, message: Message) -> Context:
    header = message.header
    facility = urn_part(header.text(4)) or urn_part(header.text(4, 2)) or urn_part(header.text(3)) or UNKNOWN
    zone = Zone(channel.zone, header_offset(header.text(7)))
    return Context(
        channel.tenant, zone, facility, channel.authorities,
        device_final=channel.device_final, codes=channel.local.codes,
        memory=channel.memory, whose=(facility, zone.offset, message.syntax),
    )  # fmt: skip


def read(channel: Channel, raw: bytes, *, cut: Fault | None = None) -> Arrival:
    """Read a message.

    Args:
        channel: The way it came.
        raw: Its bytes, without framing.
        cut: What is wrong with the frame itself; then nothing of the message counts but its header.
    """
    digest = hashlib.sha256(raw).hexdigest()
    codec, to, name, problems = "utf-8", ack.Sender(), "", list[Problem]()
    context: Context | None = None
    draft, fault = None, cut
    unused: tuple[str, ...] = ()
    used: Mapping[str, list[int]] = {}
    try:
        decoded = charset.decode(raw, default=channel.charset)
        codec = decoded.codec
        message = tokens.tokenize(decoded.text, codec)
        problems += [*decoded.problems, *message.problems]
        header = message.header
        to, name = ack.sender(header), name_of(header)
        if cut is None:
            check_header(channel, message)
            if profile := channel.local.profiles.get(sender_of(message)):
                problems += drift(profile, message)
            context = _context(channel, message)
            draft = convert(message, context)
            used, left = context.account(message.segments)
            unused = tuple(left)
    except Refused as refused:
        fault = fault or refused.fault
        if not to.control_id:
            to = ack.sender_of(raw)
    if not channel.enhanced:
        to = to._replace(accept="", respond="")
    unmapped: tuple[tuple[str, str, str, int], ...] = ()
    if context is not None:
        problems += context.problems
        unmapped = tuple((*key, count) for key, count in context.unmapped.items())
    return Arrival(
        channel, raw, digest, codec, to, name, draft, fault, tuple(problems), unused, used, unmapped, cut is not None
    )
