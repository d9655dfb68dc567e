"""The sequence number protocol: MSH-13 says which message of a link this is, MSA-4 which one comes next.

Off unless a channel says `sequence = true`. What is expected next is stored with the message that was taken, in
the same transaction. A number that was passed is not taken again; one that is ahead is refused and not kept: the
sender goes back to the one that is expected. 0 begins anew; -1 asks which number is expected.
Source: HL7 v2.5.1 chapter 2, section 2.10.1 (sequence number protocol). That a link without a stored number
begins with the first one it sends, and that -1 leaves the stored number as it is, are ours.
"""

from __future__ import annotations

from adapters.hl7.ack import Sender
from adapters.hl7.channels import Channel
from adapters.hl7.faults import Fault, Place
from adapters.hl7.header import Header
from adapters.hl7.intake import Verdict
from fhir_server import gate
from fhir_server.interface import Writing

KIND = "hl7-sequence"
"""Kind of the records that hold what a link expects next: numbers only."""

FIRST = 1
_PLACE = Place("MSH", 1, 13)
NO_NUMBER = Fault("102", _PLACE, "The sequence number is no whole number.")
PASSED = Fault("205", _PLACE, "Another message had this sequence number.")
AHEAD = Fault("207", _PLACE, "Messages before this one are missing.")


def link(channel: Channel, to: Sender) -> str:
    """Name a link: channel, application, facility."""
    return "|".join(part.replace("|", "%7C") for part in (channel.name, to.application, to.facility))


async def begin(writing: Writing, channel: Channel, to: Sender) -> None:
    """Begin a link's numbers anew."""
    await writing.put_record(KIND, link(channel, to), "open", gate.write({"expected": FIRST}))


def number(text: str) -> int | None:
    """Read MSH-13; None for what is no number from -1 on."""
    plain = text.strip()
    if plain == "-1":
        return -1
    return int(plain) if plain.isdecimal() and plain.isascii() and len(plain) <= 15 else None


def decide(found: int | None, expected: int | None) -> tuple[Verdict, int | None]:
    """Return what becomes of a message, and what is expected after it.

    Args:
        found: MSH-13; None where it is no number.
        expected: What is stored; None where nothing is.
    """
    if found is None:
        return Verdict(NO_NUMBER, expected), expected
    if found == -1:
        return Verdict(expected=expected or FIRST), expected
    if found == 0:
        return Verdict(expected=FIRST), FIRST
    if expected is None or found == expected:
        return Verdict(expected=found + 1), found + 1
    if found < expected:
        return Verdict(PASSED, expected), expected
    return Verdict(AHEAD, expected, is_kept=False), expected


async def check(writing: Writing, header: Header) -> Verdict | None:
    """Decide about a new message by its sequence number (`intake.Hook`); None where it has none to follow."""
    if not header.channel.sequence or not header.sequence or header.is_cut:
        return None
    name = link(header.channel, header.sender)
    stored = await writing.record(KIND, name)
    expected: int | None = gate.load(stored.body)["expected"] if stored else None
    verdict, following = decide(number(header.sequence), expected)
    if following is not None and following != expected:
        await writing.put_record(KIND, name, "open", gate.write({"expected": following}))
    return verdict
