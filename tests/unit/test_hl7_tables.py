"""The code tables are those of the guide, with our decisions where it is silent, and every target is a code of R4."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from adapters.hl7.maps import obr, obx, pid, pv1
from adapters.hl7.maps.decisions import DECIDED
from adapters.hl7.maps.rows import Row
from adapters.hl7.maps.tables import DECISIONS, names, number, silent, structures, table
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
        pytest.param("PatientClass[EncounterClass]", "R", "R", id="a recurring patient keeps the code of table 0004"),
        pytest.param("OrderStatus", "A", "active", id="ours: an order with some results runs"),
        pytest.param("OrderControlCode[ServiceRequest.status]", "OH", "on-hold", id="an order held"),
        pytest.param("ExtendedPriorityCodes", "T", "urgent", id="ours: timing critical is urgent"),
        pytest.param("Priority", "P", "routine", id="ours: table 0027, which the guide does not have"),
        pytest.param(
            "FillerStatusCodes[Appointment]", "Discontinued", "cancelled", id="ours: a discontinued appointment"
        ),
        pytest.param("DiagnosisType", "F", "DD", id="ours: a final diagnosis is that of the discharge"),
        pytest.param("DiagnosisType", "W", "W", id="ours: a working diagnosis keeps its code"),
        pytest.param("DocumentCompletionStatus", "LA", "final", id="ours: legally authenticated is final"),
        pytest.param("DocumentAvailabilityStatus", "OB", "superseded", id="ours: an obsolete document"),
        pytest.param(
            "AllergySeverity[AllergyIntolerance.criticality]", "U", "unable-to-assess", id="ours: severity unknown"
        ),
        pytest.param("Relationship", "GRP", "GRPRN", id="a grandparent"),
        pytest.param("CompletionStatus", "RE", "not-done", id="a vaccine refused"),
        pytest.param("YesNoIndicator[AvailabilityStatus]", "N", "unavailable", id="a specimen not available"),
        pytest.param("Event[EncounterStatus]", "A38", "cancelled", id="ours: a cancelled pre-admission"),
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
        ("AllergenType[AllergyIntoleranceCategory]", "allergy-intolerance-category"),
        ("AllergyType", "allergy-intolerance-type"),
        ("AllergySeverity[AllergyIntolerance.criticality]", "allergy-intolerance-criticality"),
        ("AllergySeverity[AllergyIntolerance.reaction.severity]", "reaction-event-severity"),
        ("CompletionStatus", "immunization-status"),
        ("FillerStatusCodes[Appointment]", "appointmentstatus"),
        ("ExtendedPriorityCodes", "request-priority"),
        ("Priority", "request-priority"),
        ("OrderStatus", "request-status"),
        ("OrderControlCode[ServiceRequest.status]", "request-status"),
        ("DocumentCompletionStatus", "composition-status"),
        ("DocumentAvailabilityStatus", "document-reference-status"),
        ("YesNoIndicator[AvailabilityStatus]", "specimen-status"),
    ],
)
def test_every_target_is_in_r4_s_value_set(name: str, values: str) -> None:
    allowed = codes(R4 + values)
    assert allowed is not None
    assert {target.code for target in table(name).values()} <= {code for _, code in allowed}


def test_every_decision_has_a_reason() -> None:
    assert [name for name, decided in DECIDED.items() for one in decided if not one.reason or not one.rows] == []


@pytest.mark.skipif(not GUIDE.exists(), reason=f"the guide's tables are not at {GUIDE}")
def test_every_row_that_differs_from_the_guide_is_a_decision_or_licensed_or_guarded() -> None:
    """Read the guide's CSV by itself, not by the tool: code in column 0, target in 6, its system in 9."""
    unexplained, replaced = [], set()
    for path in sorted((GUIDE / "codesystems").glob("HL7 Concept Map_ *.csv")):
        name = path.name.removeprefix("HL7 Concept Map_ ").removesuffix(" - Sheet1.csv")
        if name == "MessageStructure":
            continue
        ours = table(name) if name in names() else {}
        with path.open(encoding="utf-8", newline="") as file:
            rows = [[cell.replace("\xa0", " ").strip() for cell in row] for row in list(csv.reader(file))[2:]]
        for code, target, system, guards in ((r[0], r[6], r[9], r[3:6]) for r in rows if len(r) > 9 and r[0]):
            mine = ours[code].code if code in ours else ""
            if mine == target or (not mine and ("snomed.info" in system or any(guards))):
                continue
            if code in DECISIONS.get(name, {}):
                replaced |= {(name, code)} if target else set()
            elif not any(guards):
                unexplained.append((name, code, target, mine))
    assert unexplained == []
    assert replaced == {("TelecommunicationEquipmentType", "CP"), ("Event[EncounterStatus]", "A04")}


def test_codes_without_a_counterpart_in_fhir_are_known() -> None:
    assert silent("AllergenType[AllergyIntoleranceCategory]")["MC"] == "Miscellaneous contraindication"
    assert "F" not in silent("DiagnosisType"), "decided"


def test_tables_have_hl7_s_number() -> None:
    assert [name for name in names() if len(number(name)) != 4 or not number(name).isdigit()] == []
    assert number("PatientClass[EncounterClass]") == "0004"


def test_structures_by_event() -> None:
    found = structures()
    assert (found["ADT^A04"], found["ADT^A40"], found["ORU^R01"]) == ("ADT_A01", "ADT_A39", "ORU_R01")
    assert (found["ADT^A34"], found["ADT^Z99"]) == ("ADT_A30", "ADT_A01"), "ours"


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
