"""JSON Patch: add, remove, replace, move, copy and test at JSON Pointers.

Source: RFC 6902, https://www.rfc-editor.org/rfc/rfc6902
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

from fhir_server import gate
from fhir_server.errors import BadRequest, TooCostly
from fhir_server.model import Resource
from fhir_server.patch.pointer import Pointer, find, parse, step
from fhir_server.patch.target import check_number, copied, malformed, unfit, worked

MOST_COPIED: Final = 4 * 1024 * 1024  # bytes of JSON that the copies of one patch may add; copies of copies double

_VALUED: Final = ("add", "replace", "test")
_SOURCED: Final = ("move", "copy")


class Operation(NamedTuple):
    """One operation, read and checked for its form."""

    number: int
    op: str
    path: Pointer
    source: Pointer = ()  # of move and copy
    value: Any = None  # of add, replace and test


def read(document: Any) -> Callable[[Resource], Resource]:
    """Check a document and return the patch; raise BadRequest or TooCostly where it is none."""
    if not isinstance(document, list):
        raise BadRequest("A JSON Patch is a list of operations.")
    check_number(len(document))
    return partial(_apply, [_operation(number, item) for number, item in enumerate(document)])


def apply(resource: Resource, patch: Any) -> Resource:
    """Return the resource with a JSON Patch applied; see `document.read` for what it raises."""
    return read(patch)(resource)


def _operation(number: int, item: Any) -> Operation:
    if not isinstance(item, dict):
        raise malformed(number, "it is no object.")
    op = item.get("op")
    if op not in (*_VALUED, *_SOURCED, "remove"):
        raise malformed(number, "op is one of add, remove, replace, move, copy, test.")
    path = parse(item.get("path"), number, "path")
    if op in _VALUED and "value" not in item:
        raise malformed(number, "it has no value.")
    source = parse(item.get("from"), number, "from") if op in _SOURCED else ()
    if op == "move" and len(source) < len(path) and path[: len(source)] == source:
        raise malformed(number, "nothing is moved into a part of itself.")
    return Operation(number, op, path, source, item.get("value"))


def _apply(operations: list[Operation], resource: Resource) -> Resource:
    return worked(resource, lambda target: _without_emptied(operations, _run(operations, target)))


def _without_emptied(operations: list[Operation], root: Any) -> Any:
    """Leave out of a resource the lists and objects that a removal emptied, which FHIR has not (json.html#json).

    A document that is no resource stays as RFC 6902 makes it.
    """
    if not isinstance(root, dict) or "resourceType" not in root:
        return root
    for asked in operations:
        taken = asked.path if asked.op == "remove" else asked.source if asked.op == "move" else ()
        for depth in range(len(taken) - 1, 0, -1):
            if not _drop_empty(root, taken[:depth]):
                break
    return root


def _drop_empty(root: Any, path: Pointer) -> bool:
    """Remove what stands at a place where it is an empty list or object; return whether it was."""
    for key in path[:-1]:
        root = _at(root, key)
    if _at(root, path[-1]) not in ([], {}):
        return False
    del root[int(path[-1]) if isinstance(root, list) else path[-1]]
    return True


def _at(value: Any, key: str) -> Any:
    """Return what stands under a key or a number; None where nothing does any more."""
    if isinstance(value, list):
        return value[int(key)] if key.isdigit() and int(key) < len(value) else None
    return value.get(key) if isinstance(value, dict) else None


def _run(operations: list[Operation], root: Any) -> Any:
    room = MOST_COPIED
    for asked in operations:
        number = asked.number
        if asked.op == "test":
            if not same(find(root, asked.path, number), asked.value):
                raise unfit(number, "the test failed.")
        elif asked.op == "remove":
            root = _remove(root, asked.path, number)
        elif asked.op == "add":
            root = _add(root, asked.path, copied(asked.value), number)
        elif asked.op == "replace":
            root = _replace(root, asked.path, copied(asked.value), number)
        else:
            value = find(root, asked.source, number)
            if asked.op == "copy":
                room -= len(gate.write(value))
                if room < 0:
                    raise TooCostly("The copies of the patch are larger than 4 MiB together.")
                value = copied(value)
            elif asked.path != asked.source:
                root = _remove(root, asked.source, number)
            else:
                continue
            root = _add(root, asked.path, value, number)
    return root


def _add(root: Any, path: Pointer, value: Any, number: int) -> Any:
    if not path:
        return value
    parent = find(root, path[:-1], number)
    if isinstance(parent, list):
        parent.insert(len(parent) if path[-1] == "-" else int(step(parent, path[-1], number, beyond=True)), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise unfit(number, "the path is not there.")
    return root


def _replace(root: Any, path: Pointer, value: Any, number: int) -> Any:
    if not path:
        return value
    parent = find(root, path[:-1], number)
    parent[step(parent, path[-1], number)] = value
    return root


def _remove(root: Any, path: Pointer, number: int) -> Any:
    if not path:
        raise unfit(number, "the whole resource is removed by DELETE.")
    parent = find(root, path[:-1], number)
    del parent[step(parent, path[-1], number)]
    return root


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal as RFC 6902 section 4.6 says: numbers by value, objects without order."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if _is_number(left) and _is_number(right):
        return bool(left == right)
    return type(left) is type(right) and bool(left == right)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)
