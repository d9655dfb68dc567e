"""Parameter names as clauses: modifiers, chains and reverse chains.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#chaining and #has
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from fhir_server.definitions import resource_types
from fhir_server.errors import BadParameter, TooCostly, UnknownParameter
from fhir_server.search.asks import Reader, UnsupportedModifier, targets
from fhir_server.search.query import Chain, Clause, Has, Parameter

MOST_HOPS: Final = 4  # references that a chain follows
MOST_HAS: Final = 3  # _has inside each other
MOST_CLAUSES: Final = 500  # of a whole query, the alternatives by type of chains counted

MAX_NAME: Final = 60  # characters of a name that an error text shows


class Registry(Protocol):
    """Where search parameters are defined; `search.parameters` is one."""

    def parameter(self, type: str, code: str) -> Parameter | None:
        """Return the parameter of that type, or None."""
        ...

    def parameters_of(self, type: str) -> Mapping[str, Parameter]:
        """Return all parameters of a type, by code."""
        ...


def shown(name: str) -> str:
    """Return a parameter's name fit for an error text: short, and of one line."""
    return "".join(c if c.isprintable() else "?" for c in name[:MAX_NAME])


class Clauses:
    """Turns the parameters of one query into clauses, within one budget.

    Args:
        registry: Where parameters are defined.
        reader: Reads their values.
    """

    def __init__(self, registry: Registry, reader: Reader) -> None:
        self._registry, self._reader = registry, reader
        self._made = 0

    def parameter(self, types: Sequence[str], code: str) -> Parameter | None:
        """Return the parameter that all these types share; None where one lacks it or nothing evaluates it."""
        found = [self._registry.parameter(type, code) for type in types]
        known = [parameter for parameter in found if parameter is not None and parameter.expression]
        if len(known) < len(types) or len({parameter.type for parameter in known}) != 1:
            return None
        return known[0] if len(known) == 1 else replace(known[0], targets=_shared(map(targets, known)))

    def _known(self, types: Sequence[str], code: str, name: str) -> Parameter:
        if (found := self.parameter(types, code)) is None:
            raise UnknownParameter(f"The search parameter '{shown(name)}' is not known here.")
        return found

    def clause(self, types: Sequence[str], name: str, value: str, *, hops: int = 0, inside: int = 0) -> Clause:
        """Read one parameter.

        Args:
            types: The resource types that it is asked on.
            name: With its modifier, chain or `_has:`.
            value: Percent-decoded.
            hops: References followed so far.
            inside: `_has` around it.

        Raises:
            UnknownParameter: The name, or a modifier in it, is not known.
            BadParameter: The value cannot be read.
            TooCostly: The query goes beyond its bounds.
        """
        self._made += 1
        if self._made > MOST_CLAUSES:
            raise TooCostly("The query has too many clauses; name the types that its chains go through.")
        if name.startswith("_has:"):
            return self._has(types, name, value, hops, inside)
        head, dot, rest = name.partition(".")
        code, colon, modifier = head.partition(":")
        parameter = self._known(types, code, name)
        if dot:
            return self._chain(parameter, modifier, name, rest, value, hops + 1, inside)
        if colon and not modifier:
            raise UnsupportedModifier(f"The parameter '{shown(name)}' has an empty modifier.")
        return self._reader.match(shown(name), parameter, modifier, value)

    def _chain(
        self, parameter: Parameter, modifier: str, name: str, rest: str, value: str, hops: int, inside: int
    ) -> Chain:
        if hops > MOST_HOPS:
            raise TooCostly(f"A chain follows at most {MOST_HOPS} references.")
        possible = targets(parameter)
        if parameter.type != "reference" or (modifier and modifier not in (possible or resource_types())):
            raise UnknownParameter(f"The search parameter '{shown(name)}' cannot be chained so.")
        if not modifier and not possible:
            raise BadParameter(f"The parameter '{shown(name)}' may refer to any type: name one, as in subject:Patient.")
        found: dict[str, Clause] = {}
        for type in (modifier,) if modifier else possible:
            try:
                found[type] = self.clause((type,), rest, value, hops=hops, inside=inside)
            except UnknownParameter:
                if modifier or len(possible) == 1:
                    raise
        if not found:
            raise UnknownParameter(f"The search parameter '{shown(name)}' is not known on what it refers to.")
        return Chain(parameter, tuple(found), tuple(found.values()))

    def _has(self, types: Sequence[str], name: str, value: str, hops: int, inside: int) -> Has:
        if inside >= MOST_HAS:
            raise TooCostly(f"At most {MOST_HAS} _has may stand inside each other.")
        parts = name.split(":", 3)
        if len(parts) != 4 or parts[1] not in resource_types():
            raise UnknownParameter(f"The search parameter '{shown(name)}' is not _has:Type:reference:parameter.")
        _, source, code, rest = parts
        parameter = self._known((source,), code, name)
        possible = targets(parameter)
        if parameter.type != "reference" or (possible and not set(possible) & set(types)):
            raise UnknownParameter(f"The search parameter '{shown(name)}' does not refer to what is searched.")
        return Has(source, parameter, self.clause((source,), rest, value, hops=hops, inside=inside + 1))


def _shared(each: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the types that some of several parameters may point to; empty where one may point to any."""
    lists = list(each)
    return tuple(dict.fromkeys(type for types in lists for type in types)) if all(lists) else ()
