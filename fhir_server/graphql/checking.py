"""What of a query can be refused before anything is read.

Source: https://spec.graphql.org/October2021/#sec-Validation, and FHIR R4 4.0.1, https://hl7.org/fhir/R4/graphql.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from fhir_server.definitions import is_structure, resource_types
from fhir_server.graphql.failures import QueryError, TooMuch, shown
from fhir_server.graphql.fields import ANY, SYSTEM, Shape, shapes
from fhir_server.graphql.syntax import Directive, Document, Field, Inline, Query, Selection, Value, Variable

MAX_FIELDS: Final = 2_000  # of a query, those of fragments counted each time
MAX_DEPTH: Final = 20  # fields inside each other, through fragments

_DIRECTIVES: Final[Mapping[str, frozenset[str]]] = {  # by name, what its one argument may be called
    "include": frozenset({"if"}),
    "skip": frozenset({"if"}),
    "flatten": frozenset(),
    "first": frozenset(),
    "singleton": frozenset(),
    "slice": frozenset({"fhirpath", "path"}),  # R4's page defines the one and its examples have the other
}
_ARGUMENTS: Final[Mapping[str, frozenset[str]]] = {
    "value": frozenset(),
    "extra": frozenset({"_count", "_offset"}),
    "edges": frozenset(),
    "resource": frozenset({"type", "optional"}),
    "single": frozenset({"id", "_id"}),
}
_OF_LISTS: Final = frozenset({"fhirpath", "_count", "_offset"})
_ABSTRACT: Final = frozenset({"Resource", "DomainResource"})


def check(document: Document, query: Query, root: str) -> None:
    """Check an operation of a document.

    Args:
        document: With its fragments.
        query: One of its operations.
        root: `fields.SYSTEM`, or the type of the resource that it is about.

    Raises:
        QueryError: It names what is not there, or does not fit.
        TooMuch: It is too deep or too wide.
    """
    _Checker(document, query).selection(query.selection, frozenset({root}), 1)


class _Checker:
    def __init__(self, document: Document, query: Query) -> None:
        self._document = document
        self._variables = frozenset(variable.name for variable in query.variables)
        self._fields = 0
        self._open: list[str] = []  # fragments that are being looked into

    def selection(self, selected: tuple[Selection, ...], types: frozenset[str], depth: int) -> None:
        """Check what is selected on something of one of some types."""
        if depth > MAX_DEPTH:
            raise TooMuch(f"The query is deeper than {MAX_DEPTH} fields.")
        named: dict[str, tuple[Field, frozenset[str]]] = {}
        for field, own in self._flat(selected, types):
            other, where = named.setdefault(field.alias, (field, own))
            if other is not field and where & own and not (_is_same(other, field) or _is_apart(other, field)):
                raise QueryError(
                    f"'{shown(field.alias)}' stands for two different fields: give one an alias.", field.at
                )
            self._field(field, own, depth)

    def _flat(self, selected: tuple[Selection, ...], types: frozenset[str]) -> Iterator[tuple[Field, frozenset[str]]]:
        """Yield fields with the types that they are selected on, those of fragments too."""
        for each in selected:
            self._directives(each.directives)
            if isinstance(each, Field):
                self._fields += 1
                if self._fields > MAX_FIELDS:
                    raise TooMuch(f"The query has more than {MAX_FIELDS} fields.", each.at)
                yield each, types
            elif isinstance(each, Inline):
                yield from self._flat(each.selection, self._narrowed(types, each.type, each) if each.type else types)
            else:
                fragment = self._document.fragments.get(each.name)
                if fragment is None:
                    raise QueryError(f"There is no fragment '{shown(each.name)}'.", each.at)
                if each.name in self._open:
                    raise QueryError(f"The fragment '{shown(each.name)}' is inside of itself.", each.at)
                self._open.append(each.name)
                yield from self._flat(fragment.selection, self._narrowed(types, fragment.type, each))
                self._open.pop()

    def _narrowed(self, types: frozenset[str], condition: str, at: Selection) -> frozenset[str]:
        """Return the types that a condition leaves; none where it can never hold, so that nothing is checked."""
        if condition not in _ABSTRACT and not is_structure(condition) and condition not in resource_types():
            raise QueryError(f"There is no type '{shown(condition)}'.", at.at)
        if condition in _ABSTRACT:
            return types
        if ANY in types and condition in resource_types():
            return frozenset({condition})
        return frozenset(type for type in types if type.partition(":")[0] == condition)

    def _field(self, field: Field, types: frozenset[str], depth: int) -> None:
        if field.name.startswith("__") and field.name != "__typename":
            raise QueryError("There is no introspection but __typename; R4's own types are the schema.", field.at)
        found = shapes(types, field.name)
        if types and not found:
            on = "the query" if SYSTEM in types else ", ".join(sorted(t.partition(":")[0] for t in types)[:5])
            raise QueryError(f"There is no field '{shown(field.name)}' on {on.replace(ANY, 'any resource')}.", field.at)
        inner = frozenset(type for shape in found for type in shape.types)
        if field.selection and found and not inner:
            raise QueryError(f"'{shown(field.name)}' is a plain value: nothing is selected of it.", field.at)
        if not field.selection and found and not any(shape.is_scalar for shape in found):
            raise QueryError(f"'{shown(field.name)}' has fields: select some of them.", field.at)
        if field.directive("flatten") and not field.selection:
            raise QueryError("@flatten is for fields that have fields.", field.at)
        self._arguments(field, found)
        if field.selection:
            chosen = _known_types(field) if any(shape.role == "resource" for shape in found) else frozenset()
            self.selection(field.selection, chosen or inner, depth + 1)

    def _arguments(self, field: Field, found: list[Shape]) -> None:
        roles = {shape.role for shape in found}
        for name, value in field.arguments.items():
            self._value(value)
            if not roles or roles & {"list", "connection"}:
                continue  # search parameters: judged by the search itself
            fits = any(name in _ARGUMENTS.get(role, _OF_LISTS) for role in roles)
            inner = {type for shape in found if shape.role == "element" for type in shape.types}
            if not fits and not any(shape.is_scalar for shape in shapes(inner, name)):
                raise QueryError(f"'{shown(field.name)}' takes no argument '{shown(name)}'.", field.at)
        reverse = "list" in roles or "connection" in roles
        if "single" in roles and len(field.arguments) != 1:
            raise QueryError(f"{field.name} is asked for by its id: {field.name}(id: …).", field.at)
        if reverse and field.arguments.get("_reference", "") is None:
            raise QueryError("_reference names a search parameter.", field.at)

    def _directives(self, directives: tuple[Directive, ...]) -> None:
        for directive in directives:
            known = _DIRECTIVES.get(directive.name)
            if known is None:
                raise QueryError(f"There is no directive @{shown(directive.name)}.", directive.at)
            if len(directive.arguments) != min(1, len(known)) or not directive.arguments.keys() <= known:
                wanted = " or ".join(sorted(known)) or "nothing"
                raise QueryError(f"The directive @{directive.name} takes {wanted}.", directive.at)
            for value in directive.arguments.values():
                self._value(value)

    def _value(self, value: Value) -> None:
        if isinstance(value, Variable) and value.name not in self._variables:
            raise QueryError(f"The variable ${shown(value.name)} is not defined.", value.at)
        if isinstance(value, list):
            for item in value:
                self._value(item)


def _is_same(one: Field, other: Field) -> bool:
    return (one.name, one.arguments, one.directives) == (other.name, other.arguments, other.directives) or (
        one.name == other.name
        and _bare(one.arguments) == _bare(other.arguments)
        and [(d.name, _bare(d.arguments)) for d in one.directives]
        == [(d.name, _bare(d.arguments)) for d in other.directives]
    )


def _bare(arguments: Mapping[str, Value]) -> dict[str, Value]:
    """Return arguments without the places of their variables."""
    return {
        name: ("$", value.name) if isinstance(value, Variable) else repr(value) for name, value in arguments.items()
    }


def _is_apart(one: Field, other: Field) -> bool:
    """Whether at most one of two fields has a value: R4's page reads a reference of several types so."""
    types = named_types(one), named_types(other)
    return one.name == other.name and all(types) and types[0].isdisjoint(types[1])


def named_types(field: Field) -> frozenset[str]:
    """Return the types that `resource(type: …)` names, where it names them plainly."""
    given = field.arguments.get("type") if field.name == "resource" else None
    names = given if isinstance(given, list) else [given]
    return (
        frozenset(name for name in names if isinstance(name, str)) if not isinstance(given, Variable) else frozenset()
    )


def _known_types(field: Field) -> frozenset[str]:
    named = named_types(field)
    unknown = sorted(named - resource_types())
    if unknown:
        raise QueryError(f"There is no resource type '{shown(unknown[0])}'.", field.at)
    return named
