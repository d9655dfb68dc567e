"""The words of a GraphQL document.

Source: https://spec.graphql.org/October2021/#sec-Lexical-Tokens
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from fhir_server.graphql.failures import Location, QueryError

_TOKENS: Final = re.compile(
    r"""
    (?P<skip> [\ \t,\ufeff]+ | \#[^\n\r]* )
  | (?P<line> \r\n | \n | \r )
  | (?P<name> [_A-Za-z][_0-9A-Za-z]* )
  | (?P<float> -?(?:0|[1-9][0-9]*) (?: \.[0-9]+(?:[eE][+-]?[0-9]+)? | [eE][+-]?[0-9]+ ) (?![.0-9A-Za-z_]) )
  | (?P<int> -?(?:0|[1-9][0-9]*) (?![.0-9A-Za-z_]) )
  | (?P<block> \"\"\" (?: \\\"\"\" | (?!\"\"\") [\s\S] )* \"\"\" )
  | (?P<string> " (?: [^"\\\n\r] | \\ (?: ["\\/bfnrt] | u[0-9A-Fa-f]{4} ) )* " )
  | (?P<spread> \.\.\. )
  | (?P<mark> [!$&()\[\]{}:=@|] )
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPE: Final = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|(["\\/bfnrt]))')
_PLAIN: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Token(NamedTuple):
    """One word."""

    kind: str  # name int float string spread mark end
    text: str  # of a string: what it stands for
    at: Location


def tokens(text: str) -> Iterator[Token]:
    """Yield the words of a document and an end; raise QueryError where it has a character that fits nowhere."""
    position, line, start = 0, 1, 0
    while position < len(text):
        at = Location(line, position - start + 1)
        match = _TOKENS.match(text, position)
        if match is None:
            raise QueryError("The query has a character, a number or a text that cannot be read.", at)
        kind, found = str(match.lastgroup), match.group()
        position = match.end()
        if kind == "line":
            line, start = line + 1, position
        elif kind == "block":
            yield Token("string", _block(found[3:-3]), at)
            breaks = found.replace("\r\n", "\n").replace("\r", "\n").count("\n")
            if breaks:
                line, start = line + breaks, match.start() + max(found.rfind("\n"), found.rfind("\r")) + 1
        elif kind == "string":
            yield Token("string", _unescaped(found[1:-1], at), at)
        elif kind != "skip":
            yield Token(kind, found, at)
    yield Token("end", "", Location(line, position - start + 1))


def _unescaped(text: str, at: Location) -> str:
    made = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _PLAIN[m[2]], text)
    made = made.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs of \u escapes are one character
    if "\x00" in made or "\ufffd" in made:
        raise QueryError("A text has a character that cannot be read.", at)
    return made


def _block(text: str) -> str:
    """Return a block string without its common indentation and its empty first and last lines."""
    lines = re.split(r"\r\n|\n|\r", text.replace('\\"""', '"""'))
    indents = [len(line) - len(line.lstrip(" \t")) for line in lines[1:] if line.strip(" \t")]
    common = min(indents, default=0)
    lines = lines[:1] + [line[common:] for line in lines[1:]]
    while lines and not lines[0].strip(" \t"):
        lines.pop(0)
    while lines and not lines[-1].strip(" \t"):
        lines.pop()
    return "\n".join(lines)
