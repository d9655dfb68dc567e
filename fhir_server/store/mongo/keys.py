"""Index values as strings: what a document holds in `tok`, `str` and `ref`, and what a question looks for there.

A string is the parameter's code, a letter for the kind, and the value's parts, parted by a control character
that no FHIR string has; so one multikey index serves every parameter, and several of them by `$all`.
"""

from __future__ import annotations

from typing import Final

PART: Final = "\x1f"

# Kinds in `tok`, for equality.
TOKEN: Final = "t"  # noqa: S105 - (system, code)
CODE: Final = "c"  # (code), of any system
SYSTEM: Final = "s"  # (system), of any code
OF_TYPE: Final = "o"  # (system of the type, code of the type, value)
IDENTIFIED: Final = "I"  # put before the three kinds of token: the identifier of a reference
URI: Final = "u"
EXACT: Final = "e"  # a string as it is written
ID: Final = "i"  # the id of a local reference of any type
URL: Final = "l"  # a reference elsewhere
GIVEN: Final = "x"  # there is some value

# Kinds in `str`, for starts.
FOLDED: Final = "f"  # a folded string
DISPLAY: Final = "d"  # the folded text of a token
START: Final = "u"  # a uri


def key(code: str, kind: str, *parts: str) -> str:
    """Return the string of a value."""
    return PART.join((code, kind, *parts))


def reference(code: str, type: str, id: str) -> str:
    """Return the string in `ref` of a local reference."""
    return f"{code}{PART}{type}/{id}"


def part_code(code: str, number: int) -> str:
    """Return the code under which one component of a composite is kept."""
    return f"{code}{PART}{number}"


def quantity_code(code: str) -> str:
    """Return the code under which the numbers of a quantity are kept: a plain number never answers for them."""
    return f"{code}{PART}q"


def field(code: str) -> str:
    """Return a code as a name of a field."""
    return code.replace(".", "\uff0e").replace("$", "\uff04")
