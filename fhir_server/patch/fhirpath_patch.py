"""FHIRPath Patch: add, insert, delete, replace and move where FHIRPath points.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/fhirpatch.html
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from fhir_server.definitions import Element, property, structure
from fhir_server.errors import TooCostly
from fhir_server.fhirpath import Environment, EvaluationError, Node
from fhir_server.model import Resource
from fhir_server.patch.marks import Place, marked, places, unmarked
from fhir_server.patch.parameters import Content, Operation, content, place, read_operations
from fhir_server.patch.target import unfit, worked

MOST_VISITED: Final = 200_000  # elements walked over by one patch: operations times elements of the resource
MOST_STEPS: Final = 1_000_000  # steps of all expressions of one patch; each has an equal share


def read(document: Any) -> Callable[[Resource], Resource]:
    """Check Parameters and return the patch; raise BadRequest or TooCostly where they are none."""
    return partial(_apply, read_operations(document))


def apply(resource: Resource, patch: Any) -> Resource:
    """Return the resource with a FHIRPath Patch applied; see `document.read` for what it raises."""
    return read(patch)(resource)


def _apply(operations: list[Operation], resource: Resource) -> Resource:
    return worked(resource, lambda target: _run(operations, target))


def _run(operations: list[Operation], target: Resource) -> Resource:
    root = marked(target)
    environment = Environment(most_steps=MOST_STEPS // max(1, len(operations)))
    room = MOST_VISITED
    for asked in operations:
        known = places(root)
        room -= len(known) + 1
        if room < 0:
            raise TooCostly("The patch has too many operations for a resource of this size.")
        _WORK[asked.type](asked, known, _nodes(asked, root, environment))
    return unmarked(root)


def _nodes(asked: Operation, root: dict[str, Any], environment: Environment) -> list[Node]:
    """Evaluate the path; raise Unprocessable where it fails or leads to what stands nowhere."""
    try:
        found = asked.path.items(root, environment=environment)
    except EvaluationError:
        raise unfit(asked.number, "its path cannot be evaluated on this resource.") from None
    if not all(isinstance(item, Node) for item in found):
        raise unfit(asked.number, "its path leads to no element of the resource.")
    return found


def _one(asked: Operation, nodes: list[Node]) -> Node:
    if len(nodes) != 1:
        raise unfit(asked.number, "its path leads to no element, or to several.")
    return nodes[0]


def _object(node: Node) -> Any:
    """Return what an element is known by: its JSON object, or the mark of a primitive."""
    return node.value if isinstance(node.value, dict) else node.extra


def _place(asked: Operation, known: dict[int, Place], node: Node) -> Place:
    found = known.get(id(_object(node)))
    if found is None:
        raise unfit(asked.number, "its path leads to no element inside of the resource.")
    return found


def _list(asked: Operation, known: dict[int, Place], nodes: list[Node]) -> Place:
    """Return the place of the first element of a list whose elements, all of them, the path leads to."""
    if not nodes:
        raise unfit(asked.number, "its path leads to no element.")
    found = [_place(asked, known, node) for node in nodes]
    first = found[0]
    if any(p.parent is not first.parent or p.key != first.key or p.at != n for n, p in enumerate(found)):
        raise unfit(asked.number, "its path does not lead to one list.")
    if len(found) != len(first.parent[first.key]):
        raise unfit(asked.number, "its path leads to a part of a list only.")
    return first


def _element(asked: Operation, type: str, key: str) -> Element:
    try:
        found = property(type, key)
    except KeyError:
        found = None
    if found is None:
        raise unfit(asked.number, "R4 does not know the element.")
    return found[0]


def _add(asked: Operation, known: dict[int, Place], nodes: list[Node]) -> None:
    node = _one(asked, nodes)
    parent = _object(node)
    type = node.type if parent is node.value else "Element"
    try:
        element = structure(type).elements.get(asked.name.removesuffix("[x]"))
    except KeyError:
        element = None
    if element is None or parent is None:
        raise unfit(asked.number, "the element that its path leads to has no element of that name.")
    place(asked.number, parent, element, content(asked.number, asked.value or {}, element))


def _insert(asked: Operation, known: dict[int, Place], nodes: list[Node]) -> None:
    first = _list(asked, known, nodes)
    if asked.at > len(nodes):
        raise unfit(asked.number, "its index is behind the end of the list.")
    new = content(asked.number, asked.value or {}, _element(asked, first.type, first.key))
    _check_kind(asked, first, new)
    first.parent[first.key].insert(asked.at, new.value)
    if new.extra is not None:
        first.parent[f"_{first.key}"].insert(asked.at, new.extra)


def _check_kind(asked: Operation, where: Place, new: Content) -> None:
    """Raise Unprocessable where a list holds what its type does not have: earlier values of the patch itself."""
    if where.is_primitive != (new.extra is not None):
        raise unfit(asked.number, "what is there already is no list of that kind.")


def _delete(asked: Operation, known: dict[int, Place], nodes: list[Node]) -> None:
    """Remove one element; R4 says `if found`, so that none is no failure."""
    if not nodes:
        return
    where = _place(asked, known, _one(asked, nodes))
    keys = (where.key, f"_{where.key}") if where.is_primitive else (where.key,)
    for key in keys:
        if where.at is None:
            del where.parent[key]
        else:
            del where.parent[key][where.at]
            if not where.parent[key]:
                del where.parent[key]


def _replace(asked: Operation, known: dict[int, Place], nodes: list[Node]) -> None:
    where = _place(asked, known, _one(asked, nodes))
    element = _element(asked, where.type, where.key)
    new = content(asked.number, asked.value or {}, element)
    if where.at is None:
        _substitute(where, new.key(element), new)
        return
    _check_kind(asked, where, new)
    where.parent[where.key][where.at] = new.value
    if new.extra is not None:
        where.parent[f"_{where.key}"][where.at] = new.extra


def _substitute(where: Place, key: str, new: Content) -> None:
    """Put new content in the order where the old was; a choice may change its key."""
    before = list(where.parent.items())
    where.parent.clear()
    for name, item in before:
        if name == where.key:
            where.parent[key] = new.value
            if new.extra is not None:
                where.parent[f"_{key}"] = new.extra
        elif name != f"_{where.key}":
            where.parent[name] = item


def _move(asked: Operation, known: dict[int, Place], nodes: list[Node]) -> None:
    """Take an element out of its list and put it where it then has the index `destination`."""
    first = _list(asked, known, nodes)
    if max(asked.at, asked.destination) >= len(nodes):
        raise unfit(asked.number, "source or destination is behind the end of the list.")
    for key in (first.key, f"_{first.key}") if first.is_primitive else (first.key,):
        items = first.parent[key]
        items.insert(asked.destination, items.pop(asked.at))


_WORK: Final[dict[str, Callable[[Operation, dict[int, Place], list[Node]], None]]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}
