"""A FHIRPath Patch as Parameters: read into operations, its values into content for the place they go to.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/fhirpatch.html
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from fhir_server.definitions import Element, structure
from fhir_server.errors import BadRequest
from fhir_server.fhirpath import Compiled, compile
from fhir_server.fhirpath.types import is_primitive
from fhir_server.patch.marks import marked
from fhir_server.patch.target import check_number, malformed, unfit

MOST_PATH: Final = 1_000  # characters of a path

_NEEDS: Final = {
    "add": ("name", "value"),
    "insert": ("value", "index"),
    "delete": (),
    "replace": ("value",),
    "move": ("source", "destination"),
}
_NUMBERS: Final = frozenset({"index", "source", "destination"})


class Operation(NamedTuple):
    """One operation, read and checked for its form."""

    number: int
    type: str
    path: Compiled
    name: str = ""
    value: dict[str, Any] | None = None  # the part that holds it
    at: int = 0  # index of insert; of move: the source
    destination: int = 0


class Content(NamedTuple):
    """What goes to a place, marked."""

    type: str
    value: Any
    extra: dict[str, Any] | None  # of a primitive: its mark, with its id and extensions

    def key(self, element: Element) -> str:
        """Return the JSON key of an element that holds this."""
        return element.name + self.type[0].upper() + self.type[1:] if element.choice else element.name


def read_operations(document: Any) -> list[Operation]:
    """Read Parameters; raise BadRequest, or TooCostly for more than 1,000 operations."""
    if not isinstance(document, dict) or document.get("resourceType") != "Parameters":
        raise BadRequest("A FHIRPath Patch is a Parameters resource.")
    parameters = document.get("parameter", [])
    if not isinstance(parameters, list):
        raise BadRequest("Parameters.parameter is a list.")
    check_number(len(parameters))
    return [_operation(number, parameter) for number, parameter in enumerate(parameters)]


def _operation(number: int, parameter: Any) -> Operation:
    if not isinstance(parameter, dict) or parameter.get("name") != "operation":
        raise malformed(number, "its name is operation.")
    parts = _parts(number, parameter.get("part"))
    type = _string(number, parts, "type")
    if type not in _NEEDS:
        raise malformed(number, "type is one of add, insert, delete, replace, move.")
    for needed in _NEEDS[type]:
        if needed not in parts:
            raise malformed(number, f"it has no {needed}.")
    numbers = {name: _number(number, parts[name], name) for name in _NUMBERS & parts.keys()}
    return Operation(
        number,
        type,
        _path(number, _string(number, parts, "path")),
        _string(number, parts, "name") if type == "add" else "",
        parts.get("value"),
        numbers.get("index", numbers.get("source", 0)),
        numbers.get("destination", 0),
    )


def _parts(number: int, given: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(given, list) or not all(isinstance(p, dict) and isinstance(p.get("name"), str) for p in given):
        raise malformed(number, "its parts are objects with a name.")
    made = {part["name"]: part for part in given}
    if len(made) != len(given):
        raise malformed(number, "it has the same part twice.")
    return made


def _string(number: int, parts: dict[str, dict[str, Any]], name: str) -> str:
    part = parts.get(name, {})
    text = part.get("valueString", part.get("valueCode"))
    if not isinstance(text, str) or not text:
        raise malformed(number, f"{name} is a string.")
    return text


def _number(number: int, part: dict[str, Any], name: str) -> int:
    value = part.get("valueInteger")
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise malformed(number, f"{name} is an integer, not below 0.")
    return value


def _path(number: int, text: str) -> Compiled:
    """Compile a path; without regular expressions, whose cost no bound on steps holds."""
    if len(text) > MOST_PATH:
        raise malformed(number, "its path is longer than 1,000 characters.")
    if "atches" in text:
        raise malformed(number, "a path uses no regular expressions here.")
    try:
        return compile(text)
    except BadRequest:
        raise malformed(number, "its path is no FHIRPath.") from None


def content(number: int, part: dict[str, Any], element: Element) -> Content:
    """Read the value of a part as content of an element.

    Raises:
        BadRequest: The part holds no single value.
        Unprocessable: It is not of a type that the element has.
    """
    if "part" in part:
        type = _only_complex(number, element)
        return Content(type, _anonymous(number, part["part"], type), None)
    if "resource" in part:
        if "Resource" not in element.types or not isinstance(part["resource"], dict):
            raise unfit(number, "the value is of another type than the element.")
        return Content("Resource", marked(part["resource"]), None)
    names = {key.removeprefix("_") for key in part if key.removeprefix("_").startswith("value")}
    if len(names) != 1:
        raise malformed(number, "a value is one value[x], a resource, or parts.")
    (name,) = names
    value, extra = part.get(name), part.get(f"_{name}")
    type = _type(number, name.removeprefix("value"), element)
    if isinstance(value, list) or is_primitive(type) == isinstance(value, dict) or not isinstance(extra or {}, dict):
        raise malformed(number, "the value is not what its name says.")
    if is_primitive(type):
        mark = marked({"value": value} if extra is None else {"value": value, "_value": extra})
        return Content(type, value, mark["_value"])
    return Content(type, marked(value or {}), None)


def _only_complex(number: int, element: Element) -> str:
    if element.choice or len(element.types) != 1 or is_primitive(element.types[0]) or element.types[0] == "Resource":
        raise unfit(number, "the value is of another type than the element.")
    return element.types[0]


def _type(number: int, suffix: str, element: Element) -> str:
    """Return the element's type that a value[x] stands for; primitives may stand for each other, not in choices."""
    for type in element.types:
        if type[0].upper() + type[1:] == suffix:
            return type
    lower = suffix[:1].lower() + suffix[1:]
    if not element.choice and is_primitive(lower) and is_primitive(element.types[0]):
        return element.types[0]  # a string for a code or for xhtml; the validation of the result judges it
    raise unfit(number, "the value is of another type than the element.")


def _anonymous(number: int, parts: Any, type: str) -> dict[str, Any]:
    """Build an element without a type name of its own from nested parts; a part named again is a list's next."""
    made: dict[str, Any] = {}
    if not isinstance(parts, list) or not all(isinstance(p, dict) and isinstance(p.get("name"), str) for p in parts):
        raise malformed(number, "its parts are objects with a name.")
    for part in parts:
        element = structure(type).elements.get(part["name"].removesuffix("[x]"))
        if element is None:
            raise unfit(number, "the value has a part that the element does not have.")
        place(number, made, element, content(number, part, element))
    return made


def place(number: int, parent: dict[str, Any], element: Element, new: Content) -> None:
    """Put content at the end of a list, or where nothing is yet; raise Unprocessable where something is."""
    key = new.key(element)
    if element.is_list:
        if not isinstance(parent.get(key, []), list) or (
            key in parent and (f"_{key}" in parent) != (new.extra is not None)
        ):
            raise unfit(number, "what is there already is no list of that kind.")  # earlier values of the patch itself
        parent.setdefault(key, []).append(new.value)
        if new.extra is not None:
            parent.setdefault(f"_{key}", []).append(new.extra)
        return
    keys = [element.name + t[0].upper() + t[1:] for t in element.types] if element.choice else [element.name]
    if any(k in parent for k in keys):
        raise unfit(number, "the element is there already and is no list.")
    parent[key] = new.value
    if new.extra is not None:
        parent[f"_{key}"] = new.extra
