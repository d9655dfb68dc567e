"""What turns one resource into another, as a FHIRPath Patch that our own patch engine takes.

Applied to the first resource it gives the second, to the last digit; the order of keys in an object, which has no
meaning in FHIR, may differ. The id, and what the server gives (`meta.versionId`, `meta.lastUpdated`), are no part of
it. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/fhirpatch.html
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import zip_longest
from typing import Any, Final, NamedTuple, TypeAlias

from fhir_server import gate
from fhir_server.definitions import Element, property, structure
from fhir_server.errors import FhirError, Unprocessable
from fhir_server.fhirpath.types import is_primitive
from fhir_server.model import Resource
from fhir_server.patch import fhirpath_patch

Part: TypeAlias = dict[str, Any]

MOST: Final = 1_000  # operations of a patch
_STAMPS: Final = ("versionId", "lastUpdated")
# Words that FHIRPath's grammar knows, and that elements of R4 bear too: https://hl7.org/fhirpath/N1/#grammar
_KEYWORDS: Final = frozenset(
    {
        "and", "as", "contains", "day", "days", "div", "false", "hour", "hours", "implies", "in", "is", "millisecond",
        "milliseconds", "minute", "minutes", "mod", "month", "months", "or", "second", "seconds", "true", "week",
        "weeks", "xor", "year", "years",
    }
)  # fmt: skip


class _Field(NamedTuple):
    """An element of an object: all of its values, with what stands beside primitives."""

    element: Element
    type: str
    values: list[Any]
    extras: list[Any]  # of primitives; None where there is nothing


def difference(before: Resource, after: Resource) -> Resource:
    """Return the patch as Parameters.

    Args:
        before: Where the patch begins.
        after: Of the same type.

    Raises:
        Unprocessable: They are of different types, or differ in more than 1,000 places.
    """
    if before["resourceType"] != after["resourceType"]:
        raise Unprocessable("Resources of different types have no difference that a patch can make.")
    wanted = _wanted(before, after)
    for fine in (True, False):
        operations = _Writer(fine).object(before, wanted, before["resourceType"], before["resourceType"])
        patch: Resource = {"resourceType": "Parameters"} | ({"parameter": operations} if operations else {})
        if len(operations) <= MOST and _leads(before, patch, wanted):
            return patch
    raise Unprocessable("The resources differ in more than a patch of 1,000 operations can change.")


def _wanted(before: Resource, after: Resource) -> Resource:
    """Return what the patch is to give: the second resource under the id and stamps of the first."""
    made = {name: value for name, value in after.items() if name not in ("id", "_id")}
    made |= {name: before[name] for name in ("id", "_id") if name in before}
    stamps = {name: value for name, value in before.get("meta", {}).items() if name in _STAMPS}
    meta = stamps | {name: value for name, value in after.get("meta", {}).items() if name not in _STAMPS}
    made.pop("meta", None)
    return made | ({"meta": meta} if meta else {})


def _leads(before: Resource, patch: Resource, wanted: Resource) -> bool:
    try:
        return sorted_bytes(fhirpath_patch.apply(before, patch)) == sorted_bytes(wanted)
    except FhirError:
        return False


def sorted_bytes(value: Any) -> bytes:
    """Return JSON with the keys of each object in order."""
    return gate.write(_sorted(value))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


def _is_same(one: Any, other: Any) -> bool:
    return sorted_bytes(one) == sorted_bytes(other)


@cache
def _open_types() -> frozenset[str]:
    """Return the types that Parameters.parameter.value[x] takes."""
    return frozenset(structure("Parameters.parameter").elements["value"].types)


def _fields(value: dict[str, Any], type: str) -> dict[str, _Field]:
    """Return the elements of an object by name; raise Unprocessable for what R4 does not know."""
    found: dict[str, _Field] = {}
    for key in dict.fromkeys(name.removeprefix("_") for name in value if name != "resourceType"):
        known = property(type, key)
        if known is None:
            raise Unprocessable("A resource has an element that R4 does not know.")
        element, own = known
        values, extras = _listed(value.get(key)), _listed(value.get(f"_{key}"))
        pairs = list(zip_longest(values, extras))
        found[element.name] = _Field(element, own, [a for a, _ in pairs], [b for _, b in pairs])
    return found


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _named(path: str, name: str) -> str:
    return f"{path}.`{name}`" if name in _KEYWORDS else f"{path}.{name}"


class _Writer:
    """Writes the operations of a patch; a coarse one replaces whole elements of the resource."""

    def __init__(self, fine: bool) -> None:
        self._fine = fine

    def object(self, before: dict[str, Any], after: dict[str, Any], type: str, path: str) -> list[Part]:
        """Return what turns one object into another of the same type."""
        ours, theirs = _fields(before, type), _fields(after, type)
        made: list[Part] = []
        for name, field in ours.items():
            if name not in theirs:
                made += _deleted(_named(path, name), field.element, range(len(field.values)))
        for name, field in theirs.items():
            if name not in ours:
                made += [_added(path, field, n) for n in range(len(field.values))]
            elif not _is_same(ours[name][1:], field[1:]):
                made += self._changed(ours[name], field, path)
        return made

    def _changed(self, ours: _Field, theirs: _Field, path: str) -> list[Part]:
        own = _named(path, theirs.element.name)
        if not theirs.element.is_list:
            return self._item(ours, 0, theirs, 0, own)
        if not self._fine and "." not in path:
            return [
                *_deleted(own, ours.element, range(len(ours.values))),
                *(_added(path, theirs, n) for n in range(len(theirs.values))),
            ]
        return self._list(ours, theirs, own)

    def _list(self, ours: _Field, theirs: _Field, path: str) -> list[Part]:
        """Keep what the lists begin and end with; change what stands between, item by item."""
        one, other = list(zip(*ours[2:], strict=True)), list(zip(*theirs[2:], strict=True))
        begin = _common(one, other)
        end = min(_common(one[::-1], other[::-1]), min(len(one), len(other)) - begin)
        both = min(len(one), len(other)) - end - begin
        made: list[Part] = []
        for n in range(begin, begin + both):
            made += self._item(ours, n, theirs, n, f"{path}[{n}]")
        made += _deleted(path, ours.element, range(begin + both, len(one) - end))
        for n in range(begin + both, len(other) - end):
            index = {"name": "index", "valueInteger": n}
            made.append(_operation("insert", path, _value(theirs, n), index))
        return made

    def _item(self, ours: _Field, n: int, theirs: _Field, m: int, path: str) -> list[Part]:
        before, after = ours.values[n], theirs.values[m]
        if _is_same((before, ours.extras[n], ours.type), (after, theirs.extras[m], theirs.type)):
            return []
        type = theirs.type
        may_part = ours.type == type and (self._fine or type == "Meta")
        if may_part and isinstance(before, dict) and isinstance(after, dict):
            if type == "Resource":
                type = after.get("resourceType", "")
            if before.get("resourceType") == after.get("resourceType") and _is_like(before, after):
                return self.object(before, after, type, path)
        return [_operation("replace", path, _value(theirs, m))]


def _common(one: list[Any], other: list[Any]) -> int:
    """Return with how many equal items two lists begin."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if not _is_same(a, b)),
                min(len(one), len(other)))  # fmt: skip


