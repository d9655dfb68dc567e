"""One validation against profiles under way: what is found, what it may cost, what it had to leave open.

A check never waits. What it would have to read (a profile, the members of a value set) it looks up in `Known`;
what is not there yet is noted, read by the caller, and the check is run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, NamedTuple

from fhir_server.definitions import is_structure, structure
from fhir_server.errors import Issue
from fhir_server.fhirpath.nodes import Node, children_named
from fhir_server.model import Resource
from fhir_server.profiles.part import Profile

MOST_ISSUES: Final = 100
MOST_STEPS: Final = 200_000  # elements, slices and discriminators looked at
STEPS_EACH: Final = 50  # beside these: for each element of what is checked, so that size alone refuses nothing
MOST_DEPTH: Final = 24  # profiles inside profiles


class Coded(NamedTuple):
    """A question to terminology."""

    value_set: str
    system: str | None  # None: a plain code
    code: str


@dataclass(slots=True)
class Known:
    """What was read so far."""

    profiles: dict[str, Profile | None] = field(default_factory=dict)  # by canonical as written; None: not known here
    members: dict[Coded, bool | None] = field(default_factory=dict)  # None: cannot be decided here
    # By canonical: what `quick` made of a profile; None: nothing.
    questions: dict[str, Callable[[Any, Any], bool] | None] = field(default_factory=dict)


class Budget:
    """The work that one check may be: linear in the size of what is checked, which is measured only when needed."""

    __slots__ = ("_limit", "_resource", "doubts", "steps")

    def __init__(self, resource: Resource) -> None:
        self.steps = 0
        self.doubts = 0  # times that what is loaded could not tell whether an item is in a slice
        self._limit = MOST_STEPS
        self._resource: Resource | None = resource  # None: measured

    @property
    def is_spent(self) -> bool:
        """Whether no work is left."""
        if self.steps > self._limit and self._resource is not None:
            self._limit += STEPS_EACH * _size(self._resource)
            self._resource = None
        return self.steps > self._limit


def _size(value: Any) -> int:
    if value.__class__ is dict:
        return len(value) + sum(_size(item) for item in value.values() if item.__class__ in (dict, list))
    return len(value) + sum(_size(item) for item in value if item.__class__ in (dict, list))


class Item(NamedTuple):
    """One element, and where it stands."""

    node: Node
    where: str  # FHIRPath from the root


class Enough(Exception):
    """More issues than are shown, or more work than is done."""


@dataclass(slots=True)
class Run:
    """One check of one resource."""

    known: Known
    root: Resource  # %rootResource
    resource: Resource  # %resource
    budget: Budget  # shared by the runs of one check
    issues: list[Issue] = field(default_factory=list)
    missing_profiles: set[str] = field(default_factory=set)
    missing_codes: set[Coded] = field(default_factory=set)
    depth: int = 0
    expected: dict[tuple[int, Any], Any] = field(default_factory=dict)  # by id of a slice and discriminator
    entries: dict[str, Resource] = field(default_factory=dict)  # of a Bundle, by fullUrl and Type/id
    # By url of a profile and id of what a reference leads to: the first error; None where there is none, or none yet.
    targets: dict[tuple[str, int], Issue | None] = field(default_factory=dict)

    def spend(self, steps: int = 1) -> None:
        """Count work; raise Enough when it is more than one check may cost."""
        self.budget.steps += steps
        if self.budget.steps > MOST_STEPS and self.budget.is_spent:
            raise Enough

    def report(self, code: str, text: str, where: str, severity: str = "error") -> None:
        """Note an issue; raise Enough when there are more errors than are shown. Other notes beyond 100 are dropped."""
        if severity == "error" or len(self.issues) < MOST_ISSUES:
            self.issues.append(Issue(code, text, where, severity))
        if len(self.issues) > 2 * MOST_ISSUES:  # of which 100 at most are no errors
            raise Enough

    def profile(self, canonical: str) -> Profile | None:
        """Return a profile; None where it is not known here, or not read yet."""
        if canonical not in self.known.profiles:
            self.missing_profiles.add(canonical)
            return None
        return self.known.profiles[canonical]

    def is_member(self, value_set: str, system: str | None, code: str) -> bool | None:
        """Return whether a code is in a value set; None where that is not known, or not read yet."""
        question = Coded(value_set, system, code)
        if question not in self.known.members:
            self.missing_codes.add(question)
            return None
        return self.known.members[question]

    def holds_silently(self, check: Callable[[], None]) -> bool:
        """Run a check and return whether it found no error; what it found is dropped."""
        return self.first_error(check) is None

    def first_error(self, check: Callable[[], None]) -> Issue | None:
        """Run a check and return the first error that it found; the rest is dropped."""
        kept, self.issues = self.issues, []
        try:
            check()
        except Enough:
            if self.budget.is_spent:
                raise
        finally:
            found, self.issues = self.issues, kept
        return next((issue for issue in found if issue.severity == "error"), None)


class _Shape(NamedTuple):
    keys: frozenset[str]  # JSON keys that the element may have, `_name` ones too
    is_list: bool
    type: str  # where it has only one, and is no resource; else ""
    under: str  # `_name`


@cache
def _shape(type: str, name: str) -> _Shape | None:
    element = structure(type).elements.get(name) if is_structure(type) else None
    if element is None:
        return None
    keys = [name + kind[0].upper() + kind[1:] for kind in element.types] if element.choice else [name]
    type = "" if element.choice or "Resource" in element.types else element.types[0]
    return _Shape(frozenset([*keys, *(f"_{key}" for key in keys)]), element.is_list, type, f"_{name}")


def below(item: Item, name: str) -> list[Item]:
    """Return the children of one name, each with its place."""
    node = item.node
    shape, value = _shape(node.type, name), node.value
    if shape is not None and value.__class__ is dict:
        if shape.keys.isdisjoint(value):
            return []
        if shape.type and shape.is_list and shape.under not in value and value[name].__class__ is list:
            found = enumerate(value[name])
            return [Item(Node(child, shape.type), f"{item.where}.{name}[{n}]") for n, child in found]
        if shape.type and not shape.is_list and shape.under not in value and value[name].__class__ is not list:
            return [Item(Node(value[name], shape.type), f"{item.where}.{name}")]
    nodes = children_named(node, name)
    if not nodes:
        return []
    if shape is not None and not shape.is_list:
        return [Item(child, f"{item.where}.{name}") for child in nodes]
    return [Item(child, f"{item.where}.{name}[{n}]") for n, child in enumerate(nodes)]


def text_of(value: Any) -> str:
    """Return a value that is text, else nothing."""
    return value if value.__class__ is str else ""
