"""What an operation is given: parameters of the query string and of a Parameters body, by name.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/operations.html#request
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from fhir_server.definitions import properties
from fhir_server.errors import BadParameter, BadRequest, UnknownParameter
from fhir_server.interface import OperationCall, OperationParameter

Inputs: TypeAlias = Mapping[str, "list[Any]"]
"""Values by name: text from the query string, JSON values or resources from the body."""

COMMON: Final = frozenset({"_format", "_pretty"})
MOST: Final = 200  # values that an operation is given
_LONGEST: Final = 60  # characters of a name that an error shows
_ITEM: Final = "Parameters.parameter"
_NUMBERS: Final = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})


def names(parameters: Iterable[OperationParameter]) -> frozenset[str]:
    """Return the names of what an operation takes."""
    return frozenset(parameter.name for parameter in parameters if parameter.use == "in")


def read_inputs(call: OperationCall, known: Collection[str]) -> Inputs:
    """Return the parameters of a call.

    Raises:
        UnknownParameter: One that the operation does not have: nothing is ignored in silence.
        BadParameter: The body is no Parameters, or a parameter has no single value.
    """
    made: dict[str, list[Any]] = {}
    given = [(name, value) for name, values in call.parameters.items() if name not in COMMON for value in values]
    for name, value in [*given, *read_body(call)]:
        if name not in known:
            raise UnknownParameter(f"The operation has no parameter '{shown(name)}'.")
        made.setdefault(name, []).append(value)
    return made


def refuse_empty(inputs: Inputs) -> None:
    """Raise BadParameter where a parameter is named without a value: what was to narrow an answer would not."""
    for name, values in inputs.items():
        if "" in values:
            raise BadParameter(f"The parameter '{name}' has an empty value.")


def read_body(call: OperationCall) -> list[tuple[str, Any]]:
    """Return names and values of a Parameters body, in order; raise BadParameter where it is none of R4's form."""
    if call.resource is None:
        return []
    items = call.resource.get("parameter", [])
    if call.resource.get("resourceType") != "Parameters" or not isinstance(items, list) or len(items) > MOST:
        raise BadParameter(f"The body of the operation is a Parameters resource with at most {MOST} values.")
    _refuse_strange(call.resource, "Parameters")
    return [_of_item(item) for item in items]


def _of_item(item: Any) -> tuple[str, Any]:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise BadParameter("Each parameter has a name.")
    _refuse_strange(item, _ITEM)
    values = [key for key in item if key.startswith("value") or key == "resource"]
    if len(values) != 1 or "part" in item:
        raise BadParameter("Each parameter has one value[x], or a resource.")
    key, value = values[0], item[values[0]]
    if not _is_of(value, properties(_ITEM)[key][1]):
        raise BadParameter(f"The {key} of the parameter '{shown(item['name'])}' is empty, or not of that type.")
    return item["name"], value


def _refuse_strange(held: Mapping[str, Any], path: str) -> None:
    """Raise BadParameter for an element that R4 does not have there: a value misspelt would be a value not given."""
    known = properties(path)
    for name in held:
        if name.removeprefix("_") not in known and name != "resourceType":
            raise BadParameter(f"R4's {path} has no element '{shown(name)}'.")


def _is_of(value: Any, type: str) -> bool:
    """Whether a value is of the JSON kind of a type, and not empty."""
    if type == "boolean":
        return isinstance(value, bool)
    if type in _NUMBERS:
        return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return isinstance(value, dict if type[0].isupper() else str) and bool(value)


def shown(name: str) -> str:
    """Return a name as an error shows it."""
    return "".join(c if c.isprintable() else "?" for c in name[:_LONGEST])


def texts(inputs: Inputs, name: str) -> list[str]:
    """Return all values of a parameter that is text; raise BadParameter where one is not."""
    values = inputs.get(name, [])
    if not all(isinstance(value, str) for value in values):
        raise BadParameter(f"The parameter '{name}' is text.")
    return list(values)


def text(inputs: Inputs, name: str) -> str:
    """Return the value of a parameter that is one text; "" where it is not given."""
    values = texts(inputs, name)
    if len(values) > 1:
        raise BadParameter(f"The parameter '{name}' is given once.")
    return values[0] if values else ""


def whole(inputs: Inputs, name: str, *, default: int, most: int) -> int:
    """Return a parameter that is a whole number above 0; larger ones are refused, so that none is cut in silence."""
    value = _one(inputs, name)
    if value is None:
        return default
    number = str(value)
    if isinstance(value, bool) or not number.isascii() or not number.isdigit() or len(number) > 9 or int(number) < 1:
        raise BadParameter(f"The parameter '{name}' is a whole number above 0.")
    if int(number) > most:
        raise BadParameter(f"The parameter '{name}' is at most {most} here.")
    return int(number)


def decimal(inputs: Inputs, name: str) -> Decimal | None:
    """Return a parameter that is a number; None where it is not given."""
    value = _one(inputs, name)
    if value is None:
        return None
    try:
        number = Decimal(value) if not isinstance(value, bool) else None
    except (InvalidOperation, TypeError, ValueError):
        number = None
    if number is None or not number.is_finite():
        raise BadParameter(f"The parameter '{name}' is a number.")
    return number


def flag(inputs: Inputs, name: str) -> bool:
    """Return a parameter that is true or false; false where it is not given."""
    value = _one(inputs, name)
    if value not in (None, True, False, "true", "false"):
        raise BadParameter(f"The parameter '{name}' is true or false.")
    return value in (True, "true")


def element(inputs: Inputs, name: str) -> dict[str, Any] | None:
    """Return a parameter that is an object, which only a body can carry; None where it is not given."""
    value = _one(inputs, name)
    if value is not None and not isinstance(value, dict):
        raise BadRequest(f"The parameter '{name}' is sent in a Parameters body.")
    return value


def _one(inputs: Inputs, name: str) -> Any:
    values = inputs.get(name, [])
    if len(values) > 1:
        raise BadParameter(f"The parameter '{name}' is given once.")
    return values[0] if values else None
