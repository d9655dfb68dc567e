"""A query string as a `Query`.

Unknown and malformed parameters are refused by name; where handling is lenient they are left out and named
in `Query.ignored`. No error text shows a value. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from fhir_server.definitions import resource_types
from fhir_server.errors import BadParameter, TooCostly, UnknownParameter
from fhir_server.search import parameters
from fhir_server.search.asks import Reader, UnsupportedModifier
from fhir_server.search.clauses import Clauses, Registry, shown
from fhir_server.search.compartments import clause, read_within
from fhir_server.search.quantity import of_codes
from fhir_server.search.query import Clause, Include, Query
from fhir_server.search.results import (
    CONTAINED,
    CONTAINED_TYPES,
    MOST_INCLUDES,
    SUMMARIES,
    TOTALS,
    is_element,
    read_choice,
    read_count,
    read_elements,
    read_flag,
    read_include,
    read_method,
    read_sort,
    read_types,
)

MOST_PARAMETERS: Final = 100
MAX_NAME: Final = 300  # characters of a parameter's name
DEFAULT_COUNT: Final = 20

SKIPPED: Final = frozenset({"_format", "_pretty"})
"""Parameters of every interaction, which HTTP answers."""

_INCLUDES: Final = frozenset({"_include", "_revinclude"})


def parse(
    types: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    *,
    zone: tzinfo | str,
    now: int,
    registry: Registry = parameters,
    base_url: str = "",
    lenient: bool = False,
    count: int = DEFAULT_COUNT,
) -> Query:
    """Turn the parameters of a search into a `Query`.

    Args:
        types: The resource types searched; none for the whole system, which `_type` narrows. One path such as
            `Patient/1/Observation` or `Patient/1/*` searches a compartment.
        pairs: Names and values in order, percent-decoded.
        zone: Of a date or time that has none, or its name.
        now: Microseconds since 1970; `ap` on dates reaches a tenth of the gap between now and the date.
        registry: Where search parameters are defined.
        base_url: Of this server's FHIR root; absolute references below it are local ones.
        lenient: Whether parameters that are unknown or malformed are left out and named in `ignored`. A
            modifier that is not supported is refused all the same.
        count: Page size where `_count` is not given.

    Raises:
        UnknownParameter: A parameter or modifier that is not known for these types.
        BadParameter: A value that cannot be read.
        TooCostly: The query goes beyond a bound, which the text names.
    """
    if len(pairs) > MOST_PARAMETERS:
        raise TooCostly(f"A search takes at most {MOST_PARAMETERS} parameters.")
    reader = Reader(ZoneInfo(zone) if isinstance(zone, str) else zone, now, base_url.rstrip("/"))
    within = types[0] if len(types) == 1 and "/" in types[0] else ""
    building = _Building(types, registry, reader, count, within)
    return building.query(*_taken(building, pairs, lenient))


def _taken(
    building: _Building, pairs: Sequence[tuple[str, str]], lenient: bool
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Let the query take its parameters; return those that ran, and the names of those that were left out."""
    ran: list[tuple[str, str]] = []
    ignored: list[str] = []
    # _type first: it says which parameters there are.
    for name, value in sorted(pairs, key=lambda pair: pair[0] != "_type"):
        if name == "_format":
            continue
        try:
            if name == "_pretty":
                read_flag(name, value)
                continue
            building.take(name, value)
            # The self link shows what ran: a page size beyond the bound was cut.
            ran.append((name, str(read_count(value)) if name == "_count" else value))
        except UnsupportedModifier:
            raise
        except (UnknownParameter, BadParameter):
            if not lenient:
                raise
            ignored.append(shown(name))
    for names, text in building.contradictions():
        if not lenient:
            raise BadParameter(text)
        building.leave_out(names)
        ignored += [name for name, _ in ran if name.partition(":")[0] in names]
        ran = [pair for pair in ran if pair[0].partition(":")[0] not in names]
    return tuple(ran), tuple(dict.fromkeys(ignored))


