"""Results, orders, appointments, documents and vaccinations on real sockets: points 18-20 and 30-35 of the list."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.blackbox.test_mllp import Line, person, resources
from tests.hl7_messages import header, message, obx, oru, segment
from tests.running import RunningHub

WHEN = "20261120083000"


@pytest.fixture
def one() -> str:
    """A number that no other test uses."""
    return uuid.uuid4().hex[:10].upper()


@pytest.fixture(scope="module")
def applying() -> Iterator[RunningHub]:
    """A hub that acknowledges what is applied, so that nothing need be waited for."""
    with RunningHub("--hl7-ack-when", "applied") as hub:
        yield hub


class Sender:
    """A laboratory that sends about one patient."""

    def __init__(self, hub: RunningHub, number: str) -> None:
        self.hub, self.number, self.sent = hub, number, 0

    def send(self, text: str) -> str:
        """Send a message with the next control id; return MSA-1."""
        self.sent += 1
        with Line(self.hub) as line:
            return line.send(text.replace("|CONTROL|", f"|{self.number}-{self.sent}|"))

    def logged(self) -> dict[str, Any]:
        """Return the last message's entry in the message log."""
        control = f"{self.number}-{self.sent}"
        ran = self.hub.run("hl7", "log", "--store", self.hub.store, "--json", "--control-id", control)
        (found,) = map(json.loads, ran.stdout.splitlines())
        return dict(found)

    def oru(self, *results: str, **fields: str) -> str:
        order = segment("OBR", **{"f3": f"L{self.number}", "f4": "BILAN^Bilan^L", "f7": WHEN, "f25": "F", **fields})
        return self.send(oru(*results, control="CONTROL", person=person(self.number), order=order))

    def found(self, type: str, query: str = "") -> list[dict[str, Any]]:
        return resources(self.hub.search(f"{type}?patient.identifier={self.number}{query}"))

    def values(self) -> list[Any]:
        return [value(one) for one in self.found("Observation", "&_sort=code")]


def value(resource: dict[str, Any]) -> Any:
    """Return the value of an Observation, or of each of its components."""
    if "component" in resource:
        return [value(one) for one in resource["component"]]
    return next((found for name, found in resource.items() if name.startswith("value")), None)


def quantity(number: float, comparator: str = "", unit: str = "mmol/L") -> dict[str, Any]:
    made = {"value": number, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
    return {**made, "comparator": comparator} if comparator else made


@pytest.fixture
def sender(applying: RunningHub, one: str) -> Sender:
    return Sender(applying, one)


def test_point_18_a_z_segment_inside_an_obx_group_stays_there_and_the_group_goes_on(sender: Sender) -> None:
    rows = obx(value="81"), "ZBX|1|local", "NTE|1||After the Z segment", obx("9279-1^FR^LN", "14", "/min", f1="2")
    sender.oru(*rows)
    logged = sender.logged()
    heart, breath = sender.found("Observation", "&_sort=code")
    assert [heart["note"][0]["text"], breath["valueQuantity"]["value"]] == ["After the Z segment", 14]
    assert len(sender.found("DiagnosticReport")[0]["result"]) == 2
    assert "ZBX" in logged["unused"] and logged["state"] == "applied"


def test_point_19_two_patients_in_one_oru_are_never_mixed(applying: RunningHub, one: str) -> None:
    first, second = Sender(applying, f"{one}A"), Sender(applying, f"{one}B")
    other = oru(obx(value="92"), person=person(second.number), order=f"OBR|1||L{second.number}|B^B^L|||{WHEN}")
    text = oru(obx(value="91"), control="CONTROL", person=person(first.number), order=f"OBR|1||L{one}|B^B^L|||{WHEN}")
    first.send(text + other.partition("\r")[2])
    assert [one["value"] for one in first.values()] == [91]
    assert [one["value"] for one in second.values()] == [92]


def test_point_20_prt_in_a_message_of_2_5_names_who_took_part(sender: Sender) -> None:
    prt = "PRT|1|UC||SPRF^Performer^HL70443|7^CURIE^MARIE"
    sender.oru(obx(), prt, obx("9279-1^FR^LN", "14", "/min", f1="2"))
    heart, breath = sender.found("Observation", "&_sort=code")
    assert heart["performer"][0]["display"] == "MARIE CURIE" and "performer" not in breath
    assert "PRT" not in sender.logged()["unused"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param("<0.10", quantity(0.10, "<"), id="point 30: NM <0.10 is a number with a comparator"),
        pytest.param("1,5", "1,5", id="point 30: NM 1,5 stays a text: the comma is not guessed"),
        pytest.param("POS", "POS", id="point 30: NM POS stays a text"),
        pytest.param("-0.50", quantity(-0.5), id="point 30: NM -0.50 is a number"),
    ],
)
def test_numbers(sender: Sender, sent: str, expected: Any) -> None:
    assert sender.oru(obx("2345-7^GLU^LN", sent, "mmol/L")) == "AA"
    assert sender.values() == [expected]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param("^3^-^5", {"low": quantity(3), "high": quantity(5)}, id="point 31: SN 3-5 is a range"),
        pytest.param(
            "^1^:^160", {"numerator": quantity(1), "denominator": quantity(160)}, id="point 31: SN 1:160 is a ratio"
        ),
        pytest.param("<>^5", "<> 5 mmol/L", id="point 31: SN <> is a text"),
        pytest.param(">=^90", quantity(90, ">="), id="point 31: SN >=90 keeps its comparator"),
    ],
)
def test_structured_numbers(sender: Sender, sent: str, expected: Any) -> None:
    sender.oru(obx("2345-7^GLU^LN", sent, "mmol/L", "SN"))
    assert sender.values() == [expected]


