"""French segments: movements of a stay, the reliability of an identity, decisions about the national record."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.hl7.datatypes import INS_TYPES
from adapters.hl7.maps.extensions import OWN
from adapters.hl7.maps.french import RELIABILITY
from fhir_server.interface import Core
from fhir_server.model import Resource
from fhir_server.validation import validate
from tests.hl7_core import at, event, find, hub, number, one, take
from tests.hl7_messages import arrive, pv1, segment

INS = "2 79 03 51 215 189 89".replace(" ", "") + "^^^ASIP-SANTE-INS-NIR&1.2.250.1.213.1.4.8&ISO^INS"


def zbe(id: str, minute: int, action: str = "INSERT", original: str = "", **more: str) -> str:
    """Return a movement of the care ward UF1, for which the medical unit 10 is responsible."""
    fields = {"f5": "N", "f7": "CARDIO^^^^^^UF^^^10", "f8": "SOINS^^^^^^UF^^^20", "f9": "HMS", **more}
    return segment("ZBE", f1=f"{id}^DPI", f2=at(minute), f4=action, f6=original, **fields)


def moved(trigger: str, minute: int, movement: str, place: str = "MED^101", **stay: str) -> str:
    return event(trigger, minute, movement, stay=pv1("V1", f3=place, **stay))


def course(stay: Resource) -> list[tuple[str, str, str | None, str | None]]:
    """Return the places of a stay: where, status, from, to (times of day)."""
    return [
        (p["location"]["display"], p["status"], p["period"]["start"][11:16], p["period"].get("end", "")[11:16] or None)
        for p in stay["location"]
    ]


ADMITTED = moved("A01", 0, zbe("M1", 0))
TRANSFERRED = moved("A02", 60, zbe("M2", 60), "CHIR^7")
LEFT = moved("A03", 120, zbe("M3", 120), "CHIR^7", f45=at(120))


async def stay_after(core: Core, *texts: str) -> Resource:
    await take(core, *texts)
    found = await one(core, "Encounter")
    assert [i for i in validate(found) if i.severity in ("error", "fatal")] == []
    return found


async def test_movements_are_the_places_and_statuses_of_the_stay() -> None:
    async with hub() as core:
        found = await stay_after(core, ADMITTED, TRANSFERRED, LEFT)
    assert course(found) == [("MED 101", "completed", "08:00", "09:00"), ("CHIR 7", "completed", "09:00", "10:00")]
    assert (found["status"], found["period"]["end"][11:16]) == ("finished", "10:00")
    assert [(h["status"], h["period"]["start"][11:16], h["period"]["end"][11:16]) for h in found["statusHistory"]] == [
        ("in-progress", "08:00", "10:00")
    ]
    units = {e["url"]: e["valueString"] for e in found["location"][0]["extension"][0]["extension"]}
    assert units["medicalUnit"] == "CARDIO (10)"
    assert units["nursingUnit"] == "SOINS (20)"
    assert units["nature"] == "HMS"


async def test_a_stay_without_its_admission_begins_with_its_first_movement() -> None:
    async with hub() as core:
        found = await stay_after(core, moved("A02", 60, zbe("M2", 60), f44=""), moved("A01", 0, zbe("M1", 0), f44=""))
        assert found["period"]["start"][11:16] == "08:00"
        found = await stay_after(core, moved("A08", 90, "", f44=at(30)))
        assert found["period"]["start"][11:16] == "08:30"


async def test_where_a_patient_was_before_the_first_movement_that_is_known() -> None:
    transfer = moved("A02", 60, zbe("M2", 60, f5="Y"), "CHIR^7", f6="MED^101")
    async with hub() as core:
        before, now = (await stay_after(core, transfer))["location"]
        known = await stay_after(core, ADMITTED)
    assert before == {
        "location": {"display": "MED 101"}, "status": "completed", "period": {"end": now["period"]["start"]},
    }  # fmt: skip
    assert {"url": "historic", "valueBoolean": True} in now["extension"][0]["extension"]
    assert course(known) == [("MED 101", "completed", "08:00", "09:00"), ("CHIR 7", "active", "09:00", None)]


async def test_a_movement_that_is_corrected_long_after_changes_the_course() -> None:
    correction = moved("Z99", 300, zbe("M2", 30, "UPDATE", "A02"), "REA^1")
    async with hub() as core:
        found = await stay_after(core, ADMITTED, TRANSFERRED, LEFT, correction)
    assert course(found) == [("MED 101", "completed", "08:00", "08:30"), ("REA 1", "completed", "08:30", "10:00")]


async def test_a_cancelled_discharge_opens_the_stay_again() -> None:
    async with hub() as core:
        found = await stay_after(
            core, ADMITTED, TRANSFERRED, LEFT, moved("A13", 130, zbe("M3", 120, "CANCEL", "A03"), "CHIR^7")
        )
    assert (found["status"], "end" in found["period"]) == ("in-progress", False)
    assert course(found)[-1] == ("CHIR 7", "active", "09:00", None)


async def test_a_cancelled_admission_cancels_the_stay_also_where_it_comes_first() -> None:
    cancelled = moved("A11", 10, zbe("M1", 0, "CANCEL", "A01"))
    for texts in ((ADMITTED, cancelled), (cancelled, ADMITTED)):
        async with hub() as core:
            found = await stay_after(core, *texts)
        assert (found["status"], found.get("location")) == ("cancelled", None)


async def test_a_movement_of_the_past_that_comes_late_stands_where_it_belongs() -> None:
    late = moved("A02", 200, zbe("M9", 30, f5="Y"), "SCAN^1")
    async with hub() as core:
        found = await stay_after(core, ADMITTED, TRANSFERRED, late)
    assert [place[0] for place in course(found)] == ["MED 101", "SCAN 1", "CHIR 7"]
    assert course(found)[-1][1] == "active"


async def test_a_changed_class_has_its_history() -> None:
    async with hub() as core:
        found = await stay_after(core, moved("A04", 0, zbe("M1", 0), f2="E"), moved("A06", 60, zbe("M2", 60)))
    assert found["class"]["code"] == "IMP"
    assert [(h["class"]["code"], h["period"]["end"][11:16]) for h in found["classHistory"]] == [("EMER", "09:00")]


async def test_an_expected_transfer_is_a_planned_place() -> None:
    async with hub() as core:
        found = await stay_after(core, ADMITTED, moved("A15", 30, zbe("M4", 180), f42="SSR^1"))
    assert course(found) == [("MED 101", "active", "08:00", None), ("SSR 1", "planned", "11:00", None)]


async def test_a_stay_that_was_planned_begins_with_the_admission() -> None:
    planned = moved("A05", 0, zbe("M0", 0), "MED^101", f2="P", f44="")
    admitted = moved("A01", 60, zbe("M1", 60), "MED^102", f44="")
    async with hub() as core:
        before = await stay_after(core, planned)
        after = await stay_after(core, admitted, moved("A02", 120, zbe("M2", 120), "CHIR^7", f44=""))
    assert (before["status"], course(before)) == ("planned", [("MED 101", "planned", "08:00", None)])
    assert (after["status"], after["period"]["start"][11:16]) == ("in-progress", "09:00")
    assert course(after) == [
        ("MED 101", "planned", "08:00", "09:00"), ("MED 102", "completed", "09:00", "10:00"),
        ("CHIR 7", "active", "10:00", None),
    ]  # fmt: skip


async def test_an_admission_at_the_very_time_of_its_plan_ends_it() -> None:
    planned = moved("A14", 0, zbe("M0", 0), "MED^101", f2="P", f44="")
    async with hub() as core:
        found = await stay_after(core, planned, moved("A01", 5, zbe("M1", 0), "MED^102", f44=""))
    assert course(found) == [("MED 101", "planned", "08:00", "08:00"), ("MED 102", "active", "08:00", None)]


async def test_an_update_without_movement_leaves_the_course() -> None:
    async with hub() as core:
        before = await stay_after(core, ADMITTED, TRANSFERRED)
        after = await stay_after(core, event("A08", 90, stay=pv1("V1", f3="ELSEWHERE^1", f14="7")))
    assert course(after) == course(before)
    assert after["hospitalization"]["admitSource"]["coding"][0]["code"] == "7"


@pytest.mark.parametrize(
    ("movement", "place"),
    [
        pytest.param(segment("ZBE", f2=at(0), f4="INSERT"), "ZBE[1]-1", id="without its number"),
        pytest.param(segment("ZBE", f1="M1", f4="INSERT"), "ZBE[1]-2", id="without its time"),
        pytest.param(segment("ZBE", f1="M1", f2=at(0), f4="DELETE"), "ZBE[1]-4", id="with an unknown action"),
    ],
)
def test_a_movement_that_cannot_be_kept_is_refused(movement: str, place: str) -> None:
    fault = arrive(moved("A01", 0, movement)).fault
    assert fault is not None
    assert (fault.place.path, fault.answer) == (place, "AE")


def reliability(patient: Resource) -> list[tuple[str, Any]]:
    found = [one for one in patient["extension"] if one["url"] == RELIABILITY]
    return [
        (part["url"], part["valueCoding"]["code"] if "valueCoding" in part else part["valueDate"])
        for one in found
        for part in one["extension"]
    ]


@pytest.mark.parametrize(
    ("codes", "ins", "said"),
    [
        pytest.param("VALI", True, [("identityStatus", "QUAL")], id="validated, with an INS: qualified"),
        pytest.param("VALI", False, [("identityStatus", "VALI")], id="validated without one"),
        pytest.param("PROV", False, [("identityStatus", "PROV")], id="provisional"),
        pytest.param(
            "VALI~DOUT", True, [("identityStatus", "PROV"), ("comment", "DOUT")], id="doubtful is provisional"
        ),
        pytest.param("FICT", True, [("identityStatus", "PROV"), ("comment", "FICT")], id="fictitious is provisional"),
        pytest.param(
            "VALI~USUR", False, [("identityStatus", "VALI"), ("comment", "USUR")], id="another code is a comment"
        ),
    ],
)
async def test_pid_32_says_how_far_the_identity_is_relied_on(codes: str, ins: bool, said: Any) -> None:
    numbers = f"{number('A')}~{INS}" if ins else number("A")
    async with hub() as core:
        await take(core, _identified(numbers, codes))
        found = await one(core, "Patient")
    assert reliability(found) == said
    assert any(i["system"] in INS_TYPES for i in found["identifier"]) == (
        ins and "VALI" in codes and "DOUT" not in codes
    )


def _identified(numbers: str, codes: str) -> str:
    return event("A28", 1, f32=codes).replace(number("A"), numbers)


async def test_how_an_identity_was_found_out_is_kept_and_what_else_is_said_of_it() -> None:
    zfd = segment("ZFD", f2="32", f3="Y", f4="N", f5="INSI", f6="20261101", f7="CN", f8="20301231")
    zfp = segment("ZFP", f1="1^Actif", f2="54^Employés")
    async with hub() as core:
        await take(core, event("A31", 1, zfd, zfp, f32="PROV"))
        found = await one(core, "Patient")
    assert reliability(found) == [
        ("identityStatus", "PROV"), ("methodCollection", "INSi"), ("dateInterrogationINSi", "2026-11-01"), ("validationMode", "CN"),
    ]  # fmt: skip
    assert own(found) == {
        "gestation-weeks": 32, "sms-consent": True, "birth-date-corrected": False, "identity-proof-expiry": "2030-12-31",
        "occupation-activity": "1", "occupation-category": "54",
    }  # fmt: skip


def own(resource: Resource) -> dict[str, Any]:
    """Return the extensions of our own: name -> value, of a CodeableConcept its code."""
    made = {}
    for extension in resource["extension"]:
        if extension["url"].startswith(OWN):
            (value,) = (value for key, value in extension.items() if key != "url")
            made[extension["url"].removeprefix(OWN)] = value["coding"][0]["code"] if isinstance(value, dict) else value
    return made


async def test_what_a_segment_leaves_empty_stays_and_what_it_nulls_goes() -> None:
    async with hub() as core:
        await take(core, event("A31", 1, segment("ZFD", f2="32", f3="Y", f5="CV"), f32="PROV"))
        await take(core, event("A31", 2, segment("ZFD", f3='""', f7="CN")), event("A31", 3, f32="VALI"))
        found = await one(core, "Patient")
    assert own(found) == {"gestation-weeks": 32}
    assert reliability(found) == [("identityStatus", "VALI"), ("validationMode", "CN")]


async def test_the_place_of_birth_has_its_insee_code_and_is_no_address() -> None:
    async with hub() as core:
        await take(core, event("A28", 1, f11="^^BOURGES^^^FRA^BDL^^18033~1 RUE A^^TOURS^^37000^FRA^H"))
        found = await one(core, "Patient")
    assert [a["city"] for a in found["address"]] == ["TOURS"]
    (place,) = [e["valueAddress"] for e in found["extension"] if e["url"].endswith("patient-birthPlace")]
    assert (place["city"], place["extension"][0]["valueCoding"]["code"]) == ("BOURGES", "18033")


@pytest.mark.parametrize(
    ("feeding", "consulting", "said"),
    [
        pytest.param("Y", "", {"dmp-feeding": "deny"}, id="opposed to feeding"),
        pytest.param("N", "Y", {"dmp-feeding": "permit", "dmp-consultation": "permit"}, id="agrees to both"),
        pytest.param("", "N", {"dmp-consultation": "deny"}, id="refuses consultation"),
        pytest.param("", "", {}, id="says nothing"),
    ],
)
async def test_decisions_about_the_national_record_are_consents(feeding: str, consulting: str, said: Any) -> None:
    zfa = segment("ZFA", f1="ACTIF", f2="20261101", f9=feeding, f11=consulting)
    async with hub() as core:
        await take(core, event("A31", 1, zfa))
        consents, patient = await find(core, "Consent"), await one(core, "Patient")
    assert {c["scope"]["coding"][0]["code"]: c["provision"]["type"] for c in consents} == said
    for consent in consents:
        assert (consent["patient"]["reference"], consent["dateTime"]) == (f"Patient/{patient['id']}", "2026-11-01")
        assert [i for i in validate(consent) if i.severity in ("error", "fatal")] == []
    assert own(patient) == {"dmp-status": "ACTIF", "dmp-status-date": "2026-11-01"}


async def test_a_newer_decision_replaces_the_older_one_and_an_older_one_changes_nothing() -> None:
    def zfa(minute: int, answer: str) -> str:
        return event("A31", minute, segment("ZFA", f9=answer))

    async with hub() as core:
        await take(core, zfa(1, "N"), zfa(9, "Y"), zfa(5, "N"))
        assert (await one(core, "Consent"))["provision"]["type"] == "deny"


async def test_what_the_pmsi_and_the_visit_segment_say_is_with_the_stay() -> None:
    zfm = segment("ZFM", f1="8", f2="8", f3="5")
    zfv = segment("ZFV", f1="750000001^20261101", f2="2", f7="N123", f10="1", f11="Y")
    async with hub() as core:
        found = await stay_after(core, event("A01", 1, zfm, zfv, stay=pv1("V1")))
    assert own(found) == {
        "pmsi-entry-mode": "8", "pmsi-exit-mode": "8", "pmsi-origin": "5", "visit-origin": "750000001^20261101",
        "exit-transport": "2", "origin-visit": "N123", "legal-care-mode": "1", "care-during-transport": "Y",
    }  # fmt: skip


def test_every_french_segment_counts_as_used() -> None:
    text = event("A01", 1, zbe("M1", 0), "ZFA|ACTIF", "ZFD||32", "ZFM|8", "ZFP|1", "ZFV|X", stay=pv1("V1"))
    assert not {"ZBE", "ZFA", "ZFD", "ZFM", "ZFP", "ZFV"} & set(arrive(text).unused)


@pytest.mark.parametrize(
    ("name", "given", "listed"),
    [
        pytest.param(
            "DUPONT^ANNE^ANNE MARIE^^^^L", ["ANNE"], "ANNE MARIE", id="the list of given names has the first one"
        ),
        pytest.param("DUPONT^ANNE^MARIE^^^^L", ["ANNE", "MARIE"], None, id="a second given name is none"),
        pytest.param("DUPONT^ANNE^ANNE-MARIE^^^^L", ["ANNE", "ANNE-MARIE"], None, id="a longer name is another name"),
    ],
)
async def test_the_given_names_of_birth(name: str, given: list[str], listed: str | None) -> None:
    async with hub() as core:
        await take(core, event("A28", 1, f5=name))
        (found,) = (await one(core, "Patient"))["name"]
    assert found["given"] == given
    assert [e["valueString"] for e in found.get("extension", [])] == ([listed] if listed else [])
