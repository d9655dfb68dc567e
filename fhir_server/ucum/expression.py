"""The grammar of UCUM's expressions.

    main-term:  ["/"] term
    term:       component (("." | "/") component)*      from left to right: a/b.c is (a/b).c
    component:  symbol [exponent] [annotation] | factor [annotation] | "(" main-term ")" [annotation] | annotation

An annotation says nothing about the unit. Beyond the letter of the grammar it may hold blanks and follow a factor or a
parenthesis (`/100{WBC}`, `g/(8.h){shift}`), as in R4's own value sets.
Source: https://ucum.org/ucum, sections 2 and 3
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

MAX_LENGTH: Final = 200  # characters
MAX_NESTED: Final = 8  # parentheses inside each other

_TOKEN: Final = re.compile(
    r"(?P<symbol>10[*^]|(?:\[[!-Z\\^-~]+\]|[A-Za-z_%'])+)(?P<exponent>[+-]?[0-9]{1,2})?(?![0-9])"
    r"|(?P<factor>[1-9][0-9]{0,11})(?![0-9])"
    r"|(?P<mark>[./()])"
    r"|(?P<note>\{[ -z|~]*\})"
)


class Power(NamedTuple):
    """A symbol, prefix and all, to a power."""

    symbol: str
    exponent: int


class Product(NamedTuple):
    """Parts that are multiplied, or divided by where their sign is -1."""

    parts: tuple[tuple[Expression, int], ...]


Expression: TypeAlias = int | Power | Product
"""An integer factor, a symbol, or a term."""


class _Tokens:
    """The tokens of a text, one after the other."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self.kind, self.match = "", None
        self.advance()

    match: re.Match[str] | None

    def at(self, kind: str) -> bool:
        """Whether the token is of this kind."""
        return self.kind == kind

    def advance(self) -> None:
        """Go to the next token; raise ValueError where there is none that UCUM has."""
        if self._at == len(self._text):
            self.kind, self.match = "end", None
            return
        self.match = _TOKEN.match(self._text, self._at)
        if self.match is None:
            raise ValueError("no UCUM unit")
        self._at = self.match.end()
        kind = self.match.lastgroup or ""
        self.kind = self.match[0] if kind == "mark" else "symbol" if kind == "exponent" else kind


def parse(text: str) -> Expression | None:
    """Return what a text says, its symbols not looked up; None where it is no UCUM expression."""
    if not text or len(text) > MAX_LENGTH:
        return None
    try:
        tokens = _Tokens(text)
        made = _term(tokens, 0)
    except ValueError:
        return None
    return made if tokens.kind == "end" else None


def _term(tokens: _Tokens, depth: int) -> Expression:
    sign, parts = 1, []
    if tokens.kind == "/":
        sign = -1
        tokens.advance()
    parts.append((_component(tokens, depth), sign))
    while tokens.kind in (".", "/"):
        sign = -1 if tokens.kind == "/" else 1
        tokens.advance()
        parts.append((_component(tokens, depth), sign))
    return parts[0][0] if len(parts) == 1 and parts[0][1] == 1 else Product(tuple(parts))


def _component(tokens: _Tokens, depth: int) -> Expression:
    made: Expression
    match tokens.kind:
        case "note":
            tokens.advance()
            return 1
        case "symbol" if tokens.match is not None:
            made = Power(tokens.match["symbol"], int(tokens.match["exponent"] or 1))
        case "factor" if tokens.match is not None:
            made = int(tokens.match["factor"])
        case "(" if depth < MAX_NESTED:
            tokens.advance()
            made = _term(tokens, depth + 1)
            if not tokens.at(")"):
                raise ValueError("no UCUM unit")
        case _:
            raise ValueError("no UCUM unit")
    tokens.advance()
    if tokens.at("note"):
        tokens.advance()
    return made
