"""The types that expressions speak of: FHIR's, from the definitions, and FHIRPath's own, called System.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/fhirpath.html#types
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import NamedTuple

from fhir_server.definitions import resource_types, structure, structure_names
from fhir_server.fhirpath.failures import InvalidExpression

SYSTEM = frozenset({"Any", "Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time", "Quantity"})
DATES = frozenset({"date", "dateTime", "instant", "time"})


class TypeName(NamedTuple):
    """A type with its namespace, as `type()` gives it."""

    namespace: str  # FHIR | System
    name: str


class Slot(NamedTuple):
    """Where an element can stand in JSON."""

    key: str  # JSON key, e.g. "valueQuantity"
    type: str  # structure name; "Resource" where any resource may stand
    primitive: bool  # whether `_key` may hold its id and extensions
    many: bool  # whether it is an array


@cache
def ancestors(type: str) -> frozenset[str]:
    """Return a FHIR type and all types it derives from; just itself where it is unknown."""
    found = [type]
    while found[-1] in _known() and (base := structure(found[-1]).base):
        found.append(base)
    return frozenset(found)


@cache
def _known() -> frozenset[str]:
    return frozenset(structure_names())


def is_known(type: str) -> bool:
    """Whether R4 has this structure."""
    return type in _known()


@cache
def is_primitive(type: str) -> bool:
    """Whether values of the type are JSON strings, numbers or booleans."""
    return type in _known() and structure(type).kind == "primitive-type"


@cache
def is_resource(type: str) -> bool:
    """Whether the type is a resource, or the base of all of them."""
    return type in resource_types() or type in ("Resource", "DomainResource")


@cache
def slots(type: str) -> Mapping[str, tuple[Slot, ...]]:
    """Return, by element name without [x], where a type's elements stand in JSON; empty for an unknown type."""
    if type not in _known():
        return MappingProxyType({})
    found: dict[str, tuple[Slot, ...]] = {}
    for name, element in structure(type).elements.items():
        found[name] = tuple(
            Slot(
                name + kind[0].upper() + kind[1:] if element.choice else name,
                kind,
                is_primitive(kind),
                element.is_list,
            )
            for kind in element.types
        )
    return MappingProxyType(found)


@cache
def keys(type: str) -> Mapping[str, Slot]:
    """Return the same by JSON key."""
    return MappingProxyType({slot.key: slot for group in slots(type).values() for slot in group})


@cache
def suffixes() -> Mapping[str, str]:
    """Return what a choice's JSON key may end in, e.g. "Quantity", "DateTime", and the type it says."""
    return MappingProxyType({name[0].upper() + name[1:]: name for name in _known() if "." not in name})


@lru_cache(maxsize=1024)
def find_type(written: str) -> TypeName:
    """Return the type that an expression names, with or without namespace.

    Raises:
        InvalidExpression: No namespace has such a type.
    """
    namespace, _, name = written.rpartition(".")
    if namespace in ("", "FHIR") and name in _known() and "." not in name:
        return TypeName("FHIR", name)
    if namespace in ("", "System") and name in SYSTEM:
        return TypeName("System", name)
    if namespace == "System" and name:  # `System.Patient` is a question that may be asked: the answer is no
        return TypeName("System", name)
    if written in _known():
        return TypeName("FHIR", written)
    raise InvalidExpression("The expression names a type that does not exist.")
