"""Ids that the server gives: 32 characters, later ones sort later, so that index pages stay warm."""

from __future__ import annotations

import re
import secrets
import threading
import time

from fhir_server.errors import BadRequest

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


class Randomness(threading.local):
    """Random hex digits of the system, fetched some thousand at a time (each fetch is a system call), by thread."""

    def __init__(self) -> None:
        self._left = ""

    def take(self, digits: int) -> str:
        """Return that many digits, never the same ones twice."""
        if len(self._left) < digits:
            self._left = secrets.token_hex(2048)
        taken, self._left = self._left[:digits], self._left[digits:]
        return taken


_randomness = Randomness()


def new_id() -> str:
    """Return a new id: 12 hex digits of the time in milliseconds, 20 of randomness."""
    return f"{time.time_ns() // 1_000_000:012x}{_randomness.take(20)}"


def new_request_id() -> str:
    """Return an id for a request that came without one."""
    return _randomness.take(16)


def is_id(text: str) -> bool:
    """Whether the text is a FHIR id (https://hl7.org/fhir/R4/datatypes.html#id)."""
    return _ID.fullmatch(text) is not None


def check_id(text: str) -> str:
    """Return the id; raise BadRequest when it is none."""
    if not is_id(text):
        raise BadRequest("An id is 1 to 64 letters, digits, dots and dashes.")
    return text
