"""The index rows of a resource: its typed values, grouped by equal value and told apart by terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

from fhir_server.search.fold import fold
from fhir_server.search.values import (
    OWN,
    Composite,
    Indexed,
    Number,
    Pattern,
    Period,
    Quantity,
    Reference,
    Text,
    Token,
    Uri,
    Value,
)
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.measures import measure, width_class
from fhir_server.store.sqlite.terms import HashText

if TYPE_CHECKING:
    from fhir_server.store.sqlite.templates import Template

TermOf: TypeAlias = Callable[[str, str, str], int]  # (kind, params, system) -> number of the term
Columns: TypeAlias = tuple[tuple[Callable[[str, int], str], tuple[tuple[type, Any], ...]], ...]
"""Of each part of composites: what names it, and its values with their kinds."""

_REMEMBERED: Final = 20_000

UNDATED, MANY = "undated", "many"
"""Forms of a timeline's rows whose resource has no time, or several; those with one have ""."""

WRITTEN: Final = (terms.DATE, "_lastUpdated", width_class(Period(0, 1))[0])
"""The term of a version's time: kind, params, system; the span is 1 wide."""

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
    """What to insert for a resource."""

    token: list[tuple[int, int, int]]  # t, c, seq
    span: list[tuple[int, Any, int, Any]]  # t, lo, seq, w
    fact: list[tuple[int, int, Any, Any]]  # seq, t, lo, w
    timeline: list[tuple[int, int, int, int, int]]  # t, p, c, lo, seq
    text: list[tuple[int, str, int]]  # t, text, c
    shape: int

    def add_time(self, seq: int, at: int, t: int) -> None:
        """Add the rows of the version's time, under the term that `WRITTEN` has."""
        self.span.append((t, at, seq, 1))
        self.fact.append((seq, t, at, 1))


def part_name(param: str, number: int) -> str:
    """Return the name under which a composite's part stands, where all combinations of its parts occur."""
    return f"{param}${number}"


def pieces_name(param: str, number: int) -> str:
    """Return that name where only some combinations occur, so that parts found must be looked at together."""
    return f"{param}!{number}"


def coded(system: str, code: str) -> str:
    """Return what a timeline hashes: a code with its system."""
    return f"{system}\0{code}"


class Made(NamedTuple):
    """The rows that one value makes in any resource, without its seq."""

    token: tuple[tuple[int, int, Any], ...] = ()  # t, c, and `lo` of its fact: the text sorted by, else c
    span: tuple[tuple[int, Any, Any], ...] = ()  # t, lo, w
    text: tuple[tuple[int, str, int], ...] = ()  # t, text, c
    patient: int = 0  # hash of the Patient that a reference names


class RowMaker:
    """Makes the index rows of resources, and remembers what common values make.

    Args:
        hash_text: The store's hash.
    """

    def __init__(self, hash_text: HashText) -> None:
        self.hash = hash_text
        self.told: set[tuple[int, int]] = set()  # t, c of texts that drafts brought
        self.templates: dict[tuple[int, Pattern], Template] = {}  # by k
        self._made: dict[tuple[Any, ...], Made] = {}
        self._params: dict[tuple[str, ...], str] = {}
        self._shapes: dict[tuple[int, tuple[str, ...]], int] = {}

    def forget(self) -> None:
        """Forget what was made, since terms or texts of it were undone."""
        self.templates.clear()
        self._made.clear()
        self._shapes.clear()
        self.told.clear()

    def build(self, k: int, type: str, indexed: Indexed, seq: int, at: int, term_of: TermOf) -> Rows:
        """Return the index rows of one version of a resource.

        Args:
            k: The term of its type.
            type: Its name.
            indexed: Its values and owners.
            seq: Of the version.
            at: Its time.
            term_of: Gives the number of a term, making it where it is new.
        """
        shape = self.shape(k, indexed, term_of)
        rows = Rows([(shape, 0, seq)], [], [], [], [], shape)
        patients: list[tuple[str, int]] = []
        together_of = self._params.get
        for (kind, value), params in grouped(indexed).items():
            together = together_of(tuple(params)) or self.together(params)
            if kind is Period:  # there are too many to remember
                system, width = width_class(value)
                dated, start = term_of(terms.DATE, together, system), value.lo
                rows.span.append((dated, start, seq, width))
                rows.fact.append((seq, dated, start, width))
                continue
            key = (k, kind, value, together)
            made = self._made.get(key)
            if made is None:
                if len(self._made) >= _REMEMBERED:
                    self._made.clear()
                made = self._made[key] = self._make(kind, value, together, term_of)
                rows.text.extend(made.text)
            for t, c, fact in made.token:
                rows.token.append((t, c, seq))
                rows.fact.append((seq, t, fact, 0))
            for t, lo, w in made.span:
                rows.span.append((t, lo, seq, w))
                rows.fact.append((seq, t, lo, w))
            if made.patient:
                patients.append((together, made.patient))
        if patients and type in TIMELINES:
            rows.timeline.extend(timeline(type, indexed, seq, patients, term_of, self.hash))
        rows.add_time(seq, at, term_of(*WRITTEN))
        return rows

    def made(self, key: tuple[int, type, Any, str], term_of: TermOf) -> Made:
        """Return the rows of a value by (k, kind, value, params), as those that `build` remembers."""
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= _REMEMBERED:
                self._made.clear()
            _, kind, value, together = key
            found = self._made[key] = self._make(kind, value, together, term_of)
        return found

    def together(self, params: list[str]) -> str:
        """Return names of parameters as a term has them."""
        key = tuple(params)
        found = self._params.get(key)
        if found is None:
            if len(self._params) >= _REMEMBERED:
                self._params.clear()
            found = self._params[key] = " ".join(sorted(set(params)))
        return found

    def shape(self, k: int, indexed: Indexed, term_of: TermOf) -> int:
        """Return the term of the parameters that a resource has values for."""
        codes = tuple([code for code, values in indexed.values.items() if values and code not in OWN])
        found = self._shapes.get((k, codes))
        if found is None:
            if len(self._shapes) >= _REMEMBERED:
                self._shapes.clear()
            found = self._shapes[k, codes] = term_of(terms.SHAPE, " ".join(sorted(codes)), "")
        return found

    def _make(self, kind: type, value: Any, params: str, term_of: TermOf) -> Made:
        if kind is Token:
            return self._token(value, params, term_of)
        if kind is Reference:
            return self._reference(value, params, term_of)
        if kind is Quantity or kind is Number:
            name, system, lo, upper = measure(value)
            return Made(span=((term_of(name, params, system), lo, upper),))
        if kind is Text:
            c = self.hash(value.value)
            folded = (term_of(terms.FOLDED, params, ""), fold(value.value), 0)
            return Made(token=((term_of(terms.EXACT, params, ""), c, c),), span=(folded,))
        if kind is Uri:
            t, c = term_of(terms.URI, params, ""), self.hash(value.value)
            return Made(token=((t, c, c),), text=((t, value.value, c),))
        return Made()  # places are looked at one by one

    def _token(self, value: Token, params: str, term_of: TermOf) -> Made:
        c = self.hash(value.code or "")
        made = [(term_of(terms.TOKEN, params, value.system or ""), c, c if value.code is None else value.code)]
        text: tuple[tuple[int, str, int], ...] = ()
        if value.text and (folded := fold(value.text)):
            t, c = term_of(terms.TEXT, params, ""), self.hash(folded)
            made.append((t, c, c))
            text = ((t, folded, c),)
        if value.kind is not None:
            c = self.hash(coded(value.kind[1], value.code or ""))
            made.append((term_of(terms.OF_TYPE, params, value.kind[0]), c, c))
        return Made(token=tuple(made), text=text)

    def _reference(self, value: Reference, params: str, term_of: TermOf) -> Made:
        made: list[tuple[int, int, Any]] = []
        patient = 0
        if value.url:
            made.append((term_of(terms.URL, params, ""), self.hash(value.url), value.url))
        elif value.id:
            c = self.hash(value.id)
            made.append((term_of(terms.LOCAL, params, value.type), c, value.id))
            patient = c if value.type == "Patient" else 0
        if value.identifier is not None:
            found, c = value.identifier, self.hash(value.identifier.code or "")
            made.append((term_of(terms.IDENTIFIER, params, found.system or ""), c, c))
        return Made(token=tuple(made), patient=patient)


