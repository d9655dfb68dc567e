"""Choices as JSON names them in search expressions: `valueDateTime` is read as `value.ofType(dateTime)`.

FHIRPath has the element alone, `value`; guides publish search parameters in either way, such as US Core's
condition-asserted-date. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/fhirpath.html#polymorphism
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from fhir_server.definitions import properties, structure_names

_WORD: Final = re.compile(r"'(?:[^'\\]|\\.)*'|`[^`]*`|(?<![\w%@])[a-z][A-Za-z0-9]*\b(?!\s*\()")


def spelled(expression: str, types: Iterable[str]) -> str:
    """Return an expression over some resource types in which no choice is named as in JSON.

    Args:
        expression: FHIRPath; texts in it stay as they are.
        types: The resource types that it is evaluated on.
    """
    choices = _choices(types)
    return _WORD.sub(lambda found: choices.get(found[0], found[0]), expression)


def _choices(types: Iterable[str]) -> Mapping[str, str]:
    """Return what stands for each name of a choice in JSON, in the types, their parts and extensions."""
    wanted = tuple(types)
    inside = tuple(f"{type}." for type in wanted)
    made: dict[str, str] = {}
    plain: set[str] = set()
    for name in ("Extension", *(each for each in structure_names() if each in wanted or each.startswith(inside))):
        for key, (element, type) in properties(name).items():
            if element.choice:
                made[key] = f"{element.name}.ofType({type})"
            else:
                plain.add(key)
    return {key: written for key, written in made.items() if key not in plain}
