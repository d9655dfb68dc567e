"""Write `fhir_server/profiles/r4.bin` from HL7's package: R4's profiles and extensions, without their texts.

Source: hl7.fhir.r4.examples 4.0.1, licence CC0 1.0.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zlib
from pathlib import Path
from typing import Any, Final

import msgspec

from tools.definitions import fetch, read_files

TARGET: Final = Path(__file__).parents[1] / "fhir_server" / "profiles" / "r4.bin"
TOP: Final = ("url", "version", "type", "baseDefinition", "context")
TEXTS: Final = frozenset(
    ["definition", "short", "comment", "requirements", "alias", "mapping", "example", "condition", "isSummary", "base"]
)
EXAMPLES: Final = ("http://hl7.org/fhir/StructureDefinition/example-",)


def trimmed(definition: dict[str, Any]) -> dict[str, Any]:
    """Return what is needed to check against a definition."""
    part = "differential" if definition.get("differential") else "snapshot"
    elements = [{k: v for k, v in e.items() if k not in TEXTS} for e in definition[part]["element"]]
    return {k: definition[k] for k in TOP if k in definition} | {part: {"element": elements}}


def compile_profiles(path: Path) -> bytes:
    """Return zlib over msgpack: url -> JSON of the trimmed definition."""
    found: dict[str, bytes] = {}
    for _, body in read_files(path):
        resource = json.loads(body)
        is_profile = (
            resource.get("resourceType") == "StructureDefinition" and resource.get("derivation") == "constraint"
        )
        if is_profile and not resource["url"].startswith(EXAMPLES):
            found[resource["url"]] = json.dumps(trimmed(resource), separators=(",", ":")).encode()
    return zlib.compress(msgspec.msgpack.encode(dict(sorted(found.items()))), 9)


def main() -> int:
    """Write the file and say how large it came out."""
    parser = argparse.ArgumentParser(prog="python -m tools.profiles", description=__doc__)
    parser.add_argument("--package", type=Path, help="the .tgz of the package; without it, npm fetches it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = compile_profiles(given.package or fetch(Path(folder)))
    TARGET.write_bytes(data)
    print(f"{TARGET}: {len(data):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
