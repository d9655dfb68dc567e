"""Write `fhir_server/profiles/r4.bin` from HL7's package: R4's profiles and extensions, without their texts.

Source: hl7.fhir.r4.examples 4.0.1, licence CC0 1.0.
"""

from __future__ import annotations

import argparse
import json
import lzma
import tempfile
import zlib
from pathlib import Path
from typing import Any, Final

import msgspec

from tools.definitions import fetch, read_files

SNAPSHOTS: Final = Path(__file__).parents[1] / "tests" / "data" / "profile_snapshots.json.xz"
TARGET: Final = Path(__file__).parents[1] / "fhir_server" / "profiles" / "r4.bin"
TOP: Final = ("url", "version", "type", "baseDefinition", "context")
TEXTS: Final = frozenset(
    ["definition", "short", "comment", "requirements", "alias", "mapping", "example", "condition", "isSummary", "base"]
)
EXAMPLES: Final = "http://hl7.org/fhir/StructureDefinition/example-"


def definitions(path: Path) -> dict[str, dict[str, Any]]:
    """Return the profiles and extensions of the package by url."""
    found = {}
    for _, body in read_files(path):
        resource = json.loads(body)
        is_definition = resource.get("resourceType") == "StructureDefinition"
        if is_definition and resource.get("derivation") == "constraint" and not resource["url"].startswith(EXAMPLES):
            found[resource["url"]] = resource
    return dict(sorted(found.items()))


def trimmed(definition: dict[str, Any], wanted: str) -> dict[str, Any]:
    """Return what is needed to check against a definition, by the part wanted where it has that."""
    part = wanted if definition.get(wanted) else "snapshot"
    elements = [{k: v for k, v in e.items() if k not in TEXTS} for e in definition[part]["element"]]
    return {k: definition[k] for k in TOP if k in definition} | {part: {"element": elements}}


def compile_profiles(found: dict[str, dict[str, Any]]) -> bytes:
    """Return zlib over msgpack: url -> JSON of the trimmed definition."""
    packed = {url: json.dumps(trimmed(d, "differential"), separators=(",", ":")).encode() for url, d in found.items()}
    return zlib.compress(msgspec.msgpack.encode(packed), 9)


def snapshots(found: dict[str, dict[str, Any]]) -> bytes:
    """Return HL7's own snapshots of the profiles of resources, for the tests to compare."""
    kept = [trimmed(d, "snapshot") for d in found.values() if d["kind"] == "resource" and "snapshot" in d]
    return lzma.compress(json.dumps(kept, separators=(",", ":")).encode(), preset=9)


def main() -> int:
    """Write the files and say how large they came out."""
    parser = argparse.ArgumentParser(prog="python -m tools.profiles", description=__doc__)
    parser.add_argument("--package", type=Path, help="the .tgz of the package; without it, npm fetches it")
    parser.add_argument("--snapshots", action="store_true", help="write the snapshots for the tests too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = definitions(given.package or fetch(Path(folder)))
    made = {TARGET: compile_profiles(found)} | ({SNAPSHOTS: snapshots(found)} if given.snapshots else {})
    for target, data in made.items():
        target.write_bytes(data)
        print(f"{target}: {len(data):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
