"""The examples of FHIR R4, as the tests read them (tests/data/README.md)."""

from __future__ import annotations

import lzma
from functools import cache
from pathlib import Path

from fhir_server import gate
from fhir_server.model import Resource

_FILE = Path(__file__).parent.parent / "data" / "examples.jsonl.xz"


@cache
def bodies() -> dict[str, bytes]:
    """Return the JSON of every example by the name of its file."""
    found = {}
    for line in lzma.decompress(_FILE.read_bytes()).splitlines():
        entry = gate.load(line)
        found[entry["file"]] = gate.write(entry["resource"])
    return found


def resource(file: str) -> Resource:
    """Return one example, a new one each time."""
    return gate.parse_resource(bodies()[file])
