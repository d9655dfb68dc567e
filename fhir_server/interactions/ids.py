"""Ids that the server gives: 32 characters, later ones sort later, so that index pages stay warm."""

from __future__ import annotations

import re
import secrets
import time

from fhir_server.errors import BadRequest

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def new_id() -> str:
    """Return a new id: 12 hex digits of the time in milliseconds, 20 of randomness."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def is_id(text: str) -> bool:
    """Whether the text is a FHIR id (https://hl7.org/fhir/R4/datatypes.html#id)."""
    return _ID.fullmatch(text) is not None


def check_id(text: str) -> str:
    """Return the id; raise BadRequest when it is none."""
    if not is_id(text):
        raise BadRequest("An id is 1 to 64 letters, digits, dots and dashes.")
    return text
