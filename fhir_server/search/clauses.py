"""Parameter names as clauses: modifiers, chains, reverse chains and the parameters that are none of a resource.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#chaining, #has and #list
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from fhir_server.definitions import resource_types
from fhir_server.errors import BadParameter, TooCostly, UnknownParameter
from fhir_server.search import words
from fhir_server.search.asks import Reader, UnsupportedModifier, alternatives, targets
from fhir_server.search.escape import split
from fhir_server.search.filter import Expression, read_filter
from fhir_server.search.filtering import Comparisons
from fhir_server.search.query import Ask, Chain, Clause, Has, Match, Parameter
from fhir_server.search.values import Text, Token

MOST_HOPS: Final = 10  # references that a chain follows; what it costs is bounded by MOST_CLAUSES and by the store
MOST_HAS: Final = 6  # _has inside each other
MOST_CLAUSES: Final = 500  # of a whole query, the alternatives by type of chains counted

_LIST: Final = re.compile(r"(?:List/)?[A-Za-z0-9.\-]{1,64}")
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
    short = name[:MAX_NAME]
    return short if short.isprintable() else "".join(c if c.isprintable() else "?" for c in short)


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
        """Return the parameter that all these types share; None where one lacks it or nothing evaluates it.

        Definitions of this hub's own that have the same code on several types are not shared.
        """
        if len(types) == 1:
            only = self._registry.parameter(types[0], code)
            return only if only is not None and only.expression else None
        found = [self._registry.parameter(type, code) for type in types]
        known = [parameter for parameter in found if parameter is not None and parameter.expression]
        if len(known) < len(types) or len({(parameter.type, parameter.code) for parameter in known}) != 1:
            return None
        return replace(known[0], targets=_shared(map(targets, known)))

    def known(self, types: Sequence[str], code: str, name: str) -> Parameter:
        """Return the parameter that all these types share; raise UnknownParameter, with `name`, where they do not."""
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
        self.spend()
        if name.startswith("_has:"):
            return self.has(
                types, name, lambda type, rest: self.clause((type,), rest, value, hops=hops, inside=inside + 1), inside
            )
        head, dot, rest = name.partition(".")
        code, colon, modifier = head.partition(":")
        if code in _SPECIAL and not dot:
            if colon:
                raise UnsupportedModifier(f"The parameter '{code}' takes no modifier.")
            return _SPECIAL[code](self, types, value)
        if dot:
            far = hops + 1
            return self.chain(
                types, head, name, lambda type: self.clause((type,), rest, value, hops=far, inside=inside), far
            )
        if colon and not modifier:
            raise UnsupportedModifier(f"The parameter '{shown(name)}' has an empty modifier.")
        return self._reader.match(shown(name), self.known(types, code, name), modifier, value)

    def spend(self) -> None:
        """Count one clause; raise TooCostly beyond the budget of the query."""
        self._made += 1
        if self._made > MOST_CLAUSES:
            raise TooCostly("The query has too many clauses; name the types that its chains go through.")

    def chain(self, types: Sequence[str], head: str, name: str, then: Callable[[str], Clause], hops: int) -> Chain:
        """Follow a reference.

        Args:
            types: The resource types that it is asked on.
            head: The reference parameter, `subject` or `subject:Patient`.
            name: The whole name, for error texts.
            then: Gives what must hold for a target of a type; raises UnknownParameter where the type lacks it.
            hops: References followed, this one counted.
        """
        code, _, modifier = head.partition(":")
        parameter = self.known(types, code, name)
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
                found[type] = then(type)
            except UnknownParameter:
                if modifier or len(possible) == 1:
                    raise
        if not found:
            raise UnknownParameter(f"The search parameter '{shown(name)}' is not known on what it refers to.")
        return Chain(parameter, tuple(found), tuple(found.values()))

    def has(
        self, types: Sequence[str], name: str, then: Callable[[str, str], Clause], inside: int, place: str = ""
    ) -> Has:
        """Ask for a resource that refers here.

        Args:
            types: The resource types that it is asked on.
            name: `_has:Type:reference:rest`.
            then: Gives the clause of the one that refers, by its type and the rest of the name.
            inside: `_has` around it.
            place: What error texts call it; "" by its name.
        """
        place = place or shown(name)
        if inside >= MOST_HAS:
            raise TooCostly(f"At most {MOST_HAS} _has may stand inside each other.")
        parts = name.split(":", 3)
        if len(parts) != 4 or parts[1] not in resource_types():
            raise UnknownParameter(f"The search parameter '{place}' is not _has:Type:reference:parameter.")
        _, source, code, rest = parts
        parameter = self.known((source,), code, place)
        possible = targets(parameter)
        if parameter.type != "reference" or (possible and not set(possible) & set(types)):
            raise UnknownParameter(f"The search parameter '{place}' does not refer to what is searched.")
        return Has(source, parameter, then(source, rest))

    # --- parameters of every resource that no element of it answers -------------------------------------------

    def _list(self, types: Sequence[str], value: str) -> Has:
        """Read `_list`: the resources that a List refers to, which the caller must be able to see.

        Source: https://hl7.org/fhir/R4/search.html#list
        """
        itself, asks = self.known(("List",), "_id", "_list"), []
        for part in alternatives("_list", value):
            asks.append(Ask(Token(None, list_id("_list", part))))
        return Has("List", self.known(("List",), "item", "_list"), Match(itself, tuple(asks)))

    def _text(self, types: Sequence[str], value: str) -> Match:
        return _full_text("_text", types, value)

    def _content(self, types: Sequence[str], value: str) -> Match:
        return _full_text("_content", types, value)

    def _filter(self, types: Sequence[str], value: str) -> Clause:
        expression: Expression = read_filter(value)
        return Comparisons(self, self._reader).clause(expression, types)


def list_id(name: str, text: str) -> str:
    """Return the id of the List that a parameter names.

    Raises:
        UnknownParameter: It is one of the lists that servers may keep by themselves; this one keeps none.
        BadParameter: It is no id.
    """
    if text.startswith("$"):
        raise UnknownParameter(
            f"The parameter '{name}' takes the id of a List; lists such as $current-problems are not kept here: "
            "search by patient and status instead."
        )
    if not _LIST.fullmatch(text):
        raise BadParameter(f"The parameter '{name}' takes the id of a List.")
    return text.removeprefix("List/")


def _full_text(code: str, types: Sequence[str], value: str) -> Match:
    """Read words. A comma joins by OR, as in every parameter, but for one in quotes or after a backslash."""
    parts: list[str] = []
    for part in split(value[: words.MAX_TEXT + 1], ","):
        if parts and parts[-1].count('"') % 2:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    try:
        for part in parts:
            words.read(part)
        asked = value if len(parts) == 1 else " or ".join(f"({part})" for part in parts)
        words.read(asked)
    except ValueError:
        raise BadParameter(
            f"The parameter '{code}' takes words, \"words in quotes\", and, or, not and parentheses."
        ) from None
    return Match(Parameter(code, "special", types[0], ""), (Ask(Text(asked)),), "words")


_SPECIAL: Final[dict[str, Callable[[Clauses, Sequence[str], str], Clause]]] = {
    "_list": Clauses._list,
    "_text": Clauses._text,
    "_content": Clauses._content,
    "_filter": Clauses._filter,
}
"""Parameters that are asked in a way of their own."""

OF_EVERY_TYPE: Final = {"_content": "string", "_filter": "special", "_list": "special", "_text": "string"}
"""The same, with the type that each is declared with."""


def _shared(each: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the types that some of several parameters may point to; empty where one may point to any."""
    lists = list(each)
    return tuple(dict.fromkeys(type for types in lists for type in types)) if all(lists) else ()
