"""GraphQL documents read: text in, data out.

Source: https://spec.graphql.org/October2021/#sec-Document-Syntax
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar

from fhir_server.graphql.failures import Location, QueryError, TooMuch, shown
from fhir_server.graphql.lexer import Token, tokens
from fhir_server.graphql.syntax import (
    Directive,
    Document,
    Enum,
    Field,
    Fragment,
    Inline,
    Query,
    Selection,
    Spread,
    Value,
    Variable,
    VariableDefinition,
    VariableType,
)

MAX_TEXT: Final = 50_000  # characters
MAX_DEPTH: Final = 24  # selections, lists and objects inside each other
MAX_TOKENS: Final = 10_000
_DIGITS: Final = 60  # of a number

T = TypeVar("T")


def read(text: str) -> Document:
    """Read a document; raise QueryError where it breaks the grammar, TooMuch where it is too long or too deep."""
    if len(text) > MAX_TEXT:
        raise TooMuch(f"The query is longer than {MAX_TEXT} characters.")
    words = []
    for word in tokens(text):
        words.append(word)
        if len(words) > MAX_TOKENS:
            raise TooMuch(f"The query has more than {MAX_TOKENS} words.")
    return _Parser(words).document()


def operation_of(document: Document, name: str) -> Query:
    """Return the operation that is to be run; raise QueryError where the name does not say which."""
    found = [query for query in document.queries if not name or query.name == name]
    if len(found) != 1:
        raise QueryError(
            f"There is no query '{shown(name)}'." if name else "There are several queries: operationName says which."
        )
    return found[0]


class _Parser:
    """One pass over the words."""

    def __init__(self, words: list[Token]) -> None:
        self._words, self._next, self._depth = words, 0, 0

    # --- words --------------------------------------------------------------------------------------------

    @property
    def _word(self) -> Token:
        return self._words[self._next]

    def _take(self) -> Token:
        word = self._word
        if word.kind != "end":
            self._next += 1
        return word

    def _is(self, mark: str) -> bool:
        return self._word.kind in ("mark", "spread") and self._word.text == mark

    def _skip(self, mark: str) -> bool:
        if self._is(mark):
            self._next += 1
            return True
        return False

    def _expect(self, mark: str) -> Location:
        at = self._word.at
        if not self._skip(mark):
            raise QueryError(f"'{mark}' is expected here.", at)
        return at

    def _name(self) -> str:
        if self._word.kind != "name":
            raise QueryError("A name is expected here.", self._word.at)
        return self._take().text

    def _many(self, begin: str, end: str, one: Callable[[], T]) -> list[T]:
        """Read at least one, between marks."""
        at = self._expect(begin)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooMuch(f"The query is deeper than {MAX_DEPTH} levels.", at)
        made = [one()]
        while not self._skip(end):
            made.append(one())
        self._depth -= 1
        return made

    # --- documents ----------------------------------------------------------------------------------------

    def document(self) -> Document:
        """Read all."""
        queries: list[Query] = []
        fragments: dict[str, Fragment] = {}
        while self._word.kind != "end":
            if self._word.kind == "name" and self._word.text == "fragment":
                fragment = self._fragment()
                if fragment.name in fragments:
                    raise QueryError("Two fragments have the same name.", fragment.at)
                fragments[fragment.name] = fragment
            else:
                queries.append(self._query())
        if not queries:
            raise QueryError("The document has no query.", self._word.at)
        names = [query.name for query in queries]
        if len(set(names)) != len(names) or (len(names) > 1 and "" in names):
            raise QueryError("Where there are several queries, each has a name of its own.", queries[-1].at)
        return Document(tuple(queries), fragments)

    def _query(self) -> Query:
        at, name, variables = self._word.at, "", []
        if not self._is("{"):
            kind = self._name()
            if kind in ("mutation", "subscription"):
                raise QueryError(f"There is no {kind} here: write by FHIR's REST, GraphQL reads.", at)
            if kind != "query":
                raise QueryError("A query or a fragment is expected here.", at)
            name = self._name() if self._word.kind == "name" else ""
            variables = self._many("(", ")", self._variable) if self._is("(") else []
            if directives := self._directives():
                raise QueryError(f"A query takes no directive @{shown(directives[0].name)}.", directives[0].at)
        return Query(name, tuple(variables), self._selection(), at)

    def _variable(self) -> VariableDefinition:
        at = self._expect("$")
        name = self._name()
        self._expect(":")
        type = self._type()
        has_default = self._skip("=")
        return VariableDefinition(name, type, self._value(constant=True) if has_default else None, has_default, at)

    def _type(self) -> VariableType:
        if self._skip("["):
            name = self._name()
            self._skip("!")
            self._expect("]")
            return VariableType(name, is_list=True, is_required=self._skip("!"))
        return VariableType(self._name(), is_list=False, is_required=self._skip("!"))

    def _fragment(self) -> Fragment:
        at = self._take().at
        name = self._name()
        if name == "on" or self._name() != "on":
            raise QueryError("A fragment reads: fragment Name on Type { … }.", at)
        type = self._name()
        if directives := self._directives():
            raise QueryError("The definition of a fragment takes no directive.", directives[0].at)
        return Fragment(name, type, self._selection(), at)

    # --- selections ---------------------------------------------------------------------------------------

    def _selection(self) -> tuple[Selection, ...]:
        return tuple(self._many("{", "}", self._selected))

    def _selected(self) -> Selection:
        at = self._word.at
        if not self._skip("..."):
            return self._field(at)
        if self._word.kind == "name" and self._word.text != "on":
            return Spread(self._name(), self._directives(), at)
        type = ""
        if self._word.kind == "name":
            self._take()
            type = self._name()
        return Inline(type, self._directives(), self._selection(), at)

    def _field(self, at: Location) -> Field:
        alias = name = self._name()
        if self._skip(":"):
            name = self._name()
        arguments = self._arguments()
        directives = self._directives()
        return Field(name, alias, arguments, directives, self._selection() if self._is("{") else (), at)

    def _arguments(self) -> dict[str, Value]:
        if not self._is("("):
            return {}
        made: dict[str, Value] = {}
        at = self._word.at
        for name, value in self._many("(", ")", self._argument):
            if name in made:
                raise QueryError(f"The argument '{shown(name)}' is given twice.", at)
            made[name] = value
        return made

    def _argument(self) -> tuple[str, Value]:
        name = self._name()
        self._expect(":")
        return name, self._value(constant=False)

    def _directives(self) -> tuple[Directive, ...]:
        made: list[Directive] = []
        while self._is("@"):
            at = self._expect("@")
            name = self._name()
            if any(each.name == name for each in made):
                raise QueryError(f"The directive @{shown(name)} is given twice.", at)
            made.append(Directive(name, self._arguments(), at))
        return tuple(made)

    # --- values -------------------------------------------------------------------------------------------

    def _value(self, *, constant: bool) -> Value:
        word = self._word
        if self._skip("$"):
            if constant:
                raise QueryError("A default is no variable.", word.at)
            return Variable(self._name(), word.at)
        if self._is("["):
            return self._list(constant)
        if self._is("{"):
            raise QueryError("Objects are no values of FHIR's parameters.", word.at)
        self._take()
        if word.kind == "string":
            return word.text
        if word.kind in ("int", "float"):
            return _number(word)
        if word.kind == "name":
            return {"true": True, "false": False, "null": None}.get(word.text, Enum(word.text))
        raise QueryError("A value is expected here.", word.at)

    def _list(self, constant: bool) -> list[Any]:
        if self._words[self._next + 1].text == "]" and self._words[self._next + 1].kind == "mark":
            self._next += 2
            return []
        return self._many("[", "]", lambda: self._value(constant=constant))


def _number(word: Token) -> int | Decimal:
    if len(word.text) > _DIGITS:
        raise QueryError("A number is too long.", word.at)
    return int(word.text) if word.kind == "int" else Decimal(word.text)
