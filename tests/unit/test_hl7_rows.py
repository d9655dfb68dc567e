"""Every row of a patient's and a stay's map names the row of HL7's guide that it follows, or says that it is ours."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import pytest

from adapters.hl7.maps import french, pd1, pid, pv1, pv2
from adapters.hl7.maps.rows import Row

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "v2-to-fhir" / "mappings" / "segments"
MAPS = {
    "PID": pid.PID_TO_PATIENT, "PD1": pd1.PD1_TO_PATIENT, "PV1": pv1.PV1_TO_ENCOUNTER, "PV2": pv2.PV2_TO_ENCOUNTER,
}  # fmt: skip
ROWS = [
    pytest.param(name, row, id=f"{name}-{row.field} to {row.element}") for name, rows in MAPS.items() for row in rows
]


@cache
def guided(segment: str) -> frozenset[str]:
    """Return the fields of a segment that the guide maps to an element of FHIR."""
    found = set()
    for path in FOLDER.glob(f"*R4_ {segment}[[]*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            found |= {line[1].strip() for line in csv.reader(file) if len(line) > 9 and line[9].strip()}
    return frozenset(found)


@pytest.mark.skipif(not FOLDER.exists(), reason=f"the guide's tables are not at {FOLDER}")
@pytest.mark.parametrize(("segment", "row"), ROWS)
def test_a_row_follows_the_guide_or_says_that_it_is_ours(segment: str, row: Row) -> None:
    assert row.guide.startswith((f"{segment}-{row.field}", "ours"))
    has_none = row.guide.endswith("for which the guide has no element")
    assert (f"{segment}-{row.field}" in guided(segment)) is not has_none


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.guide) for row in (*french.PATIENT_ROWS, *french.ENCOUNTER_ROWS)]
)
def test_a_french_row_is_ours(row: Row) -> None:
    assert row.guide.startswith("ours: ")
    assert row.owns is not None
