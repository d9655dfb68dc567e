"""A compartment as a row of searches, so that all of it can be walked page by page.

Each search asks one reference of one type, and perhaps its dates; a resource that an earlier search of the row
finds too is given there only. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from fhir_server import gate
from fhir_server.definitions import compartment, resource_types
from fhir_server.errors import BadParameter
from fhir_server.interactions.asking import Ask
from fhir_server.model import Resource, Version
from fhir_server.search.extract import ABOUT
from fhir_server.search.match import Alone, Node, matches
from fhir_server.search.parameters import parameters_of
from fhir_server.search.query import Clause, Match
from fhir_server.search.values import Indexed, Period

# The date of care of a type is the first of these that it has. "The date range relates to care dates, not record
# currency dates": https://hl7.org/fhir/R4/patient-operation-everything.html
_CARE: Final = (
    "authoredon", "onset-date", "occurrence", "event-date", "effective-time", "effective", "started", "collected",
    "sent", "whenhandedover", "start-date", "date", "period", "authored", "authored-on", "datewritten", "datetime",
    "identified", "recorded", "created",
)  # fmt: skip
_TIMELESS: Final = frozenset({"Patient", "Person", "RelatedPerson"})


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a compartment is asked for."""

    start: str = ""  # FHIR dates, "" open
    end: str = ""
    since: str = ""  # instant: changed at or after
    types: frozenset[str] | None = None  # None: all


class Step(NamedTuple):
    """One search of the row."""

    type: str
    where: tuple[Clause, ...]


@cache
def members(name: str) -> dict[str, tuple[str, ...]]:
    """Return, by type, the reference parameters that put a resource into a compartment.

    To R4's Patient compartment are added types outside of it that say by `patient`, `subject` or the like whose
    they are (Task, Device): the hub keeps them in that patient's record.
    """
    found = {type: codes for type, codes in compartment(name).items() if codes and type != name}
    if name in compartment(name):
        found[name] = tuple(code for code in compartment(name)[name] if code != "{def}")
    if name == "Patient":
        for type in resource_types() - set(found):
            known = parameters_of(type)
            code = next((c for c in ABOUT if c in known and {"Patient"} & set(known[c].targets)), None)
            if code is not None:
                found[type] = (code,)
    return dict(sorted(found.items()))


@cache
def care_date(type: str) -> str:
    """Return the search parameter that holds the date of care of a type; "" where it has none."""
    known = parameters_of(type)
    return "" if type in _TIMELESS else next((code for code in _CARE if code in known), "")


class Compartment:
    """The compartment of one resource, or a part of it.

    Args:
        name: Patient or Encounter.
        id: Of the resource whose compartment it is.
        span: The part.
        ask: Reads search parameters.
        index: Reads index values.
    """

    def __init__(self, name: str, id: str, span: Span, ask: Ask, index: Callable[[Resource], Indexed]) -> None:
        self._name, self._id, self._span, self._ask, self._index = name, id, span, ask, index
        self.steps: tuple[Step, ...] = tuple(self._steps())
        self._by_type: dict[str, list[int]] = {}
        for number, step in enumerate(self.steps):
            self._by_type.setdefault(step.type, []).append(number)

    def _steps(self) -> list[Step]:
        made = [self._step(self._name, ("_id", self._id))] if self._walks(self._name) else []
        for type, codes in members(self._name).items():
            if not self._walks(type):
                continue
            for code in codes:
                made += [self._step(type, (code, f"{self._name}/{self._id}"), *dated) for dated in self._dated(type)]
        return made

    def _walks(self, type: str) -> bool:
        """Whether a type is walked: all are where one asked for stands outside of the compartment."""
        types = self._span.types
        return types is None or type in types or not types <= {self._name, *members(self._name)}

    def _dated(self, type: str) -> list[list[tuple[str, str]]]:
        """Return the dates to ask of a type: those in the range, and those that have none."""
        code = care_date(type)
        if not code or not (self._span.start or self._span.end):
            return [[]]
        bounds = (("ge", self._span.start), ("le", self._span.end))
        return [[(code, prefix + text) for prefix, text in bounds if text], [(f"{code}:missing", "true")]]

    def _step(self, type: str, *pairs: tuple[str, str]) -> Step:
        since = [("_lastUpdated", f"ge{self._span.since}")] if self._span.since else []
        return Step(type, self._ask(type, [*pairs, *since]).where)

    def has(self, version: Version, *, before: int | None = None) -> bool:
        """Whether the row finds a resource; of the steps before one where `before` is given."""
        numbers = [n for n in self._by_type.get(version.type, ()) if before is None or n < before]
        if not numbers:
            return False
        node = Node(version.type, version.id, self._index(gate.load(version.body)).values)
        return any(all(matches(clause, node, Alone()) for clause in self.steps[n].where) for n in numbers)


def check_span(span: Span, ask: Ask) -> Span:
    """Return the span; raise BadParameter where a date cannot be read, or the end is before the start."""
    given = (("start", span.start), ("end", span.end), ("_since", span.since))
    start, end, _ = (_period(ask, name, text) if text else None for name, text in given)
    if start is not None and end is not None and start.lo >= end.hi:
        raise BadParameter("The parameter 'end' is before 'start': nothing is between them.")
    return span


def _period(ask: Ask, name: str, text: str) -> Period:
    try:
        clause = ask("Patient", [("_lastUpdated", f"ge{text}")]).where[0]
    except BadParameter:
        clause = None
    value = clause.asks[0].value if isinstance(clause, Match) and len(clause.asks) == 1 else None
    if not isinstance(value, Period):
        raise BadParameter(f"The parameter '{name}' is a date or an instant.")
    return value


def read_types(values: Sequence[str]) -> frozenset[str] | None:
    """Read `_type`: names of types, parted by commas, perhaps given several times; None where it is not given."""
    names = frozenset(name for value in values for name in value.split(","))
    if not names <= resource_types():
        raise BadParameter("The parameter '_type' takes names of resource types.")
    return names or None
