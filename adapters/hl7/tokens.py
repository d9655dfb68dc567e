"""Text to segments, fields, repetitions, components and subcomponents; and back.

Nothing is dropped: each line of the text is a segment here, also one without a name. Fields are split when
they are asked for. Source: HL7 v2.5.1 chapter 2, sections 2.5-2.7.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from adapters.hl7.escapes import Delimiters, escape, is_kept_raw, unescape
from adapters.hl7.faults import Fault, Place, Problem, Refused

NULL = '""'
"""A field that says: delete what is there. An empty field says nothing."""

MOST_SEGMENTS = 50_000
"""Segments of one message: each costs some hundred bytes of memory, and a row of the log where nothing takes it."""

UNNAMED = "?"
"""Name of a line that has none, e.g. the rest of a text with a bare line end in it: names go into logs and answers."""

_USUAL = frozenset({"EVN", "MSH", "NTE", "OBR", "OBX", "ORC", "PD1", "PID", "PV1", "PV2", "SPM"})  # most of a feed
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{2}|[Zz][A-Za-z0-9]{1,5}")

TOO_MANY = Fault("207", Place("MSH"), "The message has more segments than this system takes.", reject=True)

Parts: TypeAlias = list[list[str]]
"""One repetition: components, each a list of subcomponents, decoded; there is always at least one."""


class Syntax(NamedTuple):
    """How the leaves of a message are written."""

    delimiters: Delimiters
    codec: str = "utf-8"


def part(parts: Parts, component: int, subcomponent: int = 1) -> str:
    """Return a subcomponent's text (both counted from 1), "" where there is none or it is the null value."""
    if component > len(parts):
        return ""
    leaves = parts[component - 1]
    if subcomponent > len(leaves):
        return ""
    text = leaves[subcomponent - 1]
    return "" if text == NULL else text


class Segment:
    """One segment: its name and its fields as they are written."""

    __slots__ = ("fields", "name", "number", "syntax")

    def __init__(self, name: str, number: int, fields: list[str], syntax: Syntax) -> None:
        self.name = name
        self.number = number  # which segment of that name in the message, from 1
        self.fields = fields  # fields[n] is field n; fields[0] is the name as it is written
        self.syntax = syntax

    def place(self, field: int = 0) -> Place:
        """Where this segment, or one of its fields, stands."""
        return Place(self.name, self.number, field)

    def raw(self, field: int) -> str:
        """Return a field as written, "" where it is not there."""
        return self.fields[field] if field < len(self.fields) else ""

    def is_valued(self, field: int) -> bool:
        """Whether a field holds something other than the null value."""
        raw = self.raw(field)
        return raw != "" and raw != NULL

    def repetitions(self, field: int) -> list[Parts]:
        """Split a field into its repetitions; none for an empty one."""
        raw = self.raw(field)
        return self._split(raw) if raw else []

    def _split(self, raw: str) -> list[Parts]:
        if raw.isalnum():  # no delimiter is: the field is one leaf
            return [[[raw]]]
        marks, codec = self.syntax
        sub, component = marks.subcomponent, marks.component
        pieces = raw.split(marks.repetition) if marks.repetition in raw else (raw,)
        if marks.escape in raw:
            return [
                [[unescape(leaf, marks, codec) for leaf in c.split(sub)] for c in piece.split(component)]
                for piece in pieces
            ]
        if sub in raw:
            return [[c.split(sub) for c in piece.split(component)] for piece in pieces]
        return [[[c] for c in piece.split(component)] for piece in pieces]

    def first(self, field: int) -> Parts:
        """Return the first repetition; one empty leaf where the field is empty."""
        raw = self.raw(field)
        return self._split(raw)[0] if raw else [[""]]

    def text(self, field: int, component: int = 1, subcomponent: int = 1) -> str:
        """Return one leaf of the first repetition."""
        raw = self.fields[field] if field < len(self.fields) else ""
        if raw.isalnum():  # no delimiter is: the field is one leaf
            return raw if component == subcomponent == 1 else ""
        return part(self._split(raw)[0], component, subcomponent) if raw else ""

    def texts(self, field: int) -> list[str]:
        """Return the repetitions as plain text: delimiters of components that a sender left bare are text."""
        raw = self.raw(field)
        if not raw or raw == NULL:
            return []
        marks = self.syntax.delimiters
        pieces = raw.split(marks.repetition)
        return [unescape(p, marks, self.syntax.codec) if marks.escape in p else p for p in pieces]