class _Building:
    """A query while its parameters are read."""

    def __init__(self, types: Sequence[str], registry: Registry, reader: Reader, count: int, within: str) -> None:
        self._within, own = read_within(within) if within else ("", tuple(types))
        self._types = own or tuple(sorted(resource_types()))
        self._is_system = not types or len(own) > 1
        self._registry = registry
        self._clauses = Clauses(registry, reader)
        self._where: list[Clause] = []
        self._includes: list[Include] = []
        self._once: dict[str, Any] = {"count": count}
        self._seen: set[str] = set()

    def take(self, name: str, value: str) -> None:
        """Read one parameter; the query is unchanged where it raises."""
        if len(name) > MAX_NAME:
            raise TooCostly(f"The name of a parameter is longer than {MAX_NAME} characters.")
        if name in _RESULTS or name in ("_type", "_totalMethod"):
            self._take_once(name, value)
        elif name.partition(":")[0] in ("_include", "_revinclude"):
            self._includes += read_include(name, value, self._types, self._registry)
            if len({(i.parameter, i.source if i.parameter else i.reverse) for i in self._includes}) > MOST_INCLUDES:
                raise TooCostly(f"A search takes at most {MOST_INCLUDES} includes.")
        elif name.partition(":")[0] in _RESULTS:
            raise UnsupportedModifier(f"The parameter '{shown(name)}' takes no modifier.")
        else:
            self._where.append(self._clauses.clause(self._types, name, value))

    def _take_once(self, name: str, value: str) -> None:
        if name == "_totalMethod":  # by which fhirpy counts
            name, value = "_total", read_method(value)
        if name in self._seen:
            raise BadParameter(f"The parameter '{name}' is given twice.")
        if name == "_type":
            if not self._is_system:
                raise UnknownParameter("The parameter '_type' is for searches of the whole system.")
            self._types = read_types(value, self._types)
        else:
            field, read = _RESULTS[name]
            self._once[field] = read(self, value)
        self._seen.add(name)

    def contradictions(self) -> list[tuple[frozenset[str], str]]:
        """Return what cannot stand beside the rest of the query: names of parameters, and why.

        Source: https://hl7.org/fhir/R4/search.html#summary: "the _include and _revinclude parameters cannot be
        mixed with _summary=text".
        """
        found = []
        if self._includes and self._once.get("summary") == "text":
            found.append((_INCLUDES, "The parameters '_include' and '_revinclude' cannot stand with '_summary=text'."))
        types = resource_types() if self._includes else self._types
        if not all(is_element(name, types) for name in self._once.get("elements", ())):
            text = "The parameter '_elements' names an element that what is searched does not have."
            found.append((frozenset({"_elements"}), text))
        return found

    def leave_out(self, names: frozenset[str]) -> None:
        """Forget parameters that were taken."""
        if "_elements" in names:
            self._once.pop("elements", None)
        else:
            self._includes.clear()

    def _sort(self, value: str) -> object:
        return read_sort(value, self._types, self._clauses)

    def query(self, ran: tuple[tuple[str, str], ...], ignored: tuple[str, ...]) -> Query:
        """Return what was read; `_count=0` asks for the count alone, as `_summary=count` does."""
        if self._once["count"] == 0:
            self._once["summary"] = "count"
        if self._within:
            self._where.insert(0, clause(self._within, self._types))
        return Query(
            self._types,
            of_codes(self._where),
            within=self._within,
            includes=tuple(self._includes),
            ignored=ignored,
            text=ran,
            **self._once,
        )


_RESULTS: Final[dict[str, tuple[str, Callable[[_Building, str], object]]]] = {
    "_count": ("count", lambda _, value: read_count(value)),
    "_total": ("total", lambda _, value: read_choice("_total", value, TOTALS)),
    "_summary": ("summary", lambda _, value: read_choice("_summary", value, SUMMARIES)),
    "_elements": ("elements", lambda _, value: read_elements(value)),
    "_sort": ("sort", _Building._sort),
    "_explain": ("explain", lambda _, value: read_flag("_explain", value)),
    "_contained": ("contained", lambda _, value: read_choice("_contained", value, CONTAINED)),
    "_containedType": ("contained_type", lambda _, value: read_choice("_containedType", value, CONTAINED_TYPES)),
}
"""Result parameters that are given once, with the field of `Query` that each sets."""
