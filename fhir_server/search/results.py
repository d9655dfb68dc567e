"""Search result parameters: what is returned of the matches, and in what order.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#Summary (sort, count, include, total, summary, elements)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from fhir_server.definitions import property, resource_types, structure
from fhir_server.errors import BadParameter, TooCostly, UnknownParameter
from fhir_server.search.asks import UnsupportedModifier, targets
from fhir_server.search.clauses import MOST_HOPS, Clauses, Registry, shown
from fhir_server.search.query import Include, Parameter, Sort

MOST_RESULTS: Final = 1_000  # on one page; a larger _count is cut to it
MOST_KEYS: Final = 5  # of _sort
MOST_ELEMENTS: Final = 200  # of _elements
MOST_INCLUDES: Final = 20  # _include and _revinclude of a query

TOTALS: Final = ("none", "estimate", "accurate")
CONTAINED: Final = ("true", "false", "both")
CONTAINED_TYPES: Final = ("container", "contained")
SUMMARIES: Final = ("true", "text", "data", "count", "false")

_SORTABLE: Final = frozenset({"number", "date", "string", "token", "reference", "quantity", "uri"})
_ELEMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}(?:\.[A-Za-z_][A-Za-z0-9_]{0,63}){0,7}")
_MAX_COUNT: Final = 18  # digits


def read_count(value: str) -> int:
    """Read `_count`; more than 1,000 is cut to it."""
    if not value.isascii() or not value.isdigit() or len(value) > _MAX_COUNT:
        raise BadParameter("The parameter '_count' takes a whole number, 0 or more.")
    return min(int(value), MOST_RESULTS)


def read_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Read a parameter that takes one of a few words."""
    if value not in choices:
        raise BadParameter(f"The parameter '{name}' takes one of {', '.join(choices)}.")
    return value


def read_method(value: str) -> str:
    """Read `_totalMethod`, which R4 does not have and fhirpy sends; return what `_total` says for it."""
    if value != "count":
        raise BadParameter("The parameter '_totalMethod' takes count; R4's own parameter is _total.")
    return "accurate"


def read_elements(value: str) -> tuple[str, ...]:
    """Read `_elements`: names of elements at the root of the resource, or below it with their path (`name.family`)."""
    names = value.split(",")
    if len(names) > MOST_ELEMENTS:
        raise TooCostly(f"The parameter '_elements' takes at most {MOST_ELEMENTS} names.")
    if not all(_ELEMENT.fullmatch(name) for name in names):
        raise BadParameter("The parameter '_elements' takes names of elements, parted by commas.")
    return tuple(names)


def is_element(path: str, types: Iterable[str]) -> bool:
    """Whether some of these types has the element that a name of `_elements` leads to."""
    first, _, rest = path.partition(".")
    if rest and first in resource_types():
        return first in types and _leads(first, rest.split("."))
    return any(_leads(type, path.split(".")) for type in types)


def _leads(type: str, names: Sequence[str]) -> bool:
    first, *rest = names
    if first == "resourceType":
        return not rest
    try:
        found = structure(type).elements.get(first)
        keyed = property(type, first)
    except KeyError:  # a type without elements
        return False
    if found is not None and found.choice:  # named without its type, which what follows depends on
        return True
    return keyed is not None and (not rest or _leads(keyed[1], rest))


