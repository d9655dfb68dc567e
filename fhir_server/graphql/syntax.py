"""A GraphQL document as data.

Source: https://spec.graphql.org/October2021/#sec-Document-Syntax
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, Union

from fhir_server.graphql.failures import Location


class Variable(NamedTuple):
    """`$name` where a value stands."""

    name: str
    at: Location


class Enum(str):
    """A bare word where a value stands: `official`."""

    __slots__ = ()


Value: TypeAlias = Any
"""str, Enum, int, Decimal, bool, None, Variable, or lists and dicts of these."""


@dataclass(frozen=True, slots=True)
class Directive:
    """`@name(arguments)`."""

    name: str
    arguments: Mapping[str, Value]
    at: Location


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a selection."""

    name: str
    alias: str  # the name in the answer; the name itself where none is given
    arguments: Mapping[str, Value]
    directives: tuple[Directive, ...]
    selection: tuple[Selection, ...]
    at: Location

    def directive(self, name: str) -> Directive | None:
        """Return the directive of that name."""
        return next((each for each in self.directives if each.name == name), None)


@dataclass(frozen=True, slots=True)
class Spread:
    """`...Name`: the selection of a fragment."""

    name: str
    directives: tuple[Directive, ...]
    at: Location


@dataclass(frozen=True, slots=True)
class Inline:
    """`... on Type { }`."""

    type: str  # "" for any
    directives: tuple[Directive, ...]
    selection: tuple[Selection, ...]
    at: Location


Selection: TypeAlias = Union["Field", "Spread", "Inline"]


@dataclass(frozen=True, slots=True)
class Fragment:
    """`fragment Name on Type { }`."""

    name: str
    type: str
    selection: tuple[Selection, ...]
    at: Location


@dataclass(frozen=True, slots=True)
class VariableType:
    """`[Name!]!`."""

    name: str  # of a list: of its items
    is_list: bool
    is_required: bool


@dataclass(frozen=True, slots=True)
class VariableDefinition:
    """`$name: Type = default`."""

    name: str
    type: VariableType
    default: Value
    has_default: bool
    at: Location


@dataclass(frozen=True, slots=True)
class Query:
    """One operation of a document."""

    name: str
    variables: tuple[VariableDefinition, ...]
    selection: tuple[Selection, ...]
    at: Location


@dataclass(frozen=True, slots=True)
class Document:
    """All operations and fragments that were sent."""

    queries: tuple[Query, ...]
    fragments: Mapping[str, Fragment]
