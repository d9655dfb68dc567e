"""Naive evaluation of clauses on index values: the meaning of a search, which every store must share.

It is written to be read beside R4's text, not to be fast. Source: FHIR R4 4.0.1,
https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from math import asin, cos, radians, sin, sqrt
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from fhir_server import gate
from fhir_server.model import Resource
from fhir_server.search import words
from fhir_server.search.fold import fold
from fhir_server.search.quantity import Asked, asked_of
from fhir_server.search.query import AllOf, Ask, Chain, Clause, Has, Match, Not
from fhir_server.search.values import (
    Composite,
    Number,
    Period,
    Position,
    Quantity,
    Reference,
    Text,
    Token,
    Uri,
    Value,
    Values,
)

V = TypeVar("V")

EARTH_KM: Final = 6371.0088  # mean radius, IUGG (R1): https://doi.org/10.1007/s001900050278


class Node(NamedTuple):
    """A resource as search sees it."""

    type: str
    id: str
    values: Values
    body: bytes = b""  # JSON, for `_text` and `_content`


class Around(Protocol):
    """The resources around one, of those that may be seen: the current ones, deleted ones not among them."""

    def target(self, type: str, id: str) -> Node | None:
        """Return that resource, or None where there is none to be seen."""
        ...

    def sources(self, type: str, code: str, to: Node) -> Iterable[Node]:
        """Return the resources of a type, at least those that refer to `to` by the parameter `code`."""
        ...


class Alone:
    """No resource around: chains and reverse chains find nothing."""

    def target(self, type: str, id: str) -> Node | None:
        """Return None."""
        return None

    def sources(self, type: str, code: str, to: Node) -> Iterable[Node]:
        """Return nothing."""
        return ()


def matches(clause: Clause, node: Node, around: Around) -> bool:
    """Return whether a clause holds for a resource."""
    if isinstance(clause, Match):
        return _holds(clause, _values(clause, node))
    if isinstance(clause, Chain):
        return _chain(clause, node, around)
    if isinstance(clause, Has):
        return _has(clause, node, around)
    if isinstance(clause, Not):
        return not matches(clause.clause, node, around)
    joined = all if isinstance(clause, AllOf) else any
    return joined(matches(one, node, around) for one in clause.clauses)


def _values(clause: Match, node: Node) -> tuple[Value, ...]:
    """Return what a parameter finds in a resource; two are read from what the resource is, not from an index."""
    if clause.is_open:
        raise ValueError("a terminology must resolve the clause first")
    if clause.is_full_text:
        return full_text(clause, gate.load(node.body)) if node.body else ()
    if clause.parameter.code == "_type":
        return (Token("", node.type),)
    return node.values.get(clause.parameter.code, ())


def full_text(clause: Match, resource: Resource) -> tuple[Value, ...]:
    """Return the text of a resource that `_text` or `_content` asks of, as one value."""
    return (Text(words.text_of(clause.parameter.code, resource)),)


def _holds(clause: Match, values: tuple[Value, ...]) -> bool:
    """Alternatives are joined by OR, and a resource matches by any of its values.

    ":not ... returns all resources that do not have a matching item", those without any value too.
    """
    if clause.modifier == "missing":
        return clause.missing == (not values)
    found = any(fits(clause.modifier, ask, value) for ask in clause.asks for value in values)
    return not found if clause.modifier == "not" else found


def _chain(clause: Chain, node: Node, around: Around) -> bool:
    """Some reference leads to a resource of one of the types for which the rest holds."""
    then = dict(zip(clause.targets, clause.then, strict=True))
    for value in node.values.get(clause.parameter.code, ()):
        if isinstance(value, Reference) and value.type in then:
            target = around.target(value.type, value.id)
            if target is not None and matches(then[value.type], target, around):
                return True
    return False


def _has(clause: Has, node: Node, around: Around) -> bool:
    """Some resource of the source type refers here and the rest holds for it."""
    for source in around.sources(clause.source, clause.parameter.code, node):
        values = source.values.get(clause.parameter.code, ())
        refers = any(isinstance(v, Reference) and (v.type, v.id) == (node.type, node.id) for v in values)
        if refers and matches(clause.then, source, around):
            return True
    return False


def fits(modifier: str, ask: Ask, value: Value) -> bool:
    """Return whether one value of a resource answers one alternative of a question."""
    if isinstance(value, Composite):
        return len(ask.parts) == len(value.parts) and all(map(_plainly, ask.parts, value.parts))
    if isinstance(value, Reference) and isinstance(ask.value, Token):  # :identifier
        return value.identifier is not None and _token(ask.value, value.identifier)
    if isinstance(value, Token) and isinstance(ask.value, Text):  # :text
        return _starts(fold(value.text), fold(ask.value.value))
    if type(value) is not type(ask.value):
        return False
    return _FITS[type(value)](modifier, ask, value)


def _plainly(ask: Ask, value: Value) -> bool:
    return fits("", ask, value)


def _starts(text: str, start: str) -> bool:
    return bool(text) and text.startswith(start)


# --- string, uri, token, reference ------------------------------------------------------------------------


def _fits_string(modifier: str, ask: Ask, value: Text) -> bool:
    """Compare each field by itself.

    "By default, a field matches a string query if the value of the field equals or starts with the supplied
    parameter value, after both have been normalized by case and combining characters."
    """
    asked = _of(Text, ask).value
    if modifier == "exact":
        return value.value == asked
    if modifier == "words":
        return words.holds(words.read(asked), value.value)
    if modifier == "contains":
        return fold(asked) in fold(value.value)
    if modifier == "equals":
        return fold(asked) == fold(value.value)
    if modifier == "ends":
        return bool(value.value) and fold(value.value).endswith(fold(asked))
    return _starts(fold(value.value), fold(asked))


def _fits_uri(modifier: str, ask: Ask, value: Uri) -> bool:
    """Compare precisely, or with :below and :above by whole segments of the path.

    They "indicate that instead of an exact match, either the search term left-matches the value, or
    vice-versa".
    """
    asked = _of(Uri, ask).value
    if modifier == "below":
        return value.value == asked or value.value.startswith(_segment(asked))
    if modifier == "above":
        return value.value == asked or asked.startswith(_segment(value.value))
    return value.value == asked


def _segment(url: str) -> str:
    return url if url.endswith("/") else url + "/"


def _fits_token(modifier: str, ask: Ask, value: Token) -> bool:
    asked = _of(Token, ask)
    if modifier == "of-type":
        return value.kind == asked.kind and value.code == asked.code
    return _token(asked, value)


def _token(asked: Token, value: Token) -> bool:
    """Compare code and system: `code` asks for any system, `|code` for none, `system|` for any code.

    "Match is case sensitive unless the underlying semantics for the context indicate" otherwise.
    """
    return (asked.system is None or asked.system == value.system) and (asked.code is None or asked.code == value.code)


def _fits_reference(modifier: str, ask: Ask, value: Reference) -> bool:
    """Local references match by type and id, others by url; a version counts only where it is asked for."""
    asked = _of(Reference, ask)
    if asked.version and asked.version != value.version:
        return False
    if asked.url:
        return asked.url == value.url
    return not value.url and asked.id == value.id and asked.type in ("", value.type)


# --- ordered values ---------------------------------------------------------------------------------------

_Bound = Any  # int or Decimal; of a value None where it is open


def compare(prefix: str, lo: _Bound, hi: _Bound, below: _Bound, above: _Bound) -> bool:
    """Return whether the span [lo, hi] of a value stands to a point or span as the prefix says.

    Args:
        prefix: gt lt ge le sa eb, as in https://hl7.org/fhir/R4/search.html#prefix.
        lo: First point of the value; None: open.
        hi: Last point of the value; None: open.
        below: Where the range below the search value ends.
        above: Where the range above the search value begins; the same as `below` for a number, which is
            exact under these prefixes.
    """
    reaches_above = hi is None or hi > above
    reaches_below = lo is None or lo < below
    may_touch = below < above  # half-open spans do not overlap where they touch
    match prefix:
        case "gt":  # "the range above the search value intersects (i.e. overlaps) with the range of the target value"
            return reaches_above
        case "lt":
            return reaches_below
        case "ge":  # "... or the range of the search value fully contains the range of the target value"
            return reaches_above or not reaches_below
        case "le":
            return reaches_below or not reaches_above
        case "sa":  # does not overlap, and "the range above the search value contains the range of the target value"
            return lo is not None and (lo >= above if may_touch else lo > above)
        case "eb":
            return hi is not None and (hi <= below if may_touch else hi < below)
        case _:
            raise ValueError(prefix)


def _fits_date(modifier: str, ask: Ask, value: Period) -> bool:
    """Dates are half-open spans; an open end of a period lies beyond any date.

    R4 defines `ge` by "the range above the search value intersects (i.e. overlaps) with the range of the target
    value, or the range of the search value fully contains the range of the target value", which would leave out a
    period that began before the day asked for and ends in the middle of it, though no part of the question
    excludes it: "the value for the parameter in the resource is greater or equal to the provided value". Other
    servers and users read `ge` as: it ends at or after the start of the span asked for; and `le` as: it begins
    before its end. So do we; for what is not wider than the span asked for both readings are the same.
    """
    asked = _of(Period, ask)
    match ask.prefix:
        case "eq":  # "the range of the search value fully contains the range of the target value"
            return asked.lo <= value.lo and value.hi <= asked.hi
        case "ne":
            return not (asked.lo <= value.lo and value.hi <= asked.hi)
        case "ap":  # "the range of the search value overlaps with the range of the target value"
            return value.lo < asked.hi and value.hi > asked.lo
        case "ge":
            return value.hi > asked.lo
        case "le":
            return value.lo < asked.hi
        case prefix:
            return compare(prefix, value.lo, value.hi, asked.lo, asked.hi)


def _fits_number(modifier: str, ask: Ask, value: Number) -> bool:
    asked = _of(Number, ask)
    assert ask.exact is not None, "a question has its number"
    return _number(ask.prefix, Asked(asked.lo, asked.hi, ask.exact), value.lo, value.hi)


def _fits_quantity(modifier: str, ask: Ask, value: Quantity) -> bool:
    """Values in another UCUM unit answer too: the question is converted into their unit, exactly."""
    asked = asked_of(ask, value.system, value.code, value.unit)
    return asked is not None and _number(ask.prefix, asked, value.lo, value.hi)


def _number(prefix: str, asked: Asked, lo: Decimal | None, hi: Decimal | None) -> bool:
    """Compare two spans of numbers.

    The range of the search value is half-open, "[99.5 ... 100.5)"; gt lt ge le sa eb take the number "as if
    they have arbitrarily high precision".
    """
    contains = lo is not None and hi is not None and asked.lo <= lo and hi < asked.hi
    match prefix:
        case "eq":
            return contains
        case "ne":
            return not contains
        case "ap":
            return (lo is None or lo <= asked.hi) and (hi is None or hi >= asked.lo)
        case _:
            return compare(prefix, lo, hi, asked.exact, asked.exact)


# --- special ----------------------------------------------------------------------------------------------


def _fits_near(modifier: str, ask: Ask, value: Position) -> bool:
    asked = _of(Position, ask)
    return ask.exact is not None and distance_km(asked, value) <= float(ask.exact)


def distance_km(one: Position, other: Position) -> float:
    """Return the great-circle distance in km, on a sphere of the earth's mean radius (haversine)."""
    north = radians(other.latitude - one.latitude)
    east = radians(other.longitude - one.longitude)
    a = sin(north / 2) ** 2 + cos(radians(one.latitude)) * cos(radians(other.latitude)) * sin(east / 2) ** 2
    return 2 * EARTH_KM * asin(min(1.0, sqrt(a)))


def _of(kind: type[V], ask: Ask) -> V:
    assert isinstance(ask.value, kind)
    return ask.value


_FITS: Final[dict[type, Callable[[str, Ask, Any], bool]]] = {
    Text: _fits_string,
    Uri: _fits_uri,
    Token: _fits_token,
    Reference: _fits_reference,
    Period: _fits_date,
    Number: _fits_number,
    Quantity: _fits_quantity,
    Position: _fits_near,
}
