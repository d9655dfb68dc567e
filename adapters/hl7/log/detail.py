"""One message, taken apart for the eye: lines with their marks, a tree with the standard's names, its resources."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from adapters.hl7 import charset, grammar, tokens
from adapters.hl7.apply import stay
from adapters.hl7.arrival import read
from adapters.hl7.channels import Channel
from adapters.hl7.faults import Refused
from adapters.hl7.grammar import Element
from adapters.hl7.merge import replace
from adapters.hl7.planned import Plan
from adapters.hl7.tokens import Message, Segment
from fhir_server.model import Resource

MOST_SEGMENTS: Final = 2_000  # that a page shows
LONGEST: Final = 4_000  # characters of one field that a page shows; attachments are longer

BAD, NOTED, UNUSED = "bad", "noted", "unused"
"""Marks: the fault, a problem, a field that no map used; the first that applies is shown."""

_PATH = re.compile(r"(\w+)\[(\d+)\](?:-(\d+))?(?:\.(\d+))?")


class Piece(NamedTuple):
    """A field as it stands in its line."""

    text: str
    path: str  # e.g. "PID[1]-3"
    mark: str
    name: str  # e.g. "Patient identifier list"


class Line(NamedTuple):
    """A segment."""

    name: str
    path: str  # e.g. "PID[1]"
    mark: str
    pieces: tuple[Piece, ...]
    delimiter: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """A valued field, component or subcomponent of the tree."""

    path: str  # e.g. "PID-3.1"
    name: str
    text: str  # "" where it has parts
    mark: str = ""
    note: str = ""  # rules of the problems that stand here
    parts: tuple[Leaf, ...] = ()


@dataclass(frozen=True, slots=True)
class Branch:
    """A segment of the tree."""

    name: str
    path: str
    mark: str
    leaves: tuple[Leaf, ...]


@dataclass(slots=True)
class Marks:
    """What stands where: the fault, the problems, what no map used."""

    fault: str = ""  # its path
    problems: dict[str, list[str]] = field(default_factory=dict)  # path -> rules
    unused: frozenset[str] = frozenset()  # "ZZZ", "PID-12"

    def of_segment(self, segment: Segment) -> str:
        """Return the mark of a whole segment."""
        path = segment.place().path
        if self.fault == path:
            return BAD
        return UNUSED if segment.name in self.unused else NOTED if path in self.problems else ""

    def of(self, segment: Segment, number: int, component: int = 0) -> str:
        """Return the mark of a field, or of one of its components."""
        path = segment.place(number).path
        if component:
            exact = f"{path}.{component}"
            return BAD if self.fault == exact else NOTED if exact in self.problems else ""
        if self.fault == path or self.fault.startswith(path + "."):
            return BAD
        if any(known == path or known.startswith(path + ".") for known in self.problems):
            return NOTED
        return UNUSED if f"{segment.name}-{number}" in self.unused else ""


def marks_of(body: Mapping[str, Any]) -> Marks:
    """Return what is to be marked of a stored message."""
    problems: dict[str, list[str]] = {}
    for issue in body.get("issues", ()):
        problems.setdefault(issue["path"], []).append(issue["rule"])
    return Marks(body.get("error", {}).get("path", ""), problems, frozenset(body.get("unused", ())))


def message_of(raw: bytes, default: str = "cp1252") -> Message | None:
    """Take a message apart; None where it is none."""
    try:
        decoded = charset.decode(raw, default=default)
        return tokens.tokenize(decoded.text, decoded.codec)
    except Refused:
        return None


def text_of(raw: bytes, codec: str) -> tuple[str, str]:
    """Return a message as text, no byte of it lost, and the codec: its own, or one that it may be in after all."""
    for each in (codec, "utf-8", "cp1252"):
        try:
            return raw.decode(each).removeprefix("\ufeff"), each
        except UnicodeError:
            continue
    return raw.decode("latin-1"), "latin-1"


def shown_of(raw: bytes, default: str = "cp1252") -> Message | None:
    """Take a message apart to be looked at, also where its bytes contradict its MSH-18; None where it is none."""
    if (found := message_of(raw, default)) is not None:
        return found
    try:
        return tokens.tokenize(*text_of(raw, default))
    except Refused:
        return None


def bytes_of(text: str) -> bytes:
    """Return the bytes of a message, in the character set that its MSH-18 declares.

    What declares none, or ASCII, is in UTF-8: as which it is read (`charset.py`). 8859/1 and 8859/15 hold
    what Windows has besides.

    Raises:
        UnicodeEncodeError: A character is not in the set.
    """
    codec = charset.codec_of(charset.declared(text.encode("utf-8"))[0]) or "utf-8"
    if codec == "ascii":
        codec = "utf-8"
    if codec in charset.WESTERN:
        try:
            return text.encode(codec)
        except UnicodeEncodeError:
            return text.encode("cp1252")
    return text.encode(codec)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)})"


def _names(message: Message, segment: Segment) -> Sequence[Element]:
    return grammar.elements(segment.name, message.header.text(12))


def lines_of(message: Message, marks: Marks) -> list[Line]:
    """Return the segments with their fields, each with its mark."""
    made = []
    for segment in message.segments[:MOST_SEGMENTS]:
        names, delimiter = _names(message, segment), segment.syntax.delimiters.field
        first = 2 if segment.name in ("MSH", "BHS", "FHS") else 1  # field 1 of a header is the delimiter itself
        pieces = tuple(
            Piece(
                _cut(segment.fields[n]),
                segment.place(n).path,
                marks.of(segment, n) if segment.fields[n] or marks.fault == segment.place(n).path else "",
                names[n - 1].name if n <= len(names) else "",
            )
            for n in range(first, _length(segment, marks))
        )
        made.append(Line(_cut(segment.fields[0]), segment.place().path, marks.of_segment(segment), pieces, delimiter))
    return made


def _length(segment: Segment, marks: Marks) -> int:
    """Return how many fields are shown; one that is missing and at fault is shown empty, up to its place."""
    found = _PATH.fullmatch(marks.fault)
    count = len(segment.fields)
    if found and found[3] and (found[1], int(found[2])) == (segment.name, segment.number):
        while len(segment.fields) <= int(found[3]) < 100:
            segment.fields.append("")
        count = len(segment.fields)
    return count


def tree_of(message: Message, marks: Marks) -> list[Branch]:
    """Return the valued fields of each segment, with the names that the standard gives them."""
    made = []
    for segment in message.segments[:MOST_SEGMENTS]:
        names = _names(message, segment)
        leaves = [
            _field(segment, n, names[n - 1] if 0 < n <= len(names) else None, marks)
            for n, raw in enumerate(segment.fields)
            if (n or segment.name == tokens.UNNAMED) and (raw or marks.fault == segment.place(n).path)
        ]
        made.append(Branch(segment.name, segment.place().path, marks.of_segment(segment), tuple(leaves)))
    return made


def _field(segment: Segment, number: int, known: Element | None, marks: Marks) -> Leaf:
    path, mark = f"{segment.name}-{number}", marks.of(segment, number)
    name = known.name if known else ""
    note = " ".join(marks.problems.get(segment.place(number).path, ()))
    raw = segment.raw(number)
    if segment.name in ("MSH", "BHS", "FHS") and number < 3:
        return Leaf(path, name, raw, mark, note)
    if len(raw) > LONGEST:
        return Leaf(path, name, _cut(raw), mark, note)
    repetitions = segment.repetitions(number)
    if len(repetitions) == 1 and len(repetitions[0]) == 1 and len(repetitions[0][0]) == 1:
        return Leaf(path, name, repetitions[0][0][0], mark, note)
    parts: list[Leaf] = []
    for at, repetition in enumerate(repetitions, 1):
        place = f"{path}[{at}]" if len(repetitions) > 1 else path
        for n, leaves in enumerate(repetition, 1):
            inner = known.parts[n - 1] if known and n <= len(known.parts) else None
            if any(leaves):
                parts.append(_component(segment, number, n, f"{place}.{n}", leaves, inner, marks))
    return Leaf(path, name, "", mark, note, tuple(parts))


def _component(
    segment: Segment, number: int, n: int, path: str, leaves: Sequence[str], known: Element | None, marks: Marks
) -> Leaf:
    name, mark = (known.name if known else ""), marks.of(segment, number, n)
    if len(leaves) == 1:
        return Leaf(path, name, leaves[0], mark)
    names = [part.name for part in known.parts] if known else []
    parts = tuple(
        Leaf(f"{path}.{at}", names[at - 1] if at <= len(names) else "", text)
        for at, text in enumerate(leaves, 1)
        if text
    )
    return Leaf(path, name, "", mark, "", parts)


def draft_of(channel: Channel, raw: bytes) -> list[Resource]:
    """Return the resources that today's maps make of a message alone, as if nothing were stored; [] where none."""
    draft = read(channel, raw).draft
    made: list[Resource] = []
    for person in draft.people if draft else ():
        made.append(replace({"resourceType": "Patient"}, person.stated))
        if person.visit and person.leads:
            made.append(stay(person.visit, {"resourceType": "Encounter"}, "Patient/…", Plan()))
        for report in person.reports:
            made += [*report.observations, *([report.report] if report.report else [])]
        made += [wanted.resource for wanted in person.wanted]
    return made
