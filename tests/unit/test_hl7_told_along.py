"""What messages tell beside their main matter: reactions, next of kin, group numbers, who took a specimen."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.model import Resource
from fhir_server.validation import validate
from tests.hl7_core import AUTHORITY, SYSTEM, event, find, hub, number, one, take
from tests.hl7_messages import arrive, header, message, obx, oru, pid, pv1, resources, rules, segment, wanted
from tests.hl7_orders import VISIT, obr, orc, order, rxa, sch, txa

KIN = segment("NK1", f1="1", f2="MARTIN^LUC", f3="SPO^Conjoint^HL70063", f5="0248000000^PRN^PH")
PENICILLIN = segment("IAM", f1="1", f2="DA", f3="PENI^Pénicilline^L", f4="MI", f5="Nausée", f6="A", f7="AR1^X")


def made(text: str, type: str) -> Resource:
    """Return the only resource of a type that a message wants stored; it is valid."""
    (found,) = [one for one in resources(arrive(text)) if one["resourceType"] == type]
    if type != "Patient":
        assert [i for i in validate(found) if i.severity in ("error", "fatal")] == []
    return found


def allergies(*rows: str) -> str:
    return event("A60", 5, PENICILLIN, *rows)


async def test_iar_is_a_reaction_of_the_iam_before_it_and_nte_its_note() -> None:
    rows = ("NTE|1||Vu aux urgences", segment("IAR", f1="39579001^Anaphylaxie^SCT", f2="SV", f4="Adrénaline"))
    second = segment("IAM", f1="2", f2="FA", f3="NOIX^Noix^L", f6="A", f7="AR2^X")
    first, other = wanted(allergies(*rows, second), "AllergyIntolerance")
    assert [i for i in validate(first) if i.severity in ("error", "fatal")] == []
    assert first["reaction"] == [
        {"manifestation": [{"text": "Nausée"}], "severity": "mild"},
        {
            "manifestation": [
                {"coding": [{"code": "39579001", "system": "http://snomed.info/sct", "display": "Anaphylaxie"}]}
            ],
            "severity": "severe",
            "note": [{"text": "Adrénaline"}],
        },
    ]
    assert [note["text"] for note in first["note"]] == ["Vu aux urgences"]
    assert not other.keys() & {"reaction", "note"}


@pytest.mark.parametrize(
    ("relation", "type"),
    [
        pytest.param("", "Practitioner", id="who reported it is a professional where IAM-15 is empty"),
        pytest.param("SEL", "Patient", id="IAM-15 SEL: the patient reported it"),
        pytest.param("SPO", "RelatedPerson", id="IAM-15 SPO: a relative reported it"),
    ],
)
def test_who_reported_an_allergy(relation: str, type: str) -> None:
    iam = segment("IAM", f1="1", f2="DA", f3="PENI^P^L", f6="A", f14="MARTIN^LUC", f15=relation)
    recorder = made(event("A60", 5, iam), "AllergyIntolerance")["recorder"]
    assert recorder == {"type": type, "display": "LUC MARTIN"}


def test_iam_27_adds_its_code_to_that_of_the_allergen() -> None:
    iam = segment("IAM", f1="1", f3="PENI^P^L", f6="A", f27="764146007^Penicillin^SCT")
    assert [c["code"] for c in made(event("A60", 5, iam), "AllergyIntolerance")["code"]["coding"]] == [
        "PENI", "764146007",
    ]  # fmt: skip


def test_a_reaction_without_code_is_told() -> None:
    assert rules(allergies(segment("IAR", f2="SV")))["code-missing"] == "IAR[1]-1"


def test_a_comment_after_another_segment_is_no_comment_of_a_measurement() -> None:
    text = event("A08", 5, obx(), "NTE|1||du poids", PENICILLIN, "NTE|1||de l'allergie")
    (weight,) = [r for r in resources(arrive(text)) if r["resourceType"] == "Observation"]
    assert [note["text"] for note in weight["note"]] == ["du poids"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            message(header("ORU^R01^ORU_R01", "C1"), pid(), KIN, segment("OBR", f3="L1", f4="X^X^L"), obx()),
            id="ORU: next of kin are contacts and related persons",
        ),
        pytest.param(
            message(header("ORM^O01^ORM_O01", "C2"), pid(), KIN, VISIT, orc(), obr()),
            id="ORM: next of kin are contacts and related persons",
        ),
        pytest.param(rxa().replace("ORC|", f"{KIN}\rORC|", 1), id="VXU: next of kin are contacts and related persons"),
    ],
)
async def test_next_of_kin_of_messages_that_do_not_lead(text: str) -> None:
    assert "NK1" not in arrive(text).unused
    async with hub() as core:
        await take(core, text, text)
        patient, related = await one(core, "Patient"), await one(core, "RelatedPerson")
    assert patient["contact"][0]["name"] == {"family": "MARTIN", "given": ["LUC"]}
    assert related["patient"] == {"reference": f"Patient/{patient['id']}"}
    assert (patient["meta"]["versionId"], related["meta"]["versionId"]) == ("1", "1")


async def test_results_do_not_replace_the_contacts_that_the_administration_gave() -> None:
    kin = segment("NK1", f1="1", f2="DURAND^ZOE", f3="MTH")
    person = pid(number("A"))
    text = message(header("ORU^R01^ORU_R01", "C1"), person, KIN, segment("OBR", f3="L1", f4="X^X^L"), obx())
    async with hub() as core:
        await take(core, event("A28", 1, kin), text)
        patient = await one(core, "Patient")
        related = await find(core, "RelatedPerson")
    assert [one["name"]["family"] for one in patient["contact"]] == ["DURAND"]
    assert sorted(one["name"][0]["family"] for one in related) == ["DURAND", "MARTIN"]


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        pytest.param("G1^DPI", ["G1"], id="EI of versions before 2.8: the authority is no number"),
        pytest.param("G1^DPI^1.2.250.1.9^ISO", ["G1"], id="EI with a universal id"),
        pytest.param("G1&DPI^G2&LIS", ["G1", "G2"], id="EIP of 2.8: the filler's number too"),
        pytest.param("^G2&LIS", ["G2"], id="EIP with the filler's number alone"),
        pytest.param("G1", ["G1"], id="a number alone"),
    ],
)
def test_the_number_of_a_group_of_orders(group: str, expected: list[str]) -> None:
    (request,) = wanted(order(orc(f4=group), obr()), "ServiceRequest")
    others = [one["value"] for one in request["identifier"] if one["type"]["coding"][0]["code"] == "FGN"]
    assert list(dict.fromkeys([request["requisition"]["value"], *others])) == expected


def test_the_group_s_number_is_of_the_authority_that_it_names() -> None:
    (request,) = wanted(order(orc(f4="G1^DPI^1.2.250.1.9^ISO"), obr()), "ServiceRequest")
    assert request["requisition"]["system"] == "urn:oid:1.2.250.1.9"


def test_a_reason_that_obr_and_dg1_both_name_is_one_reason() -> None:
    (request,) = wanted(order(orc(), obr(f31="R05^Toux^I10"), "DG1|1||R05^Toux^I10"), "ServiceRequest")
    assert len(request["reasonCode"]) == 1
    assert len(made(sch("S12", "DG1|1||R05^Toux^I10", f7="R05^Toux^I10"), "Appointment")["reasonCode"]) == 1


TAKEN = {"f10": "INF1^SOIGNANT^ZOE", "f14": "20261120084500"}


@pytest.mark.parametrize(
    ("rows", "collectors"),
    [
        pytest.param(("SPM|1|S1||BLD",), ["ZOE SOIGNANT"], id="OBR-10 took the only specimen"),
        pytest.param(("SPM|1|S1||BLD", "SPM|2|S2||BLD"), ["", ""], id="of several specimens OBR-10 says nothing"),
    ],
)
def test_who_took_a_specimen(rows: tuple[str, ...], collectors: list[str]) -> None:
    text = order(orc(), obr(**TAKEN), *rows)
    found = wanted(text, "Specimen")
    assert [one.get("collection", {}).get("collector", {}).get("display", "") for one in found] == collectors
    assert ("OBR-10" in arrive(text).unused) is (len(rows) > 1)


def test_what_the_specimen_says_itself_goes_before_the_order() -> None:
    spm = segment("SPM", f1="1", f2="S1", f4="BLD", f18="20261120090000")
    (found,) = wanted(order(orc(), obr(**TAKEN), spm), "Specimen")
    assert found["receivedTime"] == "2026-11-20T09:00:00+01:00"


@pytest.mark.parametrize(
    ("fields", "expected", "told"),
    [
        pytest.param({"f10": "1^DUPRE^JEAN"}, "JEAN DUPRE", False, id="TXA-10 alone"),
        pytest.param({"f22": "2^ROUX^ANNE"}, "ANNE ROUX", False, id="TXA-22 alone"),
        pytest.param({"f10": "1^DUPRE^JEAN", "f22": "2^ROUX^ANNE"}, "ANNE ROUX", True, id="TXA-22 did it: it is told"),
    ],
)
def test_who_authenticated_a_document(fields: dict[str, Any], expected: str, told: bool) -> None:
    text = txa("T01", **fields)
    assert made(text, "DocumentReference")["authenticator"]["display"] == expected
    assert ("authenticator-differs" in rules(text)) is told


async def test_a_place_of_birth_with_its_code_keeps_it_beside_its_name() -> None:
    async with hub() as core:
        await take(core, event("A28", 1, f11="^^^^^FRA^BDL^^21231", f23="Dijon"))
        patient = await one(core, "Patient")
    (place,) = [e["valueAddress"] for e in patient["extension"] if e["url"].endswith("patient-birthPlace")]
    assert (place["text"], place["country"], place["extension"][0]["valueCoding"]) == (
        "Dijon",
        "FRA",
        {"code": "21231"},
    )


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param(oru(person=pid(f18="N1^^^X", f21="M1^^^X")), {"PID-18", "PID-21"}, id="results read neither"),
        pytest.param(event("A28", 1, f18="N1^^^X", f21="M1^^^X"), {"PID-18"}, id="a person alone has no account"),
        pytest.param(event("A01", 1, stay=pv1("V1"), f18="N1^^^X", f21="M1^^^X"), set(), id="a stay has both"),
        pytest.param(
            event("A01", 1, stay=segment("PV1", f2="I", f44="20261120"), f18="N1^^^X"),
            set(),
            id="PID-18 names the stay",
        ),
    ],
)
def test_an_account_or_mother_that_nothing_reads_counts_as_unused(text: str, left: set[str]) -> None:
    assert {name for name in arrive(text).unused if name.startswith("PID")} == left


def report(control: str, minute: int, status: str, data: str = "JVBERi0xLjQK", stay: str = "") -> str:
    """Return a report with one document of this status."""
    document = segment(
        "OBX", f1="1", f2="ED", f3="18842-5^CR^LN", f5=data and f"^application^pdf^Base64^{data}", f11=status
    )
    start = header("ORU^R01^ORU_R01", control, f"2026112009{minute:02}00")
    return message(
        start, pid(number("A")), *([stay] if stay else []), segment("OBR", f3="L1", f4="X^X^L"), obx(), document
    )


@pytest.mark.parametrize("status", ["D", "W", "X"])
@pytest.mark.parametrize("data", [pytest.param("JVBERi0xLjQK", id="sent again"), pytest.param("", id="not sent again")])
async def test_a_document_that_is_withdrawn_is_in_no_report_any_more(status: str, data: str) -> None:
    assert rules(report("C2", 2, status, data))["document-withdrawn"] == "OBX[2]-11"
    async with hub() as core:
        await take(core, report("C1", 1, "F"))
        (shown,) = (await one(core, "DiagnosticReport"))["presentedForm"]
        await take(core, report("C2", 2, status, data))
        (left,) = (await one(core, "DiagnosticReport"))["presentedForm"]
    assert "data" in shown
    assert left == {"title": "CR"}


async def test_a_large_document_that_is_withdrawn_was_entered_in_error() -> None:
    large = "JVBE" * 70_000
    async with hub() as core:
        await take(core, report("C0", 0, "W"))
        assert await find(core, "DocumentReference") == []
        await take(core, report("C1", 1, "F", large), report("C2", 2, "W"))
        (form,) = (await one(core, "DiagnosticReport"))["presentedForm"]
        document = await one(core, "DocumentReference")
    assert (form, document["status"]) == ({"title": "CR"}, "entered-in-error")
    assert "url" in document["content"][0]["attachment"]


STAY = segment("PV1", f2="I", f19="V9^^^" + AUTHORITY)


async def test_results_of_a_stay_that_is_not_known_yet_name_it_by_its_number() -> None:
    text = report("C1", 1, "F", stay=STAY)
    async with hub() as core:
        await take(core, text)
        found = [await one(core, "DiagnosticReport"), await one(core, "Observation")]
        assert await find(core, "Encounter") == []
        await take(core, event("A01", 2, stay=STAY), report("C2", 2, "C", stay=STAY))
        stay, later = await one(core, "Encounter"), await one(core, "DiagnosticReport")
    assert [r["encounter"] for r in found] == [
        {"type": "Encounter", "identifier": {"system": SYSTEM, "value": "V9"}},
        {"type": "Encounter", "identifier": {"system": SYSTEM, "value": "V9"}},
    ]
    assert later["encounter"] == {"reference": f"Encounter/{stay['id']}"}


async def test_results_name_no_stay_of_another_patient() -> None:
    async with hub() as core:
        await take(core, event("A01", 1, stay=STAY, person="B"), report("C1", 2, "F", stay=STAY))
        assert "encounter" not in await one(core, "DiagnosticReport")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param([{"f40": "06^PRN^CP"}, {"f40": "06^PRN^CP"}], ["06"], id="PID-40 again is one number"),
        pytest.param([{"f40": "06^PRN^CP"}, {"f40": "07^PRN^CP"}], ["07"], id="a new PID-40 replaces the one before"),
        pytest.param([{"f13": "03^PRN^PH"}, {"f40": "07^PRN^CP"}], ["07"], id="PID-40 replaces what PID-13 said"),
        pytest.param([{"f14": "09^WPN^PH"}, {"f40": "07^PRN^CP"}], ["09", "07"], id="PID-40 leaves work numbers"),
        pytest.param([{"f40": "08^WPN^PH~07^PRN^CP"}, {"f40": "09^WPN^PH"}], ["09", "07"], id="of the work by itself"),
        pytest.param(
            [{"f13": "03^PRN^PH", "f40": "07^PRS^CP"}] * 2, ["03", "07"], id="PID-13 and PID-40 are both kept"
        ),
        pytest.param([{"f13": "07^PRN^CP", "f40": "07^PRN^CP"}], ["07"], id="one number in both is one"),
        pytest.param([{"f40": "07^PRS^CP"}, {"f40": '""'}], [], id="the null value of PID-40 deletes"),
        pytest.param([{"f13": "03^PRN^PH"}, {"f13": '""', "f40": "07^PRS^CP"}], ["07"], id="PID-13 goes, PID-40 comes"),
    ],
)
async def test_numbers_of_pid_40_are_renewed(sent: list[dict[str, str]], expected: list[str]) -> None:
    async with hub() as core:
        await take(core, *(event("A31", minute, **fields) for minute, fields in enumerate(sent, 1)))
        patient = await one(core, "Patient")
    assert sorted(each["value"] for each in patient.get("telecom", ())) == sorted(expected)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param({}, {"f13": "1^ROUX^ANNE"}, ["ANNE ROUX"], id="PV2-13 referred the patient"),
        pytest.param({"f8": "2^DUPRE^JEAN"}, {"f13": "1^ROUX^ANNE"}, ["JEAN DUPRE", "ANNE ROUX"], id="PV1-8 did too"),
        pytest.param({"f8": "1^ROUX^ANNE"}, {"f13": "1^ROUX^ANNE"}, ["ANNE ROUX"], id="both name one"),
        pytest.param({"f8": "1^ROUX^ANNE"}, {"f13": '""'}, ["ANNE ROUX"], id="PV2-13 deletes nobody of PV1-8"),
    ],
)
async def test_who_referred_a_patient(first: dict[str, str], second: dict[str, str], expected: list[str]) -> None:
    text = [event("A01", n, segment("PV2", **second), stay=pv1("V1", **first)) for n in (1, 2)]
    async with hub() as core:
        await take(core, *text)
        stay = await one(core, "Encounter")
    of_type = [(p["individual"]["display"], p["type"][0]["coding"][0]["code"]) for p in stay["participant"]]
    assert [name for name, code in of_type if code == "REF"] == expected


def test_what_kind_of_professional_takes_part() -> None:
    rol = segment("ROL", f1="1", f2="AD", f3="SW^Social^L", f4="1^ROUX^ANNE", f9="ODRP^Autre^L")
    team = made(event("A08", 5, rol), "CareTeam")
    assert [role["coding"][0]["code"] for role in team["participant"][0]["role"]] == ["SW", "ODRP"]


def test_a_duration_without_a_time_of_day_is_told() -> None:
    text = event("A08", 5, segment("PR1", f1="1", f3="X^X^L", f5="20261119", f7="45"))
    assert rules(text)["duration-without-time"] == "PR1[1]-7"


def test_the_words_of_a_diagnosis_are_those_of_the_reason() -> None:
    (request,) = wanted(order(orc(), obr(), "DG1|1||R05^Toux^I10|Toux sèche"), "ServiceRequest")
    assert request["reasonCode"][0]["text"] == "Toux sèche"


def test_a_code_of_a_next_of_kin_without_a_map_is_counted_once() -> None:
    found = arrive(event("A28", 5, segment("NK1", f1="1", f2="MARTIN^LUC", f7="K^Personne de confiance^HL70131")))
    assert [(path, code, times) for path, _, code, times in found.unmapped] == [("NK1-7", "K", 1)]
    assert [problem.rule for problem in found.problems if problem.path.startswith("NK1")] == ["code-not-mapped"]
