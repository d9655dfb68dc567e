"""Compile UCUM's essence, an XML file, into the table `fhir_server/ucum/atoms.json`.

Run `python -m tools.ucum ucum-essence.xml`; the file is that of https://github.com/ucum-org/ucum. Left out are
names, print symbols and the upper-case codes, which FHIR does not use.
"""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as Tree
from pathlib import Path
from typing import Final

TARGET: Final = Path(__file__).resolve().parents[1] / "fhir_server" / "ucum" / "atoms.json"
_NS: Final = {"u": "http://unitsofmeasure.org/ucum-essence"}
NOTICE: Final = (
    "This product includes all or a portion of the UCUM table, UCUM codes, and UCUM definitions or is derived from it, "
    "subject to a license from Regenstrief Institute, Inc. and The UCUM Organization. Your use of the UCUM table, "
    "UCUM codes, UCUM definitions also is subject to this license, a copy of which is available at "
    "http://unitsofmeasure.org."
)


def _row(unit: Tree.Element) -> list[object]:
    """Return code, value, unit, whether it takes prefixes, and what kind it is."""
    value = unit.find("u:value", _NS)
    assert value is not None
    function = value.find("u:function", _NS)
    metric = unit.get("isMetric") == "yes"
    if function is not None:
        return [unit.get("Code"), function.get("value"), function.get("Unit"), metric, function.get("name")]
    kind = "arbitrary" if unit.get("isArbitrary") == "yes" else ""
    return [unit.get("Code"), value.get("value"), value.get("Unit"), metric, kind]


def compiled(essence: Path) -> str:
    """Return the table as JSON, one atom a line."""
    root = Tree.parse(essence).getroot()
    prefixes = {
        str(prefix.get("Code")): str(value.get("value"))
        for prefix in root.findall("u:prefix", _NS)
        if (value := prefix.find("u:value", _NS)) is not None
    }
    head = {
        "source": f"UCUM essence {root.get('version')} of {root.get('revision-date')}, https://ucum.org/ucum",
        "notice": NOTICE,
        "prefixes": prefixes,
        "bases": [unit.get("Code") for unit in root.findall("u:base-unit", _NS)],
    }
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    atoms = ",\n".join(json.dumps(_row(unit)) for unit in root.findall("u:unit", _NS))
    return "{\n" + ",\n".join(lines) + ',\n"atoms": [\n' + atoms + "\n]\n}\n"


def main() -> int:
    """Write the table."""
    if len(sys.argv) != 2:
        print("usage: python -m tools.ucum ucum-essence.xml", file=sys.stderr)
        return 2
    TARGET.write_text(compiled(Path(sys.argv[1])), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
