"""The code tables are those of the guide, with our decisions where it is silent, and every target is a code of R4."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.hl7.maps import obr, obx, pid, pv1
from adapters.hl7.maps.rows import Row
from adapters.hl7.maps.tables import DECISIONS, structures, table
from fhir_server.definitions import codes
from tools.v2_tables import TARGET, compile_tables

GUIDE = Path(__file__).resolve().parents[3] / "shared" / "data" / "v2-to-fhir" / "mappings"
R4 = "http://hl7.org/fhir/ValueSet/"


@pytest.mark.skipif(not GUIDE.exists(), reason=f"the guide's tables are not at {GUIDE}")
def test_the_file_is_what_the_tool_makes_of_the_guide() -> None:
    import json

    made, left_out = compile_tables(GUIDE)
    assert json.loads(TARGET.read_text("utf-8")) == made
    assert left_out == 15


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        pytest.param("AdministrativeSex", "N", "other", id="not applicable is other, as the guide says"),
        pytest.param("MaritalStatus", "A", "L", id="separated is legally separated"),
        pytest.param("ObservationResultStatusCodesInterpretation", "D", "entered-in-error", id="a deleted result"),
        pytest.param("ObservationResultStatusCodesInterpretation", "R", "preliminary", id="ours: not verified"),
        pytest.param("ResultStatus[Non-Queries]", "A", "partial", id="ours: some results"),
        pytest.param("TelecommunicationEquipmentType", "CP", "phone", id="ours: a mobile phone is a phone"),
        pytest.param("InterpretationCodes", "HM", "HM", id="ours: a retired code stays itself"),
    ],
)
def test_some_rows(name: str, code: str, expected: str) -> None:
    assert table(name)[code].code == expected


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("AdministrativeSex", "administrative-gender"),
        ("ObservationResultStatusCodesInterpretation", "observation-status"),
        ("ResultStatus[Non-Queries]", "diagnostic-report-status"),
        ("NameType", "name-use"),
        ("AddressType[Use]", "address-use"),
        ("AddressType[Type]", "address-type"),
        ("TelecommunicationEquipmentType", "contact-point-system"),
        ("TelecommunicationUseCode", "contact-point-use"),
        ("Event[EncounterStatus]", "encounter-status"),
        ("PatientClass[EncounterStatus]", "encounter-status"),
    ],
)
def test_every_target_is_in_r4_s_value_set(name: str, values: str) -> None:
    allowed = codes(R4 + values)
    assert allowed is not None
    assert {target.code for target in table(name).values()} <= {code for _, code in allowed}


def test_decisions_are_about_tables_of_the_guide() -> None:
    assert {name: bool(table(name)) for name in DECISIONS} == dict.fromkeys(DECISIONS, True)


def test_structures_by_event() -> None:
    found = structures()
    assert (found["ADT^A04"], found["ADT^A40"], found["ORU^R01"]) == ("ADT_A01", "ADT_A39", "ORU_R01")


@pytest.mark.parametrize(
    ("rows", "segment"),
    [
        (pid.PID_TO_PATIENT, "PID"),
        (pv1.PV1_TO_ENCOUNTER, "PV1"),
        (obx.OBX_TO_OBSERVATION, "OBX"),
        (obr.OBR_TO_REPORT, "OBR"),
    ],
)
def test_every_row_names_its_row_of_the_guide(rows: tuple[Row, ...], segment: str) -> None:
    assert [row for row in rows if f"{segment}-{row.field}" not in row.guide] == []
