"""Compile the code tables of HL7's v2-to-FHIR guide into the one file that the HL7 v2 adapter reads.

`python -m tools.v2_tables FOLDER` takes the guide's folder `mappings` (repository HL7/v2-to-fhir at commit
8c9b414, Apache 2.0) and writes `adapters/hl7/maps/tables.json`. Rows that a narrative condition guards and rows
whose target is SNOMED CT (which has a licence of its own) are left out and counted. Our decisions where the
guide has no row stand in `adapters/hl7/maps/tables.py`, not in the file made here.
Source: https://github.com/HL7/v2-to-fhir, mappings/codesystems
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

COMMIT = "8c9b414"
TARGET = Path(__file__).parent.parent / "adapters" / "hl7" / "maps" / "tables.json"
PREFIX = "HL7 Concept Map_ "
LICENSED = "snomed.info"
STRUCTURES = "MessageStructure"


class Row(NamedTuple):
    """One row of a table: a v2 code and what it becomes."""

    source: str
    code: str
    display: str
    system: str


class Table(NamedTuple):
    """One table of the guide."""

    rows: list[Row]
    silent: dict[str, str]  # codes that it lists without a target, with their texts
    number: str  # HL7's number of the table, "" where the guide does not say
    left_out: int  # rows that a condition guards, or whose target is licensed


def read(path: Path) -> Table:
    """Return one table."""
    with path.open(encoding="utf-8", newline="") as file:
        _, head, *lines = list(csv.reader(file))
    targets = [n for n, name in enumerate(head) if name == "Code"]
    code, display, system = targets[1], _column(head, "Display", 1), _column(head, "Code System", 2)
    made = Table([], {}, "", 0)
    for line in lines:
        cells = [cell.replace("\xa0", " ").strip() for cell in line] + [""] * len(head)
        row = Row(cells[0], cells[code], cells[display], cells[system])
        if not row.source:
            continue
        made = made._replace(number=made.number or cells[2][-4:])
        if not row.code:
            made.silent[row.source] = cells[1]
        elif any(cells[3:6]) or LICENSED in row.system:
            made = made._replace(left_out=made.left_out + 1)
        else:
            made.rows.append(row)
    return made


def _column(head: list[str], name: str, occurrence: int) -> int:
    return [n for n, text in enumerate(head) if text == name][occurrence - 1]


def structures(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (trigger, structure) of table 0354."""
    with path.open(encoding="utf-8", newline="") as file:
        for name, triggers, *_ in list(csv.reader(file))[2:]:
            for trigger in triggers.replace("|", "I").split(","):
                if "_" in name and len(trigger.strip()) == 3:
                    yield f"{name.partition('_')[0]}^{trigger.strip()}", name


def compile_tables(folder: Path) -> tuple[dict[str, object], int]:
    """Return what the file holds, and the number of rows left out."""
    tables: dict[str, dict[str, list[str]]] = {}
    silent: dict[str, dict[str, str]] = {}
    numbers: dict[str, str] = {}
    skipped = 0
    for path in sorted((folder / "codesystems").glob(f"{PREFIX}*.csv")):
        name = path.name.removeprefix(PREFIX).rpartition(" - ")[0]
        if name == STRUCTURES:
            continue
        table = read(path)
        skipped += table.left_out
        if table.rows:
            tables[name] = {row.source: [row.code, row.display, row.system] for row in table.rows}
        if table.silent:
            silent[name] = table.silent
        if table.number and name in {*tables, *silent}:
            numbers[name] = table.number
    found = structures(folder / "codesystems" / f"{PREFIX}{STRUCTURES} - Sheet1.csv")
    made: dict[str, object] = {"source": f"HL7/v2-to-fhir {COMMIT}, Apache-2.0", "tables": tables, "silent": silent}
    return {**made, "numbers": numbers, "structures": dict(found)}, skipped


def main() -> None:
    """Write the file and say what is in it."""
    parser = argparse.ArgumentParser(description="Compile the code tables of HL7's v2-to-FHIR guide.")
    parser.add_argument("folder", type=Path, help="the guide's folder `mappings`")
    made, skipped = compile_tables(parser.parse_args().folder)
    TARGET.write_text(json.dumps(made, ensure_ascii=False, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{TARGET}: {len(made['tables'])} tables, {skipped} rows left out")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
