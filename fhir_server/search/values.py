"""What a search parameter finds in a resource, as typed values.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias, Union


class Token(NamedTuple):
    """A code with its system; booleans are the codes true and false.

    In a stored value `system` is "" where the element has none. In a question None means
    any system (`code`), "" no system (`|code`), and `code` None any code (`system|`).
    """

    system: str | None
    code: str | None
    text: str = ""  # display, CodeableConcept.text or Identifier.type.text, for :text
    kind: tuple[str, str] | None = None  # Identifier.type coding (system, code), for :of-type


class Text(NamedTuple):
    """A string as it is written."""

    value: str


class Period(NamedTuple):
    """A half-open span [lo, hi) in microseconds since 1970-01-01T00:00Z; open ends are the int64 bounds."""

    lo: int
    hi: int


class Number(NamedTuple):
    """A closed span of numbers; a single number has lo == hi."""

    lo: Decimal
    hi: Decimal


class Quantity(NamedTuple):
    """A number with its unit; an open bound (comparator) is None."""

    lo: Decimal | None
    hi: Decimal | None
    system: str
    code: str
    unit: str


class Reference(NamedTuple):
    """A reference: to a type and id of this server, or to a url elsewhere, or by identifier only."""

    type: str
    id: str
    url: str = ""  # absolute, canonical (without |version) or urn: reference; "" for a local one
    version: str = ""
    identifier: Token | None = None


class Uri(NamedTuple):
    """A uri as it is written."""

    value: str


class Position(NamedTuple):
    """A place in degrees (WGS 84)."""

    latitude: float
    longitude: float


class Composite(NamedTuple):
    """Values that stand together in one element."""

    parts: tuple[Value, ...]


Value: TypeAlias = Union[Token, Text, Period, Number, Quantity, Reference, Uri, Position, "Composite"]
Values: TypeAlias = Mapping[str, tuple[Value, ...]]  # by search parameter code


OWN: Final = ("_id", "_lastUpdated")
"""Parameters whose values a store knows by itself: a version has its id and its time."""


class Indexed(NamedTuple):
    """All that a store needs to know of a resource beside its body."""

    values: Values
    owners: tuple[str, ...]  # ids of the Patients whose record it belongs to (patient compartment)
    filled: Filled | None = None  # says the same as values, which are empty then; for stores that take it


NOTHING = Indexed({}, ())

Ends: TypeAlias = tuple[int, int, int, int]
"""A span: place of the date that begins it in `Pattern.strings` (-1: none), else its `lo`; the same of its end."""


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """What resources of one skeleton have alike (see patterns.py); each is equal to itself alone.

    In the sample the values that vary are marks, which no resource has: `period_marks`, `number_marks` (ends of
    numbers and quantities) and `text_marks` (codes of tokens, ids of references, owners) tell their places in a
    `Filled`. The other fields say how one is made.
    """

    sample: Indexed
    period_marks: Mapping[Period, int]
    number_marks: Mapping[Decimal, int]
    text_marks: Mapping[str, int]
    periods: tuple[Ends, ...]
    numbers: tuple[int, ...]  # by places of what varies
    texts: tuple[int, ...]
    owners: tuple[tuple[int, str], ...]  # place among the texts, or -1 and the id
    fixed: frozenset[Any]  # dates, numbers, codes and ids that do not vary
    strings: tuple[tuple[int, str], ...]  # varying strings: their places, and how they begin
    named: tuple[bool, ...]  # which of them are references that show something; empty where none does
    words: str  # of what does not vary


class Filled(NamedTuple):
    """A resource as a pattern and its own values, which differ from each other and from all that do not vary."""

    pattern: Pattern
    periods: list[Period]
    numbers: list[Decimal]
    texts: list[str]
    owners: tuple[str, ...]
    content: str  # its words, as `words.content_of` gives them
