"""R4 4.0.1 as data: structures, bindings, search parameters, compartments.

Read from `r4.bin`, which `python -m tools.definitions` compiles from HL7's own package; each part is
decoded when it is first asked for. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/downloads.html
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

FHIR_VERSION: Final = "4.0.1"


class Constraint(NamedTuple):
    """An invariant of R4."""

    key: str  # e.g. "obs-6"
    severity: str  # error | warning
    human: str  # the rule in words
    expression: str  # FHIRPath; true where the rule holds


class Element(NamedTuple):
    """One element of a structure."""

    name: str  # of a choice: without [x]
    types: tuple[str, ...]  # "code", "Quantity", "Observation.component", "Resource"
    choice: bool  # whether the JSON key carries the type: valueQuantity
    min: int
    max: int | None  # None: no upper bound
    binding: str  # canonical url of the value set, without version; "": none
    strength: str  # required | extensible | preferred | example
    targets: tuple[str, ...]  # of Reference and canonical: the types it may point to; "Resource": any
    constraints: tuple[Constraint, ...]  # beside those of the structure it holds
    summary: bool = False  # whether it belongs to `_summary=true`

    @property
    def is_list(self) -> bool:
        """Whether its JSON is an array."""
        return self.max != 1


class Structure(NamedTuple):
    """A resource, a data type, or an element with children of its own."""

    name: str  # "Observation", "Observation.component", "Quantity", "string"
    kind: str  # resource | complex-type | primitive-type | backbone
    base: str  # "DomainResource", "Element", "BackboneElement"; "" for Element and Resource
    abstract: bool
    elements: Mapping[str, Element]  # own and inherited, in order, by name without [x]; a primitive's value is not one
    constraints: tuple[Constraint, ...]  # own and inherited


class SearchParameter(NamedTuple):
    """A SearchParameter of R4 as the package gives it."""

    url: str
    code: str
    base: tuple[str, ...]
    type: str
    expression: str  # "" for the special ones
    target: tuple[str, ...]
    components: tuple[tuple[str, str], ...]  # of a composite: (url of the parameter, expression)


class _File(msgspec.Struct):
    version: str
    structures: dict[str, bytes]
    resources: frozenset[str]
    codes: dict[str, bytes]
    parameters: bytes
    compartments: bytes


@cache
def _file() -> _File:
    data = (files(__package__) / "r4.bin").read_bytes()
    return msgspec.msgpack.decode(zlib.decompress(data), type=_File)


@cache
def structure(name: str) -> Structure:
    """Return a structure by its path name; raise KeyError when R4 has none."""
    found = msgspec.msgpack.decode(_file().structures[name], type=Structure)
    return found._replace(elements=MappingProxyType(dict(found.elements)))


def is_structure(name: str) -> bool:
    """Whether R4 has a structure of that path name."""
    return name in _file().structures


def structure_names() -> tuple[str, ...]:
    """Return the names of all structures."""
    return tuple(_file().structures)


def resource_types() -> frozenset[str]:
    """Return the names of all resource types, without the abstract ones."""
    return _file().resources


@cache
def properties(structure_name: str) -> Mapping[str, tuple[Element, str]]:
    """Return, by JSON key, each element of a structure and the type it has there (`valueQuantity`: Quantity).

    Keys of primitive extensions (`_value`) and `resourceType` are not among them.
    """
    found: dict[str, tuple[Element, str]] = {}
    for name, element in structure(structure_name).elements.items():
        for type in element.types:
            found[name + type[0].upper() + type[1:] if element.choice else name] = (element, type)
    return MappingProxyType(found)


def property(structure_name: str, json_key: str) -> tuple[Element, str] | None:
    """Return the element that a JSON key stands for and its type; None when the structure has no such key."""
    return properties(structure_name).get(json_key)


@cache
def codes(valueset_url: str) -> frozenset[tuple[str, str]] | None:
    """Return the (system, code) pairs of a required value set.

    None when the package cannot name them all (mime types, languages, units) or when no element of R4 is
    bound to the set with strength required.
    """
    data = _file().codes.get(valueset_url)
    by_system = msgspec.msgpack.decode(data, type=dict[str, list[str]] | None) if data else None
    if by_system is None:
        return None
    return frozenset((system, code) for system, members in by_system.items() for code in members)


@cache
def search_parameters() -> tuple[SearchParameter, ...]:
    """Return all SearchParameters of R4."""
    return msgspec.msgpack.decode(_file().parameters, type=tuple[SearchParameter, ...])


@cache
def compartment(name: str) -> Mapping[str, tuple[str, ...]]:
    """Return, by resource type, the search parameters that put a resource into a compartment.

    Args:
        name: Patient, Encounter, RelatedPerson, Practitioner or Device.

    Raises:
        KeyError: R4 has no such compartment.
    """
    every = msgspec.msgpack.decode(_file().compartments, type=dict[str, dict[str, tuple[str, ...]]])
    return MappingProxyType(every[name])