def read_types(value: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """Read `_type`, which narrows a search of the whole system."""
    types = tuple(dict.fromkeys(value.split(",")))
    if not set(types) <= set(allowed):
        raise BadParameter("The parameter '_type' takes names of resource types that are searched here.")
    return types


def read_flag(name: str, value: str) -> bool:
    """Read a parameter that takes true or false."""
    return read_choice(name, value, ("true", "false")) == "true"


def read_sort(value: str, types: Sequence[str], clauses: Clauses) -> tuple[Sort, ...]:
    """Read `_sort`: codes of parameters, a `-` before those that descend.

    A chain of references may stand before a code, as in `patient.family` or `subject:Patient.birthdate`; R4 has
    none, users ask for it. `_score` is "relevance": every match of a search here is as good as another, so that
    it orders nothing and the keys after it do.
    """
    names = value.split(",")
    if len(names) > MOST_KEYS:
        raise TooCostly(f"The parameter '_sort' takes at most {MOST_KEYS} keys.")
    keys = []
    for name in names:
        steps = name.removeprefix("-")
        if steps != "_score":
            keys.append(_key(steps.split("."), types, clauses, name.startswith("-")))
    return tuple(keys)


def _key(steps: Sequence[str], types: Sequence[str], clauses: Clauses, descending: bool) -> Sort:
    if len(steps) > MOST_HOPS + 1:
        raise TooCostly(f"A key of '_sort' follows at most {MOST_HOPS} references.")
    path: list[tuple[Parameter, str]] = []
    for step in steps[:-1]:
        reference, target = _reference(step, types, steps[len(path) + 1].partition(":")[0], clauses)
        path.append((reference, target))
        types = (target,)
    parameter = clauses.parameter(types, steps[-1])
    if parameter is None or parameter.type not in _SORTABLE:
        raise UnknownParameter("The parameter '_sort' names a parameter that is not known here or has no order.")
    return Sort(parameter, descending, tuple(path))


def _reference(step: str, types: Sequence[str], following: str, clauses: Clauses) -> tuple[Parameter, str]:
    """Return the reference that a step of a chain follows, and the one type of what it leads to."""
    code, _, target = step.partition(":")
    reference = clauses.parameter(types, code)
    if reference is None or reference.type != "reference":
        raise UnknownParameter("The parameter '_sort' has a chain over what is no reference here.")
    possible = targets(reference) or tuple(resource_types())
    if target:
        if target not in possible:
            raise UnknownParameter("The parameter '_sort' names a type that its reference cannot point to.")
        return reference, target
    fitting = [type for type in possible if clauses.parameter((type,), following) is not None]
    if len(fitting) != 1:
        raise BadParameter("The parameter '_sort' has a chain to several types: name one, as subject:Patient.family.")
    return reference, fitting[0]


def read_include(name: str, value: str, types: Sequence[str], registry: Registry) -> tuple[Include, ...]:
    """Read `_include` or `_revinclude`: `Source:parameter[:Target]`, `Source:*` or `*`, with :iterate.

    Args:
        name: As it was sent, with its modifier.
        value: Percent-decoded.
        types: The resource types that are searched.
        registry: Where parameters are defined.
    """
    base, _, modifier = name.partition(":")
    if modifier not in ("", "iterate"):
        raise UnsupportedModifier(f"The parameter '{shown(name)}' has a modifier that is not supported.")
    iterate, reverse = modifier == "iterate", base == "_revinclude"
    if value == "*":
        return tuple(_everything(types, registry, iterate)) if reverse else (Include("*", None, "", iterate),)
    source, code, target = (*value.split(":"), "", "", "")[:3]
    if value.count(":") not in (1, 2) or source not in resource_types() or (target and target not in resource_types()):
        raise BadParameter(f"The parameter '{shown(name)}' takes Type:parameter or Type:parameter:Type.")
    if code == "*":
        return (Include(source, None, target, iterate, reverse),)
    parameter = registry.parameter(source, code)
    if parameter is None or parameter.type != "reference" or not parameter.expression:
        raise UnknownParameter(f"The parameter '{shown(name)}' names a reference parameter that is not known here.")
    if target and target not in (targets(parameter) or (target,)):
        raise BadParameter(f"The parameter '{shown(name)}' names a type that its reference cannot point to.")
    return (Include(source, parameter, target, iterate, reverse),)


def _everything(types: Sequence[str], registry: Registry, iterate: bool) -> list[Include]:
    """Return one `_revinclude` for each type that has some reference to the searched types."""
    made = []
    for source in sorted(resource_types()):
        references = [p for p in registry.parameters_of(source).values() if p.type == "reference" and p.expression]
        if any(set(targets(p) or types) & set(types) for p in references):
            made.append(Include(source, None, "", iterate, reverse=True))
    return made