class Message(NamedTuple):
    """A message as a list of segments."""

    segments: list[Segment]
    syntax: Syntax
    problems: tuple[Problem, ...] = ()

    @property
    def header(self) -> Segment:
        """The MSH segment."""
        return self.segments[0]


def read_delimiters(text: str) -> tuple[Delimiters, tuple[Problem, ...]]:
    """Read MSH-1 and MSH-2 from the start of a message.

    Raises:
        Refused: No MSH segment at the start (AR 100), or characters that cannot part anything (AR 102).
    """
    if not text.startswith("MSH"):
        raise Refused(Fault("100", Place("MSH"), "The message does not begin with MSH.", reject=True))
    field = text[3:4]
    line = text.partition("\r")[0]
    encoding = line[4:].partition(field)[0] if field else ""
    default = Delimiters().encoding
    marks = field + encoding + default[len(encoding) :]
    unfit = any(c.isalnum() or c.isspace() or c == '"' for c in marks)
    if not field or len(encoding) > 5 or len(set(marks)) != len(marks) or unfit:
        raise Refused(Fault("102", Place("MSH", 1, 2), "The delimiters cannot be told apart.", reject=True))
    problems = (Problem("MSH[1]-2", "delimiters-completed"),) if len(encoding) < 4 else ()
    return Delimiters(*marks), problems


def _ends_in_lf(text: str) -> bool:
    return "\n" in text and text.count("\r") == text.count("\r\n")


def lines_of(text: str) -> list[str]:
    """Part a text into segments: at CR; where no bare CR stands, also at CRLF or LF."""
    if _ends_in_lf(text):
        text = text.replace("\r\n", "\r").replace("\n", "\r")
    return text.split("\r")


def tokenize(text: str, codec: str = "utf-8") -> Message:
    """Split a message.

    Args:
        text: The decoded message, without framing.
        codec: Python's name of the character set it was in.

    Raises:
        Refused: It does not begin with a usable MSH segment, or has too many segments (AR 207).
    """
    if text.count("\n" if _ends_in_lf(text) else "\r") > MOST_SEGMENTS:
        raise Refused(TOO_MANY)
    lines = [stripped for line in lines_of(text) if (stripped := line.lstrip(" \t\n"))]
    delimiters, found = read_delimiters("\r".join(lines[:1]))
    syntax = Syntax(delimiters, codec)
    problems = list(found)
    counts: dict[str, int] = {}
    segments = []
    for line in lines:
        fields = line.split(delimiters.field)
        name = fields[0].rstrip()
        if name not in _USUAL and _NAME.fullmatch(name) is None:
            name = UNNAMED
        number = counts[name] = counts.get(name, 0) + 1
        if name in ("MSH", "BHS", "FHS"):
            fields.insert(1, delimiters.field)
        segment = Segment(name, number, fields, syntax)
        segments.append(segment)
        if delimiters.escape in line:
            problems += [
                Problem(segment.place(n).path, "escape-kept")
                for n, field in enumerate(fields)
                if delimiters.escape in field and is_kept_raw(field, delimiters, codec)
            ]
    return Message(segments, syntax, tuple(problems))


def write_field(repetitions: Sequence[Parts], delimiters: Delimiters) -> str:
    """Write a field from decoded repetitions; the opposite of `Segment.repetitions`."""
    return delimiters.repetition.join(
        delimiters.component.join(
            delimiters.subcomponent.join(leaf if leaf == NULL else escape(leaf, delimiters) for leaf in leaves)
            for leaves in parts
        )
        for parts in repetitions
    )
