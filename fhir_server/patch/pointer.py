"""JSON Pointers, in the strict reading that JSON Patch asks for.

Source: RFC 6901, https://www.rfc-editor.org/rfc/rfc6901
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

from fhir_server.errors import TooCostly
from fhir_server.gate import MAX_DEPTH
from fhir_server.patch.target import malformed, unfit

Pointer: TypeAlias = tuple[str, ...]

_INDEX: Final = re.compile(r"(?:0|[1-9][0-9]{0,8})\Z")
_BROKEN: Final = re.compile(r"~(?![01])")


def parse(text: Any, number: int, member: str) -> Pointer:
    """Split a pointer into its decoded tokens.

    Args:
        text: What the operation has there.
        number: Of the operation, for the refusal.
        member: Its name, for the refusal.

    Raises:
        BadRequest: It is no pointer.
        TooCostly: It is longer than a resource may be deep.
    """
    if not isinstance(text, str) or (text and text[0] != "/") or _BROKEN.search(text):
        raise malformed(number, f"{member} is no JSON Pointer.")
    tokens = text.split("/")[1:]
    if len(tokens) > MAX_DEPTH:
        raise TooCostly("A pointer of the patch is deeper than a resource may be.")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in tokens)


def step(value: Any, token: str, number: int, *, beyond: bool = False) -> Any:
    """Return the key or index that a token is in a value; `beyond` allows the index after the last.

    Raises:
        Unprocessable: It is not there.
    """
    if isinstance(value, dict) and token in value:
        return token
    if isinstance(value, list) and _INDEX.match(token) and int(token) < len(value) + beyond:
        return int(token)
    raise unfit(number, "the path is not there.")


def find(value: Any, pointer: Pointer, number: int) -> Any:
    """Return what a pointer points to; raise Unprocessable where it is not there."""
    for token in pointer:
        value = value[step(value, token, number)]
    return value