def _is_like(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether two objects share enough to be changed part by part; always where the server's stamps are in them."""
    same = sum(name in after and _is_same(value, after[name]) for name, value in before.items())
    return 2 * same >= min(len(before), len(after)) or "versionId" in before or len(before) <= 2


def _deleted(path: str, element: Element, places: Iterable[int]) -> list[Part]:
    if not element.is_list:
        return [_operation("delete", path)]
    return [_operation("delete", f"{path}[{place}]") for place in sorted(places, reverse=True)]


def _added(path: str, field: _Field, n: int) -> Part:
    return _operation("add", path, {"name": "name", "valueString": field.element.name}, _value(field, n))


def _operation(type: str, path: str, *more: Part) -> Part:
    head = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    return {"name": "operation", "part": [*head, *more]}


def _value(field: _Field, n: int, name: str = "value") -> Part:
    """Return one value of an element as a part of Parameters."""
    value, extra, type = field.values[n], field.extras[n], field.type
    if type == "Resource":
        return {"name": name, "resource": value}
    if type not in _open_types() and not is_primitive(type):
        inner = _fields(value, type)
        return {"name": name, "part": [_value(f, m, key) for key, f in inner.items() for m in range(len(f.values))]}
    suffix = "String" if type not in _open_types() else type[0].upper() + type[1:]  # xhtml is a string there
    made: Part = {"name": name}
    if value is not None:
        made[f"value{suffix}"] = value
    if extra is not None:
        made[f"_value{suffix}"] = extra
    return made
