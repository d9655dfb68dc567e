"""Searches within a compartment: `Patient/1/Observation`, `Patient/1/*`.

The resource that a compartment is about is in it too. Source: FHIR R4 4.0.1,
https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from fhir_server.definitions import compartment, resource_types
from fhir_server.errors import BadRequest, NotSupported
from fhir_server.search.parameters import parameter
from fhir_server.search.query import AllOf, AnyOf, Ask, Clause, Match, Parameter
from fhir_server.search.values import Reference, Token

COMPARTMENTS: Final = ("Patient", "Encounter", "RelatedPerson", "Practitioner", "Device")

_ID: Final = re.compile(r"[A-Za-z0-9.\-]{1,64}")
_ITSELF: Final = "{def}"  # R4's word for the resource that the compartment is about


def read_within(path: str) -> tuple[str, tuple[str, ...]]:
    """Read `Patient/1/Observation` or `Patient/1/*`: (`Patient/1`, the types that are searched).

    Raises:
        NotSupported: R4 has no such compartment, or no such type.
        BadRequest: The type is none of the compartment's.
    """
    name, id, type = (*path.split("/"), "", "")[:3]
    if name not in COMPARTMENTS or not _ID.fullmatch(id) or path.count("/") != 2:
        raise NotSupported(f"There is nothing at this path; the compartments are {', '.join(COMPARTMENTS)}.")
    inside = _types(name)
    if type == "*":
        return f"{name}/{id}", tuple(sorted(inside))
    if type not in resource_types():
        raise NotSupported("There is no such resource type.")
    if type not in inside:
        raise BadRequest(f"Resources of this type are in no {name} compartment.")
    return f"{name}/{id}", (type,)


def _types(name: str) -> Mapping[str, tuple[str, ...]]:
    """Return the types of a compartment, with the parameters that put them there."""
    every = {type: tuple(c for c in codes if c != _ITSELF) for type, codes in compartment(name).items()}
    return {**every, name: every.get(name, ())}


def clause(within: str, types: Sequence[str]) -> Clause:
    """Return what holds for the resources of some types that are in a compartment, by R4's own parameters."""
    name, _, id = within.partition("/")
    inside = _types(name)
    each = [_of_type(type, inside[type], name, id) for type in types if type in inside]
    if len(types) == 1 and each:
        return each[0]
    kinds = [Match(Parameter("_type", "token", type, "type"), (Ask(Token(None, type)),)) for type in types]
    return AnyOf(tuple(AllOf((kind, one)) for kind, one in zip(kinds, each, strict=True)))


def _of_type(type: str, codes: Sequence[str], name: str, id: str) -> Clause:
    asked = Ask(Reference(name, id))
    found = [parameter(type, code) for code in codes]
    refers: list[Clause] = [Match(one, (asked,)) for one in found if one is not None]
    if type == name and (itself := parameter(type, "_id")) is not None:
        refers.append(Match(itself, (Ask(Token(None, id)),)))
    return refers[0] if len(refers) == 1 else AnyOf(tuple(refers))
