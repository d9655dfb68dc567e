"""A sender's profile, learned from samples: what its messages hold, and what of a new one is out of the ordinary.

A profile is JSON: for each type of message its segments, for each segment its fields; how often each is there
(`usage`: R always, RE in at least half, O in fewer), how often it repeats, how long it gets, and for coded
fields which codes came. It holds no value but codes: of fields whose data type is a code in HL7's tables, never of
OBX-5. Usages are ours, after HL7 v2.5.1 chapter 2.B (conformance profiles); what counts as drift is ours too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from adapters.hl7 import charset, grammar, tokens
from adapters.hl7.faults import Problem, Refused
from adapters.hl7.tokens import Message, Segment

Json: TypeAlias = dict[str, Any]

CODED: Final = frozenset({"ID", "IS", "CE", "CWE", "CNE", "CF"})
MOST_CODES: Final = 100  # of one field; with more of them it is open: any code is usual
LONGEST_CODE: Final = 32
MOST_PROBLEMS: Final = 50  # of one message
FEW: Final = 5  # samples of a type below which nothing is said to be always there
LONGER: Final = 2  # times the longest that was learned: what is longer than that is noted
SLACK: Final = 20  # characters that a short field may grow all the same

_UNNAMED = frozenset({("MSH", 7), ("MSH", 10), ("OBX", 5)})
"""Fields that differ in every message, or hold anything."""


@dataclass(slots=True)
class _Field:
    present: int = 0  # segments in which it was valued
    repeats: int = 0
    length: int = 0
    codes: set[str] | None = None  # None: not coded, or open

    def see(self, segment: Segment, number: int) -> None:
        self.present += 1
        raw = segment.raw(number)
        self.repeats = max(self.repeats, raw.count(segment.syntax.delimiters.repetition) + 1)
        self.length = max(self.length, len(raw))

    def to_json(self, of: int) -> Json:
        made: Json = {"usage": _usage(self.present, of), "repeats": self.repeats, "length": self.length}
        return made if self.codes is None else {**made, "codes": sorted(self.codes)}


@dataclass(slots=True)
class _Part:
    messages: int = 0  # in which the segment stood
    count: int = 0  # how often it stood in all of them
    most: int = 0
    least: int = 0
    fields: dict[int, _Field] = field(default_factory=dict)


@dataclass(slots=True)
class _Type:
    messages: int = 0
    parts: dict[str, _Part] = field(default_factory=dict)


def _usage(present: int, of: int) -> str:
    return "R" if present == of else "RE" if 2 * present >= of else "O"


def coded_fields(segment: str, version: str) -> frozenset[int]:
    """Return the fields of a segment whose values are codes."""
    elements = grammar.elements(segment, version)
    return frozenset(n for n, e in enumerate(elements, 1) if e.type in CODED and (segment, n) not in _UNNAMED)


def read(raw: bytes, *, default: str = "cp1252") -> Message:
    """Read a sample; raise Refused where it is no message."""
    decoded = charset.decode(raw, default=default)
    return tokens.tokenize(decoded.text, decoded.codec)


def sender_of(message: Message) -> str:
    """Return the sender as profiles name it: `MSH-3.1|MSH-4.1`."""
    return f"{message.header.text(3)}|{message.header.text(4)}"


def type_of(message: Message) -> str:
    """Return MSH-9.1 and MSH-9.2, e.g. `ADT^A01`."""
    header = message.header
    return "^".join(text for text in (header.text(9, 1), header.text(9, 2)) if text)


class Learner:
    """Takes samples of one sender, one after the other; its size does not grow with their number."""

    def __init__(self) -> None:
        self.messages = 0
        self._versions: set[str] = set()
        self._charsets: set[str] = set()
        self._types: dict[str, _Type] = {}

    def see(self, message: Message) -> None:
        """Learn from a message."""
        header = message.header
        self.messages += 1
        self._versions.add(header.text(12))
        self._charsets.add(header.text(18))
        type = self._types.setdefault(type_of(message), _Type())
        type.messages += 1
        for name, segments in _by_name(message.segments).items():
            part = type.parts.setdefault(name, _Part())
            part.least = len(segments) if not part.messages else min(part.least, len(segments))
            part.messages += 1
            part.count += len(segments)
            part.most = max(part.most, len(segments))
            coded = coded_fields(name, header.text(12))
            for segment in segments:
                _see_fields(part, segment, coded)

    def profile(self, sender: str, *, learned: str) -> Json:
        """Return what was learned.

        Args:
            sender: Whose profile it is.
            learned: When, ISO 8601.
        """
        types = {name: _type_json(type) for name, type in sorted(self._types.items())}
        return {
            "sender": sender,
            "learned": learned,
            "messages": self.messages,
            "versions": sorted(self._versions),
            "charsets": sorted(self._charsets),
            "types": types,
        }


def _by_name(segments: Iterable[Segment]) -> dict[str, list[Segment]]:
    made: dict[str, list[Segment]] = {}
    for segment in segments:
        made.setdefault(segment.name, []).append(segment)
    return made


def _see_fields(part: _Part, segment: Segment, coded: frozenset[int]) -> None:
    for number, raw in enumerate(segment.fields):
        if not number or not raw:
            continue
        seen = part.fields.get(number)
        if seen is None:
            seen = part.fields[number] = _Field(codes=set() if number in coded else None)
        seen.see(segment, number)
        if seen.codes is not None:
            seen.codes |= _codes(segment, number)
            if len(seen.codes) > MOST_CODES:
                seen.codes = None


def _codes(segment: Segment, number: int) -> set[str]:
    """Return the codes of a field; a text in its place is no code."""
    codes = {parts[0][0].strip() for parts in segment.repetitions(number)}
    return {code for code in codes if 0 < len(code) <= LONGEST_CODE and " " not in code}


def _type_json(type: _Type) -> Json:
    return {
        "messages": type.messages,
        "segments": {
            name: {
                "usage": _usage(part.messages, type.messages),
                "least": part.least if part.messages == type.messages else 0,
                "most": part.most,
                "local": name.startswith("Z"),
                "fields": {str(n): one.to_json(part.count) for n, one in sorted(part.fields.items())},
            }
            for name, part in type.parts.items()
        },
    }


def drift(profile: Mapping[str, Any], message: Message) -> list[Problem]:
    """Return what of a message its sender's profile does not know.

    Args:
        profile: As `Learner.profile` gives it.
        message: A message of that sender.
    """
    found: list[Problem] = []
    for problem in _drift(profile, message):
        found.append(problem)
        if len(found) == MOST_PROBLEMS:
            break
    return found


def _drift(profile: Mapping[str, Any], message: Message) -> Iterator[Problem]:
    header = message.header
    for number, rule, known in ((12, "profile-version-new", "versions"), (18, "profile-charset-new", "charsets")):
        if header.text(number) not in profile[known]:
            yield Problem(header.place(number).path, rule, header.text(number)[:LONGEST_CODE])
    type = profile["types"].get(type_of(message))
    if type is None:
        yield Problem(header.place(9).path, "profile-type-new", type_of(message)[:LONGEST_CODE])
        return
    is_sure = type["messages"] >= FEW
    by_name = _by_name(message.segments)
    for name, segments in by_name.items():
        if known_part := type["segments"].get(name):
            yield from _drift_of(known_part, segments, header.text(12), is_sure=is_sure)
        else:
            yield Problem(segments[0].place().path, "profile-segment-new", name[:LONGEST_CODE])
    for name, part in type["segments"].items():
        if is_sure and part["usage"] == "R" and name not in by_name:
            yield Problem(f"{name}[1]", "profile-segment-missing", name)


def _drift_of(
    part: Mapping[str, Any], segments: Sequence[Segment], version: str, *, is_sure: bool
) -> Iterator[Problem]:
    name = segments[0].name
    if len(segments) > (1 if part["most"] == 1 else LONGER * part["most"]):
        yield Problem(segments[-1].place().path, "profile-segment-more", name)
    coded = coded_fields(name, version)
    fields = part["fields"]
    reported: set[tuple[int, str, str]] = set()
    for segment in segments:
        for number, rule, code in _fields(fields, segment, coded, is_sure=is_sure):
            if (number, rule, code) not in reported:
                reported.add((number, rule, code))
                yield Problem(segment.place(number).path, rule, code)


def _fields(
    known: Mapping[str, Any], segment: Segment, coded: frozenset[int], *, is_sure: bool
) -> Iterator[tuple[int, str, str]]:
    for number, raw in enumerate(segment.fields):
        if not number or not raw:
            continue
        usual = known.get(str(number))
        if usual is None:
            yield number, "profile-field-new", ""
            continue
        if raw.count(segment.syntax.delimiters.repetition) + 1 > usual["repeats"] == 1:
            yield number, "profile-repetition-new", ""
        if (segment.name, number) not in _UNNAMED and len(raw) > max(LONGER * usual["length"], usual["length"] + SLACK):
            yield number, "profile-field-longer", ""
        if number in coded and "codes" in usual:
            for code in sorted(_codes(segment, number) - set(usual["codes"])):
                yield number, "profile-code-new", code
    if is_sure:
        for number in (int(n) for n, one in known.items() if one["usage"] == "R"):
            if not segment.raw(number):
                yield number, "profile-field-missing", ""


def problems_of(profile: Mapping[str, Any], raw: bytes) -> list[Problem]:
    """Return what of some bytes a profile does not know; what is no message is one problem."""
    try:
        return drift(profile, read(raw))
    except Refused as refused:
        return [Problem(refused.fault.place.path, f"fault-{refused.fault.code}")]
