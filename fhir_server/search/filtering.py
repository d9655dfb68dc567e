"""Comparisons of `_filter` as clauses.

What R4 leaves open is read so:

- `eq` on a string asks for the whole string, `sw` for its start; neither minds case and accents, as string
  search never does. Codes, references and urls are compared as everywhere, so that two codes stay two.
- `ne` on numbers, quantities and dates is that of the prefix. On all else it asks for resources that have a
  value and none that is equal: a name or a concept is one item, though it is found by each of its parts.
- `po` asks for dates that overlap; `ss` for codes that the value subsumes, itself among them (`:below`), `sb`
  for codes that subsume it (`:above`); `in` and `ni` for codes in a value set and for those in none of it.
- Brackets stand behind a reference, and say what it leads to: `subject[gender eq male].name co "x"`.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search_filter.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from fhir_server.errors import BadParameter, UnknownParameter
from fhir_server.search.asks import Reader
from fhir_server.search.filter import Both, Comparison, Either, Expression, Negation, Step
from fhir_server.search.query import AllOf, AnyOf, Ask, Chain, Clause, Has, Match, Not, Parameter
from fhir_server.search.values import Text

_PREFIXED: Final = {"number", "quantity", "date"}
_OPERATORS: Final = {
    "number": "eq ne gt lt ge le ap sa eb",
    "quantity": "eq ne gt lt ge le ap sa eb",
    "date": "eq ne gt lt ge le ap sa eb po",
    "string": "eq ne co sw ew",
    "token": "eq ne in ni ss sb",
    "reference": "eq ne re",
    "uri": "eq ne ss sb",
    "composite": "eq ne",
    "special": "eq ne",
}
"""Operators by parameter type, beside `pr`, which every type but composite takes."""

_MODIFIERS: Final = {
    ("string", "eq"): "equals",
    ("string", "ne"): "equals",
    ("string", "co"): "contains",
    ("string", "ew"): "ends",
    ("token", "in"): "in",
    ("token", "ni"): "not-in",
    ("token", "ss"): "below",
    ("token", "sb"): "above",
    ("uri", "ss"): "below",
    ("uri", "sb"): "above",
}


class Lookup(Protocol):
    """What tests ask of the clauses of their query; `clauses.Clauses` gives it."""

    def spend(self) -> None:
        """Count one clause."""
        ...

    def known(self, types: Sequence[str], code: str, name: str) -> Parameter:
        """Return a parameter that all these types share."""
        ...

    def chain(self, types: Sequence[str], head: str, name: str, then: _Then, hops: int) -> Chain:
        """Follow a reference."""
        ...

    def has(self, types: Sequence[str], name: str, then: _Rest, inside: int, place: str = "") -> Has:
        """Ask for a resource that refers here."""
        ...


class _Then(Protocol):
    def __call__(self, type: str, /) -> Clause: ...


class _Rest(Protocol):
    def __call__(self, type: str, rest: str, /) -> Clause: ...


class Comparisons:
    """Turns the expressions of one filter into clauses.

    Args:
        lookup: Finds parameters, follows references, within the budget of the query.
        reader: Reads values.
    """

    def __init__(self, lookup: Lookup, reader: Reader) -> None:
        self._lookup, self._reader = lookup, reader

    def clause(self, expression: Expression, types: Sequence[str], hops: int = 0, inside: int = 0) -> Clause:
        """Return an expression as a clause on resources of these types.

        Raises:
            UnknownParameter: A name is not known, or takes no such operator.
            BadParameter: A value cannot be read.
            TooCostly: It goes beyond the bounds of a query.
        """
        match expression:
            case Both(parts):
                return AllOf(tuple(self.clause(part, types, hops, inside) for part in parts))
            case Either(parts):
                return AnyOf(tuple(self.clause(part, types, hops, inside) for part in parts))
            case Negation(part):
                return Not(self.clause(part, types, hops, inside))
            case Comparison():
                return self._test(expression, expression.path, types, hops, inside)

    def _test(self, test: Comparison, path: tuple[Step, ...], types: Sequence[str], hops: int, inside: int) -> Clause:
        self._lookup.spend()
        place = _place(test)
        step, rest = path[0], path[1:]
        if step.name.startswith("_has:"):

            def source(type: str, name: str) -> Clause:
                return self._test(test, (Step(name, step.filter), *rest), (type,), hops, inside + 1)

            return self._lookup.has(types, step.name, source, inside, place)
        if not rest:
            return self._leaf(test, step.name, types)

        def target(type: str) -> Clause:
            then = self._test(test, rest, (type,), hops + 1, inside)
            if step.filter is None:
                return then
            return AllOf((self.clause(step.filter, (type,), hops + 1, inside), then))

        return self._lookup.chain(types, step.name, place, target, hops + 1)

    def _leaf(self, test: Comparison, name: str, types: Sequence[str]) -> Clause:
        place = _place(test)
        parameter = self._lookup.known(types, name, place)
        operator = test.operator
        if operator == "pr" and parameter.type != "composite":
            if test.value not in ("true", "false"):
                raise BadParameter(f"The parameter '{place}' takes true or false after pr.")
            return _has_value(parameter, given=test.value == "true")
        if operator not in _OPERATORS[parameter.type].split():
            raise UnknownParameter(f"The parameter '{place}' takes no {operator}: it is of type {parameter.type}.")
        asked = self._asked(place, parameter, operator, test.value)
        if operator == "ne" and parameter.type not in _PREFIXED:
            return AllOf((*_given(parameter), Not(asked)))
        return asked

    def _asked(self, place: str, parameter: Parameter, operator: str, value: str) -> Match:
        modifier = _MODIFIERS.get((parameter.type, operator), "")
        if parameter.type == "string" and value.strip():
            return Match(parameter, (Ask(Text(value)),), modifier)
        if parameter.type in _PREFIXED:
            prefix = "eq" if operator == "po" else operator
            ask = self._reader.ask(place, parameter, "", prefix + value)
            return Match(parameter, (Ask(ask.value, "ap") if operator == "po" else ask,))
        return Match(parameter, (self._reader.ask(place, parameter, modifier, value),), modifier)


def _place(test: Comparison) -> str:
    """Return what error texts call a test: never by what it says."""
    return f"_filter, character {test.at}"


def _has_value(parameter: Parameter, *, given: bool) -> Match:
    return Match(parameter, (), "missing", missing=not given)


def _given(parameter: Parameter) -> tuple[Match, ...]:
    """Return the clause that there is a value; none for a composite, of which R4 has no :missing."""
    return () if parameter.type == "composite" else (_has_value(parameter, given=True),)
