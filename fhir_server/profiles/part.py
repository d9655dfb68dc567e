"""A profile as a tree: what it asks of each element beyond R4 itself.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/elementdefinition.html and https://hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fhir_server.definitions import Constraint

STRUCTURES: Final = "http://hl7.org/fhir/StructureDefinition/"


class TypeRule(NamedTuple):
    """A type that an element may have."""

    code: str  # "Reference", "Quantity", "Patient"
    profiles: tuple[str, ...] = ()  # the element conforms to one of them
    targets: tuple[str, ...] = ()  # of a Reference: canonicals of what it may point to
    aggregations: tuple[str, ...] = ()  # of a Reference: contained referenced bundled; empty: any of them


class Discriminator(NamedTuple):
    """What tells the slices of a list apart."""

    type: str  # value pattern exists type profile
    path: str  # restricted FHIRPath from the item


class Slicing(NamedTuple):
    """How a list is sliced."""

    discriminators: tuple[Discriminator, ...]
    ordered: bool = False
    rules: str = "open"  # open closed openAtEnd


class Given(NamedTuple):
    """A value that an element must have; `None` is no value of FHIR, so that absence needs a wrapper."""

    value: Any


@dataclass(slots=True)
class Part:
    """One element of a profile, or one slice of it; changed only while the tree is built."""

    min: int = 0
    max: int | None = None  # None: no bound beyond R4's
    types: tuple[TypeRule, ...] = ()  # empty: those of R4
    fixed: Given | None = None
    pattern: Given | None = None
    least: Given | None = None  # minValue[x]
    most: Given | None = None  # maxValue[x]
    length: int | None = None  # maxLength: characters of a text
    binding: tuple[str, str] | None = None  # strength, canonical of the value set
    limit: str = ""  # canonical of the value set that codes beside the binding's are of (maxValueSet)
    rules: tuple[Constraint, ...] = ()
    below: dict[str, Part] = field(default_factory=dict)  # by element name, of a choice without [x]
    slicing: Slicing | None = None
    slices: dict[str, Part] = field(default_factory=dict)  # by name; re-slices stand below their slice

    @property
    def is_trivial(self) -> bool:
        """Whether it asks nothing."""
        return not (
            self.min
            or self.max is not None
            or self.types
            or self.fixed
            or self.pattern
            or self.least
            or self.most
            or self.length is not None
            or self.binding
            or self.limit
            or self.rules
            or self.below
            or self.slices
            or (self.slicing and self.slicing.rules == "closed")
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile ready to be checked."""

    url: str  # canonical, without version
    type: str  # what it constrains
    root: Part
    contexts: tuple[tuple[str, str], ...] = ()  # of an extension: (element | extension | fhirpath, expression)
    is_modifier: bool = False  # of an extension


def bare(canonical: str) -> str:
    """Return a canonical without its version and fragment."""
    return canonical.partition("|")[0].partition("#")[0]


def value_of(element: Mapping[str, Any], prefix: str) -> Given | None:
    """Return `fixed[x]` or `pattern[x]` of an ElementDefinition."""
    for key, value in element.items():
        if key.startswith(prefix) and key[len(prefix) : len(prefix) + 1].isupper():
            return Given(value)
    return None
