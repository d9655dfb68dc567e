"""What the compiled checks find, as cheap tuples; paths grow from the inside out, only when something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from fhir_server.model import Resource

LIMIT = 100  # findings that are reported of one resource

Problem: TypeAlias = tuple[str, str, str]
"""Path below the element that was checked (".code.coding[0]"), issue code, text."""

Problems: TypeAlias = list[Problem] | None


Context: TypeAlias = tuple[Resource, Resource, dict[str, Any]]
"""The resource an element is part of, the one that contains it (else the same again), and a memo of this one."""


def join(found: Problems, more: list[Problem]) -> list[Problem]:
    """Return both together; what goes beyond the limit is dropped."""
    if found is None:
        return more
    if len(found) <= LIMIT:
        found += more
    return found


def join_below(found: Problems, more: list[Problem], name: str) -> list[Problem]:
    """Return both together, `more` being those of the element `name`."""
    return join(found, [(f".{name}{path}", code, text) for path, code, text in more])


def join_item(found: Problems, more: list[Problem], name: str, items: Sequence[Any], item: Any) -> list[Problem]:
    """Return both together, `more` being those of one `item` of the array `name`."""
    if found is not None and len(found) > LIMIT:
        return found
    place = next(n for n, other in enumerate(items) if other is item)
    return join_below(found, more, f"{name}[{place}]")


def unknown_element(key: str) -> list[Problem]:
    """Return that R4 has no such element; a key that is no name is not shown."""
    path = f".{key}" if key.isascii() and key.isidentifier() and len(key) <= 64 else ""
    return [(path, "structure", "R4 has no such element here.")]


def not_object(value: Any) -> list[Problem]:
    """Return why `value` is not the object that it should be."""
    return [("", "structure", _shape(value, "an object"))]


def not_array(value: Any) -> list[Problem]:
    """Return why `value` is not the array that it should be."""
    return [("", "structure", _shape(value, "an array"))]


def _shape(value: Any, wanted: str) -> str:
    if value is None:
        return "null is not allowed here."
    if value == {} or value == []:
        return f"An empty {'object' if value == {} else 'array'} is not allowed."
    given = "an object" if isinstance(value, dict) else "an array" if isinstance(value, list) else "a primitive"
    return f"This must be {wanted}, not {given}."
