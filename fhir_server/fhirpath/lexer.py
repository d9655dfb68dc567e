"""Text of an expression to tokens.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#lexical-elements
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fhir_server.fhirpath.failures import InvalidExpression

MAX_LENGTH = 20_000  # characters; the longest expression in R4 has 1,500

_TIME = r"[0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?"
_TOKENS = re.compile(
    rf"""
    (?P<space>\s+|//[^\r\n]*|/\*.*?\*/)
  | (?P<datetime>@[0-9]{{4}}(?:-[0-9]{{2}}(?:-[0-9]{{2}})?)?T(?:{_TIME})?(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})?)
  | (?P<date>@[0-9]{{4}}(?:-[0-9]{{2}}(?:-[0-9]{{2}})?)?)
  | (?P<time>@T{_TIME})
  | (?P<number>[0-9]+(?:\.[0-9]+)?)
  | (?P<string>'(?:[^'\\]|\\.)*')
  | (?P<quoted>`(?:[^`\\]|\\.)*`)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<special>\$(?:this|index|total)\b)
  | (?P<symbol><=|>=|!=|!~|[.\[\](){{}}+\-*/&|<>=~,%])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {"f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LITERAL = frozenset("`'\"\\/")


class Token(NamedTuple):
    """One token; the text of strings and quoted names is unescaped and without quotes."""

    kind: str  # datetime date time number string quoted name special symbol end
    text: str
    at: int  # position in the expression, from 0


def _unescape(match: re.Match[str]) -> str:
    digits, letter = match.groups()
    if digits:
        return chr(int(digits, 16))
    if letter in _ESCAPED:
        return _ESCAPED[letter]
    if letter in _LITERAL:
        return str(letter)
    return match.group()  # R4's own expressions write regular expressions with single backslashes


def tokenize(text: str) -> list[Token]:
    """Split an expression; the last token has the kind "end".

    Raises:
        InvalidExpression: A character starts no token, or the text is too long.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidExpression("The expression is too long.")
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKENS.match(text, at)
        if match is None:
            raise InvalidExpression(f"Unexpected character at position {at} of the expression.")
        kind = str(match.lastgroup)
        found = match.group()
        if kind in ("string", "quoted"):
            found = _ESCAPE.sub(_unescape, found[1:-1]) if "\\" in found else found[1:-1]
        if kind == "symbol" and found == "/" and text.startswith("/*", at):
            raise InvalidExpression("A comment is not closed.")
        if kind != "space":
            tokens.append(Token(kind, found, at))
        at = match.end()
    tokens.append(Token("end", "", at))
    return tokens