def grouped(indexed: Indexed) -> dict[tuple[type, Any], list[str]]:
    """Return each value with the parameters that have it, those of composites' parts and owners too.

    Equal references may differ in what a search cannot see (their version), and would be one row: the version
    is left out.
    """
    groups: dict[tuple[type, Any], list[str]] = {}
    parts: Columns = ()
    composites: Any = None
    for param, values in indexed.values.items():
        if param in OWN or not values:
            continue
        first = values[0]
        kind = first.__class__
        if kind is Composite:
            if values != composites:  # several parameters have the same ones
                composites, parts = values, _columns(cast(Sequence[Composite], values))
            _add_parts(groups, param, parts)
        elif len(values) == 1:
            groups.setdefault((kind, _plain(first) if kind is Reference else first), []).append(param)
        else:
            several = terms.SEVERAL + param
            for value in values:
                groups.setdefault((value.__class__, _plain(value)), []).extend((param, several))
    for owner in indexed.owners:
        groups.setdefault((Reference, Reference("Patient", owner)), []).append(terms.OWNER)
    return groups


def _plain(value: Value) -> Value:
    return value._replace(version="") if value.__class__ is Reference and value.version else value


def _columns(values: Sequence[Composite]) -> Columns:
    """Return how the parts of composites are named, and the different values of each."""
    if len(values) == 1:
        return tuple([(part_name, ((value.__class__, _plain(value)),)) for value in values[0].parts])
    parts = [dict.fromkeys(column) for column in zip(*(value.parts for value in values), strict=True)]
    name = part_name if len(set(values)) == prod(map(len, parts)) else pieces_name
    return tuple([(name, tuple([(value.__class__, _plain(value)) for value in column])) for column in parts])


def _add_parts(groups: dict[tuple[type, Any], list[str]], param: str, parts: Columns) -> None:
    """Add the parts of composites, each as a value of a name of its own."""
    for number, (name, column) in enumerate(parts):
        own = name(param, number)
        names = (own,) if len(column) == 1 else (own, terms.SEVERAL + own)
        for key in column:
            groups.setdefault(key, []).extend(names)


def timeline(
    type: str,
    indexed: Indexed,
    seq: int,
    patients: list[tuple[str, int]],
    term_of: TermOf,
    hash_text: HashText,
) -> list[tuple[int, int, int, int, int]]:
    """Return the rows of a type of TIMELINES, given (params, patient) of what names patients."""
    code, date = TIMELINES[type]
    values = indexed.values.get(code, ())
    codes = {hash_text(coded(v.system or "", v.code or "")) for v in values if isinstance(v, Token)} or {0}
    dates = indexed.values.get(date, ())
    form = "" if len(dates) == 1 else MANY if dates else UNDATED
    lo = dates[0].lo if form == "" and isinstance(dates[0], Period) else 0
    made = []
    for params, patient in patients:
        if params == terms.OWNER:
            continue  # an owner that no parameter names
        t = term_of(terms.TIMELINE, params, form)
        made += [(t, patient, c, lo, seq) for c in codes]
    return made
