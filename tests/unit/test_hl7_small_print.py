"""What stands beside the plain case: a number and an address in one field, the authority of a group's number, a status
of which more was said once, an admission that is cancelled while something of it stands."""

from __future__ import annotations

import pytest

from tests.hl7_core import event, find, hub, one, segment, take
from tests.hl7_messages import arrive, obx, oru, patient, resources, wanted
from tests.hl7_orders import obr, orc, txa
from tests.hl7_orders import order as ordering
from tests.unit.test_hl7_french import moved, zbe


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(
            "(555)555-1234^^^jo@ex.org",
            [("phone", "(555)555-1234"), ("email", "jo@ex.org")],
            id="without a type of equipment",
        ),
        pytest.param("5555678^PRN^PH^jo@ex.org", [("phone", "5555678"), ("email", "jo@ex.org")], id="of a phone"),
        pytest.param("^PRN^CP^jo@ex.org^33^6^12", [("phone", "+33 6 12"), ("email", "jo@ex.org")], id="in parts"),
        pytest.param("0612^NET^Internet^jo@ex.org", [("phone", "0612"), ("email", "jo@ex.org")], id="of an address"),
        pytest.param("jo@ex.org^NET^Internet^jo@ex.org", [("email", "jo@ex.org")], id="the address twice is one"),
        pytest.param("5555678^PRN^PH", [("phone", "5555678")], id="a number alone"),
        pytest.param("^NET^Internet^jo@ex.org", [("email", "jo@ex.org")], id="an address alone"),
    ],
)
def test_a_number_and_an_address_in_one_repetition_are_both_kept(sent: str, expected: list[tuple[str, str]]) -> None:
    found = patient(event("A28", 0, f13=sent))["telecom"]
    assert [(each["system"], each["value"]) for each in found] == expected
    assert {each["use"] for each in found} <= {"home", "mobile"}


@pytest.mark.parametrize(
    ("sent", "family", "told"),
    [
        pytest.param("DUPOND", "DUPOND", {}, id="a name"),
        pytest.param(
            "van den Berg-de Jong&van den&Berg&de&Jong",
            "van den Berg-de Jong",
            {"own-prefix": "van den", "own-name": "Berg", "partner-prefix": "de", "partner-name": "Jong"},
            id="a name and its parts",
        ),
        pytest.param(
            "&van den&Berg", "van den Berg", {"own-prefix": "van den", "own-name": "Berg"}, id="the parts alone"
        ),
        pytest.param("&&&de&Jong", "de Jong", {"partner-prefix": "de", "partner-name": "Jong"}, id="the partner's"),
    ],
)
def test_the_parts_of_a_family_name(sent: str, family: str, told: dict[str, str]) -> None:
    text = event("A28", 0).replace("DUPOND^", f"{sent}^", 1)
    (name,) = patient(text)["name"]
    start = "http://hl7.org/fhir/StructureDefinition/humanname-"
    assert name["family"] == family
    assert {
        e["url"].removeprefix(start): e["valueString"] for e in name.get("_family", {}).get("extension", [])
    } == told


def test_a_doctor_is_named_by_the_parts_of_the_name_too() -> None:
    (found,) = patient(event("A28", 0, segment("PD1", f4="7^&van den&Berg^ANN^^^DR")))["generalPractitioner"]
    assert found["display"] == "DR ANN van den Berg"


def test_a_contact_is_reached_both_ways_too() -> None:
    text = event("A28", 0, "NK1|1|DUPOND^Jean|SPO|||0145^WPN^PH^jo@ex.org")
    (contact,) = patient(text)["contact"]
    assert [(each["value"], each["use"]) for each in contact["telecom"]] == [("0145", "work"), ("jo@ex.org", "work")]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param("G1^DPI^1.2.3^ISO", [("PGN", "urn:oid:1.2.3", "G1")], id="EI: the number and its authority"),
        pytest.param(
            "G1&DPI&1.2.3&ISO^G2&LAB&1.2.4&ISO",
            [("PGN", "urn:oid:1.2.3", "G1"), ("FGN", "urn:oid:1.2.4", "G2")],
            id="EIP: the placer's and the filler's",
        ),
    ],
)
def test_the_group_number_of_a_report_is_that_of_its_order(sent: str, expected: list[tuple[str, str, str]]) -> None:
    text = oru(obx(), order=orc("RE", f3="F1^LAB", f4=sent) + "\r" + obr(f3="F1^LAB", f25="F"))
    (report,) = [each for each in resources(arrive(text)) if each["resourceType"] == "DiagnosticReport"]
    told = [(each["type"]["coding"][0]["code"], each["system"], each["value"]) for each in report["identifier"]]
    assert [each for each in told if each[0] in ("PGN", "FGN")] == expected


async def test_what_a_code_said_beside_a_status_goes_with_the_status() -> None:
    archived = txa("T03", f19="AR").replace("|D1|", "|D2|")
    available = txa("T03", f19="AV").replace("|D1|", "|D3|")
    async with hub() as core:
        await take(core, txa("T02", obx(kind="TX", value="One", unit="")), archived)
        (before,) = await find(core, "DocumentReference")
        await take(core, available)
        (after,) = await find(core, "DocumentReference")
    assert "_status" in before and "_status" not in after
    assert after["status"] == "current" and after["content"] == before["content"]


