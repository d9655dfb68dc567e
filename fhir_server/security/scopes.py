"""SMART App Launch 2.2 scopes: `system/Observation.rs`, and the v1 forms `.read`, `.write`, `.*`.

Source: https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

from __future__ import annotations

import re

from fhir_server.errors import BadRequest
from fhir_server.model import Scope

ALL = (Scope("system", "*", "cruds"),)

_SCOPE = re.compile(r"(patient|user|system)/([A-Z][A-Za-z]{1,60}|\*)\.(c?r?u?d?s?|read|write|\*)")
_VERSION_1 = {"read": "rs", "write": "cud", "*": "cruds"}


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Read a space-separated scope string.

    Args:
        text: At most 200 scopes; actions in the order c r u d s.

    Raises:
        BadRequest: A scope is malformed, its letters are out of order (never guessed), or it has a query
            (`?category=…`), which would be wider than it says if it were left out.
    """
    words = text.split()
    if len(words) > 200:
        raise BadRequest("There are more than 200 scopes.")
    found = []
    for word in words:
        match = _SCOPE.fullmatch(word)
        if match is None or not match[3]:
            raise BadRequest("A scope is malformed: it reads context/Type.cruds, the letters in this order.")
        found.append(Scope(match[1], match[2], _VERSION_1.get(match[3], match[3])))
    return tuple(found)


def write_scopes(scopes: tuple[Scope, ...]) -> str:
    """Write scopes as they stand in a token."""
    return " ".join(f"{s.context}/{s.type}.{s.actions}" + (f"?{s.query}" if s.query else "") for s in scopes)
