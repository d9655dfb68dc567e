"""Patient administration on real sockets: points 19 to 29 of the acceptance list, as far as they are about patients."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.blackbox.test_mllp import Line, resources
from tests.hl7_messages import header, message, obx, pid, pv1, segment
from tests.running import RunningHub

SYSTEM = "urn:oid:1.2.250.1.999.1"


class Ward:
    """A sender with a connection of its own, and patients that no other test knows."""

    def __init__(self, hub: RunningHub, line: Line) -> None:
        self.hub, self.line, self.mark = hub, line, uuid.uuid4().hex[:8].upper()
        self.count = 0

    def name(self, person: str) -> str:
        return f"{person}{self.mark}"

    def cx(self, person: str) -> str:
        return f"{self.name(person)}^^^CHU&1.2.250.1.999.1&ISO^PI"

    def visit(self, **more: str) -> str:
        return pv1(f"V{self.mark}", **more)

    def send(self, kind: str, when: str, *segments: str, person: str = "A", expect: str = "AA", **more: str) -> str:
        """Send a message about a patient recorded at a time; `more` goes to PID. Return the answer."""
        self.count += 1
        head = header(kind, f"{self.mark}-{self.count}", when)
        text = message(head, f"EVN||{when}", pid(self.cx(person), **more), *segments)
        return self.raw(text, expect)

    def raw(self, text: str, expect: str = "AA") -> str:
        code = self.line.send(text)
        assert code == expect
        return code

    def patients(self, person: str = "A") -> list[dict[str, Any]]:
        return resources(self.hub.search(f"Patient?identifier={SYSTEM}|{self.name(person)}"))

    def patient(self, person: str = "A") -> dict[str, Any]:
        """Return the patient that has this number now."""
        (found,) = [p for p in self.patients(person) if p.get("active") is not False]
        return found

    def stay(self) -> dict[str, Any]:
        (found,) = resources(self.hub.search(f"Encounter?identifier=V{self.mark}"))
        return found

    def results(self, person: str) -> list[dict[str, Any]]:
        return resources(self.hub.search(f"Observation?patient={self.patient(person)['id']}"))


@pytest.fixture(scope="module")
def paris() -> Iterator[RunningHub]:
    """A hub in the zone of the acceptance list's times."""
    with RunningHub("--zone", "Europe/Paris") as running:
        yield running


@pytest.fixture
def ward(paris: RunningHub) -> Iterator[Ward]:
    with Line(paris) as line:
        yield Ward(paris, line)


def test_point_19_two_patients_in_one_oru_keep_their_own_results(ward: Ward) -> None:
    """Point 19: two patients in one ORU."""
    parts = [header("ORU^R01^ORU_R01", f"{ward.mark}-19")]
    for person, value in (("A", "61"), ("B", "62")):
        order = segment("OBR", f3=f"L{person}{ward.mark}", f4="VITALS^Constantes^L", f25="F")
        parts += [pid(ward.cx(person)), order, obx(value=value)]
    ward.raw(message(*parts))
    assert [[o["valueQuantity"]["value"] for o in ward.results(person)] for person in "AB"] == [[61], [62]]


def test_point_20_prt_in_2_5_names_who_takes_part(ward: Ward) -> None:
    """Point 20: PRT in 2.5."""
    prt = segment("PRT", f2="AD", f4="PH^Pharmacien", f5="7^BLEU^ANA")
    ward.send("ADT^A01^ADT_A01", "20261120083000", prt, ward.visit())
    (team,) = resources(ward.hub.search(f"CareTeam?patient={ward.patient()['id']}"))
    assert [p["member"]["display"] for p in team["participant"]] == ["ANA BLEU"]


def test_point_21_an_a31_without_structure_changes_the_person_and_no_stay(ward: Ward) -> None:
    """Point 21: ADT^A31 without MSH-9.3."""
    ward.send("ADT^A01^ADT_A01", "20261120083000", ward.visit())
    before = ward.stay()["meta"]["versionId"]
    ward.send("ADT^A31", "20261120090000", "PV1||N", f5="LEROY^ZOE^^^^^L")
    assert ward.patient()["name"][0]["family"] == "LEROY"
    assert ward.stay()["meta"]["versionId"] == before