def prt(role: str, who: str, action: str = "AD") -> str:
    """Return who takes part, by a role of table 0912."""
    return segment("PRT", f1="1", f2=action, f4=f"{role}^^HL70912", f5=who)


@pytest.mark.parametrize(
    ("role", "performs"),
    [
        *(pytest.param(role, True, id=f"{role} performs") for role in ("PRI", "RO", "SB", "TN")),
        *(pytest.param(role, False, id=f"{role} does not") for role in ("OP", "EP", "RCT", "RP", "RT")),
    ],
)
def test_who_orders_or_gets_a_copy_is_no_performer_of_a_result(role: str, performs: bool) -> None:
    order = obr(f3="F1^LAB", f25="F") + "\r" + prt(role, "7^CURIE^MARIE")
    found = arrive(oru(obx() + "\r" + prt(role, "7^CURIE^MARIE"), order=order))
    made = [one for one in resources(found) if one["resourceType"] in ("DiagnosticReport", "Observation")]
    assert ["performer" in one for one in made] == [performs, performs]
    told = [one.code for one in found.problems if one.rule == "participation-not-used"]
    assert told == ([] if performs or role == "OP" else [role, role])


@pytest.mark.parametrize(
    ("rows", "asker"),
    [
        pytest.param((orc(), prt("OP", "7^CURIE^MARIE"), obr()), "MARIE CURIE", id="after ORC"),
        pytest.param((orc(), obr(), prt("OP", "7^CURIE^MARIE")), "MARIE CURIE", id="after OBR"),
        pytest.param((orc(f12="8^BOVARY^CHARLES"), obr(), prt("OP", "7^CURIE^MARIE")), "CHARLES BOVARY", id="ORC-12"),
        pytest.param((orc(), obr(), prt("OP", "7^CURIE^MARIE", "DE")), None, id="one who is taken out"),
        pytest.param((orc(), obr(), prt("RCT", "7^CURIE^MARIE")), None, id="who gets a copy"),
    ],
)
def test_who_orders_by_prt_is_the_requester(rows: tuple[str, ...], asker: str | None) -> None:
    (request,) = wanted(ordering(*rows), "ServiceRequest")
    assert request.get("requester", {}).get("display") == asker


ADMITTED = moved("A04", 0, zbe("M1", 0), "URG")
ANOTHER_DOCTOR = moved("A54", 30, zbe("M2", 30, f9="M"), "URG", f7="9^HOUSE^G")
CANCELLED = moved("A11", 60, zbe("M1", 0, "CANCEL", "A04"), "URG")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param((ADMITTED, ANOTHER_DOCTOR, CANCELLED), "cancelled", id="what is left is of no stay"),
        pytest.param((CANCELLED, ANOTHER_DOCTOR, ADMITTED), "cancelled", id="in any order"),
        pytest.param((ADMITTED, ANOTHER_DOCTOR), "in-progress", id="a change of doctor says nothing of the status"),
        pytest.param(
            (ADMITTED, CANCELLED, moved("A01", 90, zbe("M3", 0))), "in-progress", id="another admission took its place"
        ),
        pytest.param(
            (moved("A05", 0, zbe("M0", 0)), moved("A01", 30, zbe("M1", 30)), CANCELLED.replace("A04", "A01")),
            "planned",
            id="the plan stands",
        ),
    ],
)
async def test_a_stay_whose_admission_is_cancelled_never_was(texts: tuple[str, ...], expected: str) -> None:
    async with hub() as core:
        await take(core, *texts)
        assert (await one(core, "Encounter"))["status"] == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param("^TEXT^^A^hello", "text/plain", id="a text without subtype"),
        pytest.param("^PDF^^A^hello", "application/pdf", id="the format where the kind is to be"),
        pytest.param("^IM^^A^hello", "application/octet-stream", id="an image of some kind"),
    ],
)
def test_a_document_without_subtype_is_what_its_type_says(sent: str, expected: str) -> None:
    (report,) = [
        each
        for each in resources(arrive(oru(obx(kind="ED", value=sent, unit=""))))
        if each["resourceType"] == "DiagnosticReport"
    ]
    assert report["presentedForm"][0]["contentType"] == expected


STAY = moved("A01", 0, zbe("M1", 0))
TO_LEAVE = moved("A16", 30, zbe("M2", 180))  # the discharge is expected at eleven


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param((STAY, TO_LEAVE), [("active", None)], id="the patient is still there"),
        pytest.param((TO_LEAVE, STAY), [("active", None)], id="in any order"),
        pytest.param(
            (STAY, TO_LEAVE, moved("A03", 120, zbe("M3", 120))), [("completed", "10:00")], id="and left before"
        ),
        pytest.param(
            (STAY, TO_LEAVE, moved("A25", 60, zbe("M2", 180, "CANCEL", "A16"))), [("active", None)], id="or stays"
        ),
    ],
)
async def test_an_expected_discharge_moves_nobody(
    texts: tuple[str, ...], expected: list[tuple[str, str | None]]
) -> None:
    async with hub() as core:
        await take(core, *texts)
        stay = await one(core, "Encounter")
    assert [(p["status"], p["period"].get("end", "")[11:16] or None) for p in stay["location"]] == expected
