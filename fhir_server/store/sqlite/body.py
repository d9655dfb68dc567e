"""How a version is written in its row."""

from __future__ import annotations

from typing import Any, Final

from fhir_server.model import Version

_METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")
DELETE: Final = _METHODS.index("DELETE")
PLAIN: Final = 0  # format: the body as it is

COLUMNS: Final = "v.seq, v.id, v.version, v.at, v.method, v.format, v.owners, v.body"
"""What `read_row` takes, from `version v`."""


def read_body(format: int, stored: bytes) -> bytes:
    """Return a body as it was put."""
    return stored


def write_row(k: int, version: Version) -> tuple[Any, ...]:
    """Return the row of a version of type `k`."""
    method = _METHODS.index(version.method)
    owners = " ".join(version.owners)
    return (version.seq, k, version.id, version.version, version.at, method, PLAIN, owners, version.body)


def read_row(type: str, row: tuple[Any, ...]) -> Version:
    """Return the version that a row of COLUMNS holds."""
    seq, id, version, at, method, format, owners, stored = row
    body = read_body(format, stored)
    return Version(type, id, version, at, _METHODS[method], body, seq, tuple(owners.split()) if owners else ())