def test_point_22_an_a40_with_the_structure_of_another_event_merges_and_is_undone(ward: Ward) -> None:
    """Point 22: ADT^A40^ADT_A40; the merge is a $merge that $unmerge takes back."""
    for person in "AB":
        ward.send("ADT^A28", "20261120083000", person=person)
    ward.raw(
        message(header("ORU^R01^ORU_R01", f"{ward.mark}-22"), pid(ward.cx("A")), f"OBR|||L{ward.mark}|X^X^L", obx())
    )
    ended = ward.patient("A")["id"]
    ward.send("ADT^A40^ADT_A40", "20261120100000", f"MRG|{ward.cx('A')}", person="B")
    assert ward.patient("A")["id"] == ward.patient("B")["id"]
    assert len(ward.results("B")) == 1
    gone = ward.hub.request("GET", f"/fhir/Patient/{ended}").json()
    assert (gone["active"], gone["link"][0]["type"]) == (False, "replaced-by")
    source = {"name": "source-patient", "valueReference": {"reference": f"Patient/{ended}"}}
    undone = ward.hub.request(
        "POST", "/fhir/Patient/$unmerge", json={"resourceType": "Parameters", "parameter": [source]}
    )
    assert undone.status_code == 200, undone.text
    assert ward.patient("A")["id"] == ended != ward.patient("B")["id"]
    ward.raw(
        message(header("ORU^R01^ORU_R01", f"{ward.mark}-2b"), pid(ward.cx("A")), f"OBR|||M{ward.mark}|X^X^L", obx())
    )
    assert (len(ward.results("A")), len(ward.results("B"))) == (2, 0)


def test_point_23_a_chain_of_merges_and_its_replay_out_of_order_end_alike(ward: Ward) -> None:
    """Point 23: merge chain A->B->C, and replay out of order."""
    first = ("ADT^A40^ADT_A39", "20261120100000", f"MRG|{ward.cx('A')}")
    second = ("ADT^A40^ADT_A39", "20261120110000", f"MRG|{ward.cx('B')}")
    for person in "ABC":
        ward.send("ADT^A28", "20261120083000", person=person)
    ward.send(*second, person="C")
    ward.send(*first, person="B")
    kept = ward.patient("C")["id"]
    assert {ward.patient(person)["id"] for person in "ABC"} == {kept}
    before = ward.patient("C")["meta"]["versionId"]
    ward.send(*first, person="B")
    ward.send(*second, person="C")
    assert (ward.patient("C")["id"], ward.patient("C")["meta"]["versionId"]) == (kept, before)
    ward.raw(
        message(header("ORU^R01^ORU_R01", f"{ward.mark}-23"), pid(ward.cx("A")), f"OBR|||L{ward.mark}|X^X^L", obx())
    )
    assert len(ward.results("C")) == 1


def test_point_24_an_older_a08_undoes_nothing_but_tells_what_no_newer_one_spoke_of(ward: Ward) -> None:
    """Point 24: A08 older than what is stored."""
    ward.send("ADT^A08", "20261120120000", ward.visit(f44=""), f5="NOUVEAU^ANNE^^^^^L")
    ward.send("ADT^A08", "20261120100000", ward.visit(f44=""), f5="ANCIEN^ANNE^^^^^L", f16="M")
    found = ward.patient()
    assert (found["name"][0]["family"], found["maritalStatus"]["coding"][0]["code"]) == ("NOUVEAU", "M")


def test_point_25_a_cancelled_discharge_opens_the_stay_again_in_either_order(ward: Ward) -> None:
    """Point 25: A13 after A03, and before it."""
    ward.send("ADT^A01", "20261120083000", ward.visit())
    ward.send("ADT^A03", "20261121100000", ward.visit(f45="20261121100000"))
    assert (ward.stay()["status"], ward.stay()["period"]["end"][:10]) == ("finished", "2026-11-21")
    ward.send("ADT^A13", "20261121110000", ward.visit(f45="20261121100000"))
    ward.send("ADT^A03", "20261121100000", ward.visit(f45="20261121100000"))
    assert (ward.stay()["status"], "end" in ward.stay()["period"]) == ("in-progress", False)