def test_point_32_repetitions_of_a_value_become_components_and_of_a_text_its_lines(sender: Sender) -> None:
    sender.oru(obx("2345-7^GLU^LN", "5.1~5.3", "mmol/L"), obx("8251-1^Comment^LN", "One~Two", "", "TX", f1="2"))
    assert sender.values() == [[quantity(5.1), quantity(5.3)], "One\nTwo"]


def test_point_33_a_result_goes_from_preliminary_to_final_to_corrected_and_a_late_preliminary_changes_nothing(
    sender: Sender,
) -> None:
    for status, number in (("P", "5.1"), ("F", "5.2"), ("C", "5.4"), ("P", "5.1")):
        assert sender.oru(obx("2345-7^GLU^LN", number, "mmol/L", f11=status), f25=status) == "AA"
    (result,) = sender.found("Observation")
    (report,) = sender.found("DiagnosticReport")
    assert (result["status"], result["valueQuantity"]["value"], report["status"]) == ("corrected", 5.4, "corrected")
    assert [result["meta"]["versionId"], report["meta"]["versionId"]] == ["3", "3"]
    assert sender.logged()["state"] == "superseded"


def test_point_34_a_cancelled_report_is_cancelled_and_says_why_there_is_no_value(sender: Sender) -> None:
    sender.oru(obx("2345-7^GLU^LN", "", "", "NM", f11="X"), f25="X")
    (result,) = sender.found("Observation")
    assert sender.found("DiagnosticReport")[0]["status"] == "cancelled"
    assert result["status"] == "cancelled" and "dataAbsentReason" in result
    assert result["_status"]["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == "X"


def test_point_35_a_unit_and_a_code_that_nobody_knows_are_kept_and_reported(sender: Sender) -> None:
    sender.oru(obx("99999-0^Nothing^LN", "7", "furlongs"), obx("XYZ^Local^99LAB", "8", "kg", f1="2"))
    known, local = sorted(sender.found("Observation"), key=lambda one: str(one["valueQuantity"]["value"]))
    assert known["valueQuantity"] == {"value": 7, "unit": "furlongs"}
    assert known["code"]["coding"][0] == {"system": "http://loinc.org", "code": "99999-0", "display": "Nothing"}
    assert local["code"]["coding"][0]["code"] == "XYZ" and local["valueQuantity"]["code"] == "kg"
    assert ("unit-unknown", "furlongs") in {(issue["rule"], issue["code"]) for issue in sender.logged()["issues"]}


def test_an_order_its_result_and_its_cancellation_are_one_order(sender: Sender) -> None:
    number = f"O{sender.number}"
    order = f"OBR|1|{number}^DPI||2345-7^GLU^LN"
    start = header("ORM^O01^ORM_O01", "CONTROL"), person(sender.number)
    sender.send(message(*start, f"ORC|NW|{number}^DPI|||||||{WHEN}|||7^CURIE^MARIE", order))
    assert sender.found("ServiceRequest")[0]["status"] == "active"
    done = f"ORC|RE|{number}^DPI|F1^LAB\r{order}|||{WHEN}{'|' * 18}F"
    result = obx("2345-7^GLU^LN", "5.1", "mmol/L")
    sender.send(oru(result, control="CONTROL", person=person(sender.number), order=done))
    (request,) = sender.found("ServiceRequest")
    assert request["status"] == "completed" and request["requester"]["display"] == "MARIE CURIE"
    assert sender.found("DiagnosticReport")[0]["basedOn"][0]["reference"] == f"ServiceRequest/{request['id']}"
    sender.send(message(*start, f"ORC|OC|{number}^DPI"))
    (request,) = sender.found("ServiceRequest")
    assert (request["status"], request["code"]["coding"][0]["code"]) == ("revoked", "2345-7")


def test_an_appointment_is_made_moved_and_missed(sender: Sender) -> None:
    def siu(event: str, *rows: str) -> None:
        sender.send(message(header(f"SIU^{event}^SIU_S12", "CONTROL"), *rows[:1], person(sender.number), *rows[1:]))

    number = f"SCH||R{sender.number}"
    siu("S12", f"{number}|||||||30|min|^^^20261201090000", "AIP|1|A|7^CURIE^MARIE")
    siu("S13", f"{number}|||||||30|min|^^^20261202090000", "AIP|1|A|7^CURIE^MARIE")
    (made,) = sender.found("Appointment")
    assert (made["status"], made["start"][:10], made["end"][:16]) == ("booked", "2026-12-02", "2026-12-02T09:30")
    siu("S15", f"{number}||||ILL^Ill^L")
    assert sender.found("Appointment")[0]["cancelationReason"]["coding"][0]["code"] == "ILL"
    siu("S14", number)
    assert (sender.logged()["state"], sender.found("Appointment")[0]["status"]) == ("applied", "booked")
    siu("S26", f"{number}||||LATE^Too late^L")
    (made,) = sender.found("Appointment")
    assert (made["status"], made["start"][:10], len(made["participant"])) == ("noshow", "2026-12-02", 2)


def test_a_document_is_replaced_and_a_large_one_is_a_binary_of_its_patient(sender: Sender) -> None:
    def mdm(event: str, txa: str, content: str) -> None:
        kind = f"MDM^{event}^MDM_T02"
        sender.send(
            message(header(kind, "CONTROL"), f"EVN|{event}|{WHEN}", person(sender.number), "PV1||O", txa, content)
        )

    first, second = f"A{sender.number}^DPI", f"B{sender.number}^DPI"
    mdm("T02", f"TXA|1|CR|AP|{WHEN}||{WHEN}||||||{first}|||||AU||AV", "OBX|1|TX|CR^Report^L||Text||||||F")
    data = "JVBERi0x" + "A" * 400_000
    pdf = f"OBX|1|ED|CR^Report^L||^AP^PDF^Base64^{data}||||||F"
    mdm("T10", f"TXA|1|CR|AP|{WHEN}||{WHEN}||||||{second}|{first}||||AU||AV", pdf)
    old, new = sorted(sender.found("DocumentReference"), key=lambda one: str(one["status"]), reverse=True)
    assert (old["status"], new["status"]) == ("superseded", "current")
    assert new["relatesTo"][0]["target"]["reference"] == f"DocumentReference/{old['id']}"
    where = f"/fhir/{new['content'][0]['attachment']['url']}"
    plain = sender.hub.request("GET", where)
    assert (plain.headers["content-type"], plain.content[:5]) == ("application/pdf", b"%PDF-")
    binary = sender.hub.request("GET", where, Accept="application/fhir+json").json()
    assert binary["contentType"] == "application/pdf" and len(binary["data"]) == len(data)
    assert binary["securityContext"]["reference"] == new["subject"]["reference"]

    def status_for(patient: str) -> int:
        token = sender.hub.token("patient/*.rs", patient=patient.partition("/")[2])
        return sender.hub.request("GET", f"/fhir/Binary/{binary['id']}", token=token).status_code

    stranger = sender.hub.create({"resourceType": "Patient"})
    assert status_for(new["subject"]["reference"]) == 200
    assert status_for(f"Patient/{stranger['id']}") == 404


def test_a_vaccination_whose_dose_is_unknown_has_none(sender: Sender) -> None:
    rows = f"ORC|RE||V{sender.number}^LAB", f"RXA|0|1|{WHEN}||08^Hepatitis B^CVX|999", "RXR|IM^Muscle^HL70162"
    sender.send(message(header("VXU^V04^VXU_V04", "CONTROL"), person(sender.number), *rows))
    (made,) = sender.found("Immunization")
    assert made["status"] == "completed" and "doseQuantity" not in made
    assert made["route"]["coding"][0]["code"] == "IM"
