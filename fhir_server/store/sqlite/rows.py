"""The index rows of a resource: its typed values, grouped by equal value and told apart by terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from math import prod
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from fhir_server.search.fold import fold
from fhir_server.search.values import (
    Composite,
    Indexed,
    Number,
    Period,
    Quantity,
    Reference,
    Text,
    Token,
    Uri,
)
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.numbers import HIGHEST, LOWEST, encode
from fhir_server.store.sqlite.terms import HashText

TermOf: TypeAlias = Callable[[str, str, str], int]  # (kind, params, system) -> number of the term

OWN: Final = ("_id", "_lastUpdated")
"""Parameters whose values are the store's own: the table `resource` answers the first."""

_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND
WIDTHS: Final = (_SECOND, 3_600 * _SECOND, 25 * _DAY // 24, 8 * _DAY, 32 * _DAY, 367 * _DAY, 3_700 * _DAY)
"""Upper bounds of the classes of spans, in microseconds: within a class an upper end tells nearly where
the lower end lies, so that one index on the lower end answers every date prefix."""
OPEN: Final = "open"
POINT, RANGE, BELOW, ANY = "point", "range", "below", "any"
"""Forms of a number: `lo` is it; `lo` and `w` are its ends; only the upper end is known and is in `lo`; none is."""

UNDATED, MANY = "undated", "many"
"""Forms of a timeline's rows whose resource has no time, or several; those with one have ""."""

TIMELINES: Final = {
    "Observation": ("code", "date"),
    "DiagnosticReport": ("code", "date"),
    "Procedure": ("code", "date"),
    "Condition": ("code", "onset-date"),
    "MedicationRequest": ("code", "authoredon"),
    "Immunization": ("vaccine-code", "date"),
}
"""Types that a chart shows by patient, code and time: the parameters of code and time."""


class Rows(NamedTuple):
    """What to insert for a resource, or to delete of its version before."""

    token: list[tuple[int, int, int]]  # t, c, seq
    span: list[tuple[int, Any, int, Any]]  # t, lo, seq, w
    fact: list[tuple[int, int, Any, Any]]  # seq, t, lo, w
    timeline: list[tuple[int, int, int, int, int]]  # t, p, c, lo, seq
    text: list[tuple[int, str, int]]  # t, text, c
    shape: int


def width_class(period: Period) -> tuple[str, int]:
    """Return the class of a span and what stands for its upper end: its width, or of an open one the end."""
    width = period.hi - period.lo
    for number, bound in enumerate(WIDTHS):
        if width <= bound:
            return str(number), width
    return OPEN, period.hi


def measure(value: Number | Quantity) -> tuple[str, str, bytes, bytes | int]:
    """Return kind, system, `lo` and `w` of a number: `lo` is always what sorting goes by."""
    form, lo, w = _ends(value.lo, value.hi)
    if isinstance(value, Number):
        return terms.NUMBER, form, lo, w
    return terms.QUANTITY, write_unit(form, value.system, value.code, value.unit), lo, w


def _ends(lo: Decimal | None, hi: Decimal | None) -> tuple[str, bytes, bytes | int]:
    if lo is None:
        return (ANY, LOWEST, 0) if hi is None else (BELOW, encode(hi), 0)
    if lo == hi:
        return POINT, encode(lo), 0
    return RANGE, encode(lo), HIGHEST if hi is None else encode(hi)


def write_unit(form: str, system: str, code: str, unit: str) -> str:
    """Return the `system` of a quantity's term."""
    return msgspec.json.encode((form, system, code, unit)).decode()


def read_unit(text: str) -> tuple[str, str, str, str]:
    """Return form, system, code and unit."""
    return msgspec.json.decode(text, type=tuple[str, str, str, str])


def part_name(param: str, number: int) -> str:
    """Return the name under which a composite's part stands, where all combinations of its parts occur."""
    return f"{param}${number}"


def pieces_name(param: str, number: int) -> str:
    """Return that name where only some combinations occur, so that parts found must be looked at together."""
    return f"{param}!{number}"


def coded(system: str, code: str) -> str:
    """Return what a timeline hashes: a code with its system."""
    return f"{system}\0{code}"


class _Groups:
    """Values met so far, each with the parameters that have it."""

    def __init__(self) -> None:
        self.equal: dict[tuple[str, str, str], list[str]] = {}  # kind, system, text
        self.spans: dict[tuple[str, str, Any, Any], list[str]] = {}  # kind, system, lo, w

    def add(self, param: str, value: Any) -> None:
        """Take in a value of a parameter; places have no rows."""
        kind = value.__class__
        if kind is Token:
            self._add_token(param, value)
        elif kind is Reference:
            self._add_reference(param, value)
        elif kind is Period:
            self.spans.setdefault((terms.DATE, *_dated(value)), []).append(param)
        elif kind is Quantity or kind is Number:
            self.spans.setdefault(measure(value), []).append(param)
        elif kind is Text:
            self.equal.setdefault((terms.EXACT, "", value.value), []).append(param)
            self.spans.setdefault((terms.FOLDED, "", fold(value.value), 0), []).append(param)
        elif kind is Uri:
            self.equal.setdefault((terms.URI, "", value.value), []).append(param)

    def add_composites(self, param: str, values: Sequence[Composite]) -> None:
        """Take in the parts of composites, each as a value of a name of its own."""
        parts = [frozenset(column) for column in zip(*(value.parts for value in values), strict=True)]
        is_whole = len(set(values)) == prod(map(len, parts))
        name = part_name if is_whole else pieces_name
        for number, column in enumerate(parts):
            for value in column:
                self.add(name(param, number), value)

    def _add_token(self, param: str, value: Token) -> None:
        equal = self.equal
        equal.setdefault((terms.TOKEN, value.system or "", value.code or ""), []).append(param)
        if value.text and (text := fold(value.text)):
            equal.setdefault((terms.TEXT, "", text), []).append(param)
        if value.kind is not None:
            typed = coded(value.kind[1], value.code or "")
            equal.setdefault((terms.OF_TYPE, value.kind[0], typed), []).append(param)

    def _add_reference(self, param: str, value: Reference) -> None:
        if value.url:
            self.equal.setdefault((terms.URL, "", value.url), []).append(param)
        elif value.id:
            self.equal.setdefault((terms.LOCAL, value.type, value.id), []).append(param)
        if value.identifier is not None:
            found = value.identifier
            self.equal.setdefault((terms.IDENTIFIER, found.system or "", found.code or ""), []).append(param)


def _dated(period: Period) -> tuple[str, int, int]:
    system, width = width_class(period)
    return system, period.lo, width


def _together(params: list[str]) -> str:
    return params[0] if len(params) == 1 else " ".join(sorted(set(params)))


def build(type: str, indexed: Indexed, seq: int, at: int, term_of: TermOf, hash_text: HashText) -> Rows:
    """Return the index rows of one version of a resource.

    Args:
        type: Of the resource.
        indexed: Its values and owners.
        seq: Of the version.
        at: Its time.
        term_of: Gives the number of a term, making it where it is new.
        hash_text: The store's hash.
    """
    groups = _Groups()
    for param, values in indexed.values.items():
        if param in OWN:
            continue
        for value in values:
            if value.__class__ is not Composite:
                groups.add(param, value)
        if values and values[0].__class__ is Composite:
            groups.add_composites(param, [value for value in values if isinstance(value, Composite)])
    groups.add("_lastUpdated", Period(at, at + 1))
    for owner in indexed.owners:
        groups.equal.setdefault((terms.LOCAL, "Patient", owner), []).append(terms.OWNER)
    named = (code for code, values in indexed.values.items() if values and code not in OWN)
    shape = term_of(terms.SHAPE, " ".join(sorted(named)), "")
    several = _several(groups)
    rows = Rows([(shape, 0, seq)], [], [], [], [], shape)
    patients: list[tuple[str, int]] = []
    for (kind, system, text), params in groups.equal.items():
        if several:
            params = _marked(kind, params, several)
        together, c = _together(params), hash_text(text)
        t = term_of(kind, together, system)
        rows.token.append((t, c, seq))
        if kind is terms.LOCAL:
            rows.fact.append((seq, t, text, 0))
            if system == "Patient":
                patients.append((together, c))
        elif kind is terms.TEXT or kind is terms.URI:
            rows.text.append((t, text, c))
    for (kind, system, lo, w), params in groups.spans.items():
        if several:
            params = _marked(kind, params, several)
        t = term_of(kind, _together(params), system)
        rows.span.append((t, lo, seq, w))
        rows.fact.append((seq, t, lo, w))
    if patients and type in TIMELINES:
        _add_timeline(rows, type, indexed, seq, patients, term_of, hash_text)
    return rows


def _several(groups: _Groups) -> set[tuple[str, str]]:
    """Return (kind, parameter) where a parameter has more than one value of a kind."""
    seen: set[tuple[str, str]] = set()
    several: set[tuple[str, str]] = set()
    for grouped in (groups.equal, groups.spans):
        for key, params in grouped.items():
            for param in dict.fromkeys(params):
                pair = (key[0], param)
                (several if pair in seen else seen).add(pair)
    return several


def _marked(kind: str, params: list[str], several: set[tuple[str, str]]) -> list[str]:
    marks = [terms.SEVERAL + param for param in params if (kind, param) in several]
    return params + marks if marks else params


def _add_timeline(
    rows: Rows,
    type: str,
    indexed: Indexed,
    seq: int,
    patients: list[tuple[str, int]],
    term_of: TermOf,
    hash_text: HashText,
) -> None:
    code, date = TIMELINES[type]
    codes = (
        {0}
        if not indexed.values.get(code)
        else {
            hash_text(coded(v.system or "", v.code or "")) for v in indexed.values.get(code, ()) if isinstance(v, Token)
        }
    )
    dates = indexed.values.get(date, ())
    form = "" if len(dates) == 1 else MANY if dates else UNDATED
    lo = dates[0].lo if form == "" and isinstance(dates[0], Period) else 0
    for params, patient in patients:
        if params == terms.OWNER:
            continue  # an owner that no parameter names
        t = term_of(terms.TIMELINE, params, form)
        rows.timeline.extend((t, patient, c, lo, seq) for c in codes)