@pytest.mark.parametrize(
    ("field", "phones"),
    [
        pytest.param("", ["0248000000"], id="point 26: an empty PID-13 leaves the phone"),
        pytest.param('""', [], id='point 26: PID-13 "" deletes the phone'),
    ],
)
def test_point_26_null_and_empty(ward: Ward, field: str, phones: list[str]) -> None:
    ward.send("ADT^A28", "20261120083000", f13="^PRN^PH^^^^^^^^^0248000000")
    ward.send("ADT^A31", "20261120090000", f13=field)
    assert [t["value"] for t in ward.patient().get("telecom", [])] == phones


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param(
            "20261025023000",
            "2026-10-25T02:30:00+02:00",
            id="point 27: 02:30 of the DST night without offset is the first",
        ),
        pytest.param("20261025023000+0200", "2026-10-25T02:30:00+02:00", id="point 27: the first 02:30"),
        pytest.param("20261025023000+0100", "2026-10-25T02:30:00+01:00", id="point 27: the second 02:30"),
        pytest.param("2026112008", "2026-11-20T08:00:00+01:00", id="point 28: an hour without minutes"),
        pytest.param("20261120083015.1234", "2026-11-20T08:30:15.1234+01:00", id="point 28: a fraction of 4 digits"),
        pytest.param("202611200830+0545", "2026-11-20T08:30:00+05:45", id="point 28: an offset of three quarters"),
    ],
)
def test_points_27_and_28_times(ward: Ward, written: str, read: str) -> None:
    ward.send("ADT^A01", "20261120083000", ward.visit(f44=written))
    assert ward.stay()["period"]["start"] == read


def test_point_27_what_comes_in_the_hour_that_is_there_twice_is_taken_as_it_comes(ward: Ward) -> None:
    """Point 27: 02:50, then 02:10 an hour's quarter later: without offset only the order tells them apart."""
    ward.send("ADT^A08", "20261025025000", ward.visit(f44=""), f5="PREMIER^ANNE^^^^^L")
    ward.send("ADT^A08", "20261025021000", ward.visit(f44=""), f5="SECOND^ANNE^^^^^L")
    assert ward.patient()["name"][0]["family"] == "SECOND"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param("1951", "1951", id="point 29: a year of birth"),
        pytest.param("195104", "1951-04", id="point 29: a month of birth"),
        pytest.param("19510423", "1951-04-23", id="point 29: a day of birth"),
        pytest.param("00000000", None, id="point 29: a year of zero is no date"),
    ],
)
def test_point_29_partial_birth_dates(ward: Ward, written: str, read: str | None) -> None:
    ward.send("ADT^A28", "20261120083000", f7=written)
    assert ward.patient().get("birthDate") == read


def test_a_patient_is_not_merged_with_itself_and_the_answer_says_so(ward: Ward) -> None:
    ward.send("ADT^A28", "20261120083000")
    ward.send("ADT^A40^ADT_A39", "20261120100000", f"MRG|{ward.cx('A')}", expect="AA")
    assert ward.patient()["identifier"][0].get("use") is None


def test_french_movements_make_the_course_of_a_stay(ward: Ward) -> None:
    for trigger, when, place in (("A01", "20261120080000", "MED^1"), ("A02", "20261120090000", "CHIR^2")):
        zbe = segment("ZBE", f1=f"{trigger}^DPI", f2=when, f4="INSERT", f5="N", f9="HMS")
        ward.send(f"ADT^{trigger}", when, ward.visit(f3=place), zbe)
    moved = segment("ZBE", f1="A02^DPI", f2="20261120083000", f4="UPDATE", f5="N", f6="A02", f9="HMS")
    ward.send("ADT^Z99^ADT_A01", "20261120120000", ward.visit(f3="REA^3"), moved)
    places = [(p["location"]["display"], p["status"], p["period"]["start"][11:16]) for p in ward.stay()["location"]]
    assert places == [("MED 1", "completed", "08:00"), ("REA 3", "active", "08:30")]


def test_a_french_identity_is_what_the_national_profile_asks(ward: Ward) -> None:
    nir = f"27903512151{int(ward.mark, 16) % 100:02}"
    key = 97 - int(nir) % 97
    ins = f"{nir}{key:02}^^^ASIP-SANTE-INS-NIR&1.2.250.1.213.1.4.10&ISO^INS"
    text = message(
        header("ADT^A28^ADT_A05", f"{ward.mark}-ins", "20261120083000"), "EVN||20261120083000",
        pid(f"{ward.cx('A')}~{ins}", "DUPONT^ANNE^ANNE MARIE^^^^L~DURAND^ANNE^^^^^D", f11="^^BOURGES^^^FRA^BDL^^18033", f32="VALI"),
        segment("ZFD", f5="INSI", f6="20261119", f7="CN"),
    )  # fmt: skip
    ward.raw(text)
    found = ward.patient()
    url = "/fhir/Patient/$validate?profile=urn:predmp:StructureDefinition:fr-patient-ins"
    told = ward.hub.request("POST", url, json=found).json()["issue"]
    assert [(i["diagnostics"], i.get("expression")) for i in told if i["severity"] in ("error", "fatal")] == []
