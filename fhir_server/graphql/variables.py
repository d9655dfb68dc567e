"""The values of a query's variables.

Source: https://spec.graphql.org/October2021/#sec-Coercing-Variable-Values
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from fhir_server.graphql.failures import QueryError, shown
from fhir_server.graphql.syntax import Query, Value, Variable, VariableDefinition


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return _is_int(value) or isinstance(value, Decimal)


# FHIR's own primitives as types of variables: https://hl7.org/fhir/R4/graphql.html; all others are written as text
_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "Int": _is_int,
    "integer": _is_int,
    "positiveInt": _is_int,
    "unsignedInt": _is_int,
    "Float": _is_number,
    "decimal": _is_number,
    "Boolean": lambda value: isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "ID": lambda value: _is_text(value) or _is_int(value),
}
MOST_ITEMS: Final = 1_000


def coerced(query: Query, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of each variable that has one.

    Raises:
        QueryError: One is missing, of another type, or not defined.
    """
    made: dict[str, Any] = {}
    for definition in query.variables:
        if definition.name in made:
            raise QueryError(f"The variable ${shown(definition.name)} is defined twice.", definition.at)
        if definition.name in given:
            made[definition.name] = _checked(definition, given[definition.name])
        elif definition.has_default:
            made[definition.name] = _checked(definition, definition.default)
        elif definition.type.is_required:
            raise QueryError(f"The variable ${shown(definition.name)} has no value.", definition.at)
        else:
            made[definition.name] = None
    return made


def _checked(definition: VariableDefinition, value: Any) -> Any:
    type = definition.type
    if value is None:
        if type.is_required:
            raise QueryError(f"The variable ${shown(definition.name)} has no value.", definition.at)
        return None
    items = value if isinstance(value, list) else [value]
    if (isinstance(value, list) and not type.is_list) or len(items) > MOST_ITEMS:
        raise QueryError(f"The variable ${shown(definition.name)} is no list of at most {MOST_ITEMS}.", definition.at)
    fits = _KINDS.get(type.name, _is_text)
    if not all(fits(item) for item in items):
        raise QueryError(f"The variable ${shown(definition.name)} is no {shown(type.name)}.", definition.at)
    return items if type.is_list else value


def resolved(value: Value, variables: Mapping[str, Any]) -> Any:
    """Return a value with its variables replaced; raise QueryError for one that is not defined."""
    if isinstance(value, Variable):
        if value.name not in variables:
            raise QueryError(f"The variable ${shown(value.name)} is not defined.", value.at)
        return variables[value.name]
    if isinstance(value, list):
        return [resolved(item, variables) for item in value]
    return value
