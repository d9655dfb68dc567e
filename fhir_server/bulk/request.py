"""What a bulk export is asked for.

Source: Bulk Data Access 2.0, https://hl7.org/fhir/uv/bulkdata/STU2/export.html#query-parameters
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fhir_server.definitions import compartment
from fhir_server.errors import BadParameter, BadRequest, FhirError, UnknownParameter
from fhir_server.interactions.asking import Ask, split_query
from fhir_server.interactions.steps import forbidden
from fhir_server.interface import OperationCall
from fhir_server.model import Actor
from fhir_server.operations.inputs import COMMON, Inputs, read_inputs, refuse_empty, text, texts
from fhir_server.search.query import Match
from fhir_server.search.results import is_element
from fhir_server.search.values import Period

FORMATS: Final = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
KNOWN: Final = frozenset({"_outputFormat", "_since", "_type", "_typeFilter", "_elements", "patient"})
REFUSED: Final = {
    "includeAssociatedData": "Associated data are not told apart here; name their types in _type.",
    "organizeOutputBy": "Files are not organised by resource here; leave organizeOutputBy out.",
}
_RESULT: Final = frozenset(
    {
        "_sort",
        "_count",
        "_summary",
        "_elements",
        "_include",
        "_revinclude",
        "_total",
        "_totalMethod",
        "_contained",
        "_containedType",
    }
)
_FILTER: Final = re.compile(r",(?=[A-Z][A-Za-z]+\?)")  # commas stand in queries too


@dataclass(frozen=True, slots=True)
class Asked:
    """An export as it will run."""

    types: tuple[str, ...]
    since: int | None  # microseconds since 1970
    filters: Mapping[str, tuple[str, ...]]  # type -> query strings, joined by OR
    elements: tuple[str, ...]  # "birthDate" or "Patient.birthDate"
    patients: tuple[str, ...]  # ids; none: all
    ignored: tuple[str, ...]  # parameters that lenient handling left out

    def elements_of(self, type: str) -> tuple[str, ...]:
        """Return the elements that are asked of a type."""
        own = [name.partition(".") for name in self.elements]
        return tuple(first if not dot else rest for first, dot, rest in own if not dot or first == type)


def read_request(call: OperationCall, ask: Ask, types: frozenset[str], base_url: str) -> Asked:
    """Read a kick-off request; references below `base_url` are to what is here.

    Raises:
        BadRequest: `Prefer: respond-async` is missing.
        BadParameter, UnknownParameter: A parameter cannot be read or is none of ours, and handling is not lenient.
        Forbidden: The scopes do not let the caller read a type that is asked for.
    """
    lenient = call.preferences.get("handling") == "lenient"
    if "respond-async" not in call.preferences and not lenient:
        raise BadRequest("An export takes long: ask for it with the header Prefer: respond-async.")
    inputs, ignored = _inputs(call, lenient)
    reading = _Reading(inputs, ask, lenient, list(ignored))
    known = frozenset(compartment("Patient")) | {"Patient"} if call.type else types
    named = reading.types(known)
    return Asked(
        types=_readable(named or sorted(known), call.actor, strict=bool(named)),
        since=reading.since(),
        filters=reading.filters(named),
        elements=reading.elements(types),
        patients=reading.patients(call, base_url),
        ignored=tuple(reading.ignored),
    )


def _inputs(call: OperationCall, lenient: bool) -> tuple[Inputs, list[str]]:
    given = set(call.parameters) | {
        item["name"]
        for item in (call.resource or {}).get("parameter", [])
        if isinstance(item, dict) and isinstance(item.get("name"), str)
    }
    strange = sorted(given - KNOWN - COMMON)
    if strange and not lenient:
        if strange[0] in REFUSED:
            raise UnknownParameter(REFUSED[strange[0]])
        raise UnknownParameter(f"An export has no parameter {strange[0][:60]!a}.")
    inputs = read_inputs(call, KNOWN | set(strange))
    if not lenient:
        refuse_empty(inputs)
    formats = texts(inputs, "_outputFormat")
    if any(value.replace(" ", "+") not in FORMATS for value in formats) and not lenient:
        raise BadParameter("_outputFormat is application/fhir+ndjson.")
    return inputs, strange


def _readable(types: list[str], actor: Actor, *, strict: bool) -> tuple[str, ...]:
    allowed = tuple(type for type in types if actor.may("r", type) or actor.may("s", type))
    if not allowed or (strict and len(allowed) < len(types)):
        raise forbidden()
    return allowed


class _Reading:
    """Reads the parameters; in lenient handling one that cannot be read is left out and named."""

    def __init__(self, inputs: Inputs, ask: Ask, lenient: bool, ignored: list[str]) -> None:
        self._inputs, self._ask, self._lenient, self.ignored = inputs, ask, lenient, ignored

    def _leave_out(self, name: str, reason: str) -> None:
        if not self._lenient:
            raise BadParameter(reason)
        if name not in self.ignored:
            self.ignored.append(name)

    def types(self, known: frozenset[str]) -> list[str]:
        named = [word for value in texts(self._inputs, "_type") for word in value.split(",") if word]
        for word in named:
            if word not in known:
                self._leave_out("_type", "_type names what is no resource type, or none of a patient's record.")
        return [word for word in dict.fromkeys(named) if word in known]

    def since(self) -> int | None:
        value = text(self._inputs, "_since")
        if not value:
            return None
        try:
            clause = self._ask("Patient", [("_lastUpdated", value)]).where[0]
        except FhirError:
            clause = None
        if isinstance(clause, Match) and clause.asks[0].prefix == "eq" and isinstance(clause.asks[0].value, Period):
            return clause.asks[0].value.lo
        self._leave_out("_since", "_since is an instant, as 2026-01-31T10:00:00Z.")
        return None

    def filters(self, types: list[str]) -> dict[str, tuple[str, ...]]:
        made: dict[str, list[str]] = {}
        for query in (q for value in texts(self._inputs, "_typeFilter") for q in _FILTER.split(value) if q):
            type = query.partition("?")[0]
            try:
                pairs = split_query(query)[1]
                if not pairs or any(name.partition(":")[0] in _RESULT for name, _ in pairs):
                    raise BadParameter("A query of _typeFilter has search parameters, and none of results.")
                self._ask(type, pairs)
            except FhirError as error:
                self._leave_out("_typeFilter", f"A query of _typeFilter cannot be run: {error.text}")
                continue
            if types and type not in types:
                self._leave_out("_typeFilter", "A query of _typeFilter is about a type that _type leaves out.")
                continue
            made.setdefault(type, []).append(query)
        return {type: tuple(queries) for type, queries in made.items()}

    def elements(self, types: frozenset[str]) -> tuple[str, ...]:
        named = [
            word.strip() for value in texts(self._inputs, "_elements") for word in value.split(",") if word.strip()
        ]
        for word in named:
            if not _is_known(word, types):
                self._leave_out("_elements", "_elements reads birthDate, or Patient.birthDate, as the types have them.")
        return tuple(word for word in named if _is_known(word, types))

    def patients(self, call: OperationCall, base_url: str) -> tuple[str, ...]:
        values: list[Any] = list(self._inputs.get("patient", []))
        if not values:
            return ()
        if call.method != "POST" or not call.type:
            self._leave_out("patient", "The parameter patient is for exports of Patient and Group, by POST.")
            return ()
        ids = []
        for value in values:
            reference = value.get("reference") if isinstance(value, dict) else value
            found = re.fullmatch(r"Patient/([A-Za-z0-9\-.]{1,64})", str(reference).removeprefix(f"{base_url}/"))
            if found is None:
                self._leave_out("patient", "The parameter patient is a reference Patient/ID.")
                continue
            ids.append(found[1])
        return tuple(dict.fromkeys(ids))


def _is_known(element: str, types: frozenset[str]) -> bool:
    """Whether some type has an element, by its name alone or with its type."""
    first, dot, _ = element.partition(".")
    return (not dot or first in types) and is_element(element, types)
