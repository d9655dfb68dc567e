"""The language of `_filter`, read into a tree; no search parameter is looked up here.

Logical words are evaluated from left to right, `and` binding no tighter than `or`; `not` takes parentheses.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search_filter.html
"""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple, TypeAlias

from fhir_server.errors import BadParameter, TooCostly

MAX_TEXT: Final = 4_000  # characters
MAX_DEPTH: Final = 10  # parentheses and brackets inside each other
MOST_TESTS: Final = 100

OPERATORS: Final = frozenset(
    ("eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb", "pr", "po", "ss", "sb", "in", "ni", "re")
)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*(?::[A-Za-z_][A-Za-z0-9_\-]*)*")
_WORD: Final = re.compile(r"[a-z]+")
_TOKEN: Final = re.compile(r"[^\s\])]+")
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SPACE: Final = re.compile(r"\s*")


class Step(NamedTuple):
    """A name on a path: a search parameter, with a type (`subject:Patient`) or `_has:Type:reference:` before it."""

    name: str
    filter: Expression | None = None  # in brackets: what the resource that it leads to must meet


class Comparison(NamedTuple):
    """A path, an operator and a value."""

    path: tuple[Step, ...]
    operator: str
    value: str
    at: int  # place in the text, the first character is 1


class Both(NamedTuple):
    """`and`."""

    parts: tuple[Expression, ...]


class Either(NamedTuple):
    """`or`."""

    parts: tuple[Expression, ...]


class Negation(NamedTuple):
    """`not (...)`."""

    part: Expression


Expression: TypeAlias = Comparison | Both | Either | Negation


def read_filter(text: str) -> Expression:
    """Read a filter.

    Raises:
        BadParameter: It does not follow the grammar; the text names the place, never the value.
        TooCostly: It is longer, deeper or of more tests than is read.
    """
    if len(text) > MAX_TEXT:
        raise TooCostly(f"A _filter has at most {MAX_TEXT:,} characters.")
    return _Reader(text).expression(0, "")


class _Reader:
    """Goes through the text once."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._tests = text, 0, 0

    def _fail(self, expected: str) -> BadParameter:
        return BadParameter(f"The parameter '_filter' cannot be read at character {self._at + 1}: {expected}.")

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _sign(self) -> str:
        return self._text[self._at : self._at + 1]

    def expression(self, depth: int, closing: str) -> Expression:
        """Read up to a closing sign, or to the end."""
        if depth > MAX_DEPTH:
            raise TooCostly(f"A _filter has at most {MAX_DEPTH} parentheses inside each other.")
        made = self._one(depth)
        while True:
            self._skip()
            if self._sign() == closing:
                self._at += len(closing)
                return made
            word = self._take(_WORD)
            if word not in ("and", "or"):
                self._at -= len(word)
                raise self._fail(f"'and', 'or' or {_ENDS[closing]} is expected")
            made = _joined(word, made, self._one(depth))

    def _one(self, depth: int) -> Expression:
        self._skip()
        if self._sign() == "(":
            self._at += 1
            return self.expression(depth + 1, ")")
        start = self._at
        if self._take(_WORD) == "not":
            self._skip()
            if self._sign() == "(":
                self._at += 1
                return Negation(self.expression(depth + 1, ")"))
        self._at = start
        return self._test(depth)

    def _test(self, depth: int) -> Comparison:
        self._tests += 1
        if self._tests > MOST_TESTS:
            raise TooCostly(f"A _filter has at most {MOST_TESTS} tests.")
        start = self._at + 1
        path = [self._step(depth)]
        while self._sign() == ".":
            self._at += 1
            path.append(self._step(depth))
        if path[-1].filter is not None:
            raise self._fail("a dot and a name are expected after brackets")
        self._skip()
        operator = self._take(_WORD)
        if operator not in OPERATORS:
            self._at -= len(operator)
            raise self._fail("an operator is expected, such as eq, co or ge")
        return Comparison(tuple(path), operator, self._value(), start)

    def _step(self, depth: int) -> Step:
        name = self._take(_NAME)
        if not name:
            raise self._fail("the name of a search parameter is expected")
        if self._sign() != "[":
            return Step(name)
        self._at += 1
        return Step(name, self.expression(depth + 1, "]"))

    def _value(self) -> str:
        if self._sign().strip():
            raise self._fail("a space is expected after the operator")
        self._skip()
        if self._sign() == '"':
            found = self._take(_STRING)
            try:
                return str(json.loads(found).encode(), "utf-8")
            except ValueError:  # no JSON string, or half of a surrogate pair
                raise self._fail("a string in double quotes is expected") from None
        value = self._take(_TOKEN)
        if not value:
            raise self._fail("a value is expected")
        return value


_ENDS: Final = {"": "the end", ")": "a closing parenthesis", "]": "a closing bracket"}


def _joined(word: str, left: Expression, right: Expression) -> Expression:
    """Join from left to right; of one word, in one list, so that a long filter is no deep tree."""
    kind = Both if word == "and" else Either
    if isinstance(left, kind):
        return kind((*left.parts, right))
    return kind((left, right))
