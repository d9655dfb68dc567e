"""What a search parameter finds in a resource, as typed values.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple, TypeAlias, Union


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


class Indexed(NamedTuple):
    """All that a store needs to know of a resource beside its body."""

    values: Values
    owners: tuple[str, ...]  # ids of the Patients whose record it belongs to (patient compartment)


NOTHING = Indexed({}, ())
