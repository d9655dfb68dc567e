"""ADT: what each segment beside PID and PV1 becomes, and that all of it is valid R4."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.hl7.routes import ROUTES
from fhir_server.model import Resource
from fhir_server.validation import validate
from tests.hl7_core import event, find, hub, take
from tests.hl7_messages import arrive, pv1, segment

ORG = {"type": "Organization"}
DOCTOR = "10001^MARTIN^LUC^^^^^^RPPS&1.2.250.1.71.4.2.1&ISO"
RPPS = {"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "10001"}


async def made(*segments: str, trigger: str = "A01", stay: str = "", **more: str) -> dict[str, list[Resource]]:
    """Return what one message stores, by type, each found to be valid."""
    types = ("Patient", "Encounter", "RelatedPerson", "AllergyIntolerance", "Condition", "Coverage", "Procedure",
             "CareTeam", "Consent", "Observation", "Provenance", "DocumentReference", "Binary")  # fmt: skip
    async with hub() as core:
        await take(core, event(trigger, 5, *segments, stay=stay or pv1("V1"), **more))
        found = {type: await find(core, type) for type in types}
    for resource in (one for each in found.values() for one in each):
        assert [i for i in validate(resource) if i.severity in ("error", "fatal")] == []
    return found


async def only(type: str, *segments: str, **more: Any) -> Resource:
    """Return the only resource of a type that one message stores, without what every resource has."""
    (resource,) = (await made(*segments, **more))[type]
    return {key: value for key, value in resource.items() if key not in ("id", "meta", "resourceType")}


async def test_next_of_kin_are_contacts_and_related_persons() -> None:
    kin = segment(
        "NK1", f1="1", f2="MARTIN^LUC^^^^^L", f3="SPO^Conjoint^HL70063", f4="1 RUE A^^BOURGES^^18000",
        f5="^PRN^PH^^^^^^^^^0248000000", f6="^WPN^PH^^^^^^^^^0248111111", f7="C", f8="20200101", f15="M", f16="1950",
    )  # fmt: skip
    found = await made(kin)
    (contact,) = found["Patient"][0]["contact"]
    assert contact["name"] == {"use": "official", "family": "MARTIN", "given": ["LUC"]}
    assert [c["coding"][0]["code"] for c in contact["relationship"]] == ["SPS", "C"]
    assert [(t["value"], t["use"]) for t in contact["telecom"]] == [("0248000000", "home"), ("0248111111", "work")]
    assert (contact["gender"], contact["period"]) == ("male", {"start": "2020-01-01"})
    (related,) = found["RelatedPerson"]
    assert related["patient"] == {"reference": f"Patient/{found['Patient'][0]['id']}"}
    assert (related["birthDate"], related["active"], related["name"]) == ("1950", True, [contact["name"]])


@pytest.mark.parametrize("role", ["E", "F", "I", "S"])
async def test_employers_and_agencies_are_contacts_and_no_persons(role: str) -> None:
    found = await made(segment("NK1", f1="1", f3=role, f13="ACME"))
    assert [c["organization"]["display"] for c in found["Patient"][0]["contact"]] == ["ACME"]
    assert found["RelatedPerson"] == []


async def test_general_practitioners_come_from_pd1_and_from_roles() -> None:
    found = await only(
        "Patient", segment("PD1", f3="MSP BOURGES", f4=DOCTOR, f6="V^Visual", f14="TEMPLE"),
        segment("ROL", f1="1", f2="AD", f3="PP", f4="7^DUBOIS^EVE"),
    )  # fmt: skip
    first, second, third = found["generalPractitioner"]
    assert (first["type"], first["display"]) == ("Organization", "MSP BOURGES")
    assert (second["type"], second["identifier"], second["display"]) == ("Practitioner", RPPS, "LUC MARTIN")
    assert third["display"] == "EVE DUBOIS"
    urls = [one["url"].rpartition("/")[2] for one in found["extension"]]
    assert urls == ["patient-disability", "patient-congregation"]


async def test_a_living_will_is_an_observation() -> None:
    found = await only("Observation", segment("PD1", f7="Y"))
    assert (found["status"], found["code"]["coding"][0]["code"]) == ("final", "75320-2")
    assert found["valueCodeableConcept"]["coding"][0]["code"] == "Y"


async def test_a_visit_has_reason_plan_length_priority_and_arrival() -> None:
    pv2 = segment("PV2", f3="^Chute", f8="20261120", f9="20261125", f11="5", f12="Surveillance", f25="1", f38="A")
    found = await only("Encounter", pv2)
    assert found["reasonCode"] == [{"text": "Chute"}]
    assert found["length"] == {"value": 5, "unit": "d", "system": "http://unitsofmeasure.org", "code": "d"}
    assert found["priority"]["coding"][0]["code"] == "EM"
    values = {one["url"].rpartition("/")[2].rpartition(":")[2]: one for one in found["extension"]}
    assert values["extension-Encounter.plannedStartDate"]["valueDateTime"] == "2026-11-20"
    assert values["extension-Encounter.plannedEndDate"]["valueDateTime"] == "2026-11-25"
    assert values["visit-description"]["valueString"] == "Surveillance"
    assert values["encounter-modeOfArrival"]["valueCoding"]["code"] == "A"


async def test_a_protected_visit_is_restricted_until_it_is_not() -> None:
    async with hub() as core:
        await take(core, event("A01", 1, segment("PV2", f22="Y"), stay=pv1("V1")))
        (stay,) = await find(core, "Encounter")
        assert [label["code"] for label in stay["meta"]["security"]] == ["R"]
        await take(core, event("A08", 2, segment("PV2", f22="N"), stay=pv1("V1")))
        (stay,) = await find(core, "Encounter")
        assert "security" not in stay["meta"]


async def test_who_did_it_why_and_when_is_a_provenance_of_patient_and_stay() -> None:
    text = event("A01", 5, stay=pv1("V1"))
    said = "|".join(["EVN", "", "20261120080500", "", "02", DOCTOR, "20261120080000", "CHU"])
    async with hub() as core:
        await take(core, text.replace("EVN||20261120080500", said))
        (found,), (stay,), (patient,) = [await find(core, type) for type in ("Provenance", "Encounter", "Patient")]
    assert [i for i in validate(found) if i.severity in ("error", "fatal")] == []
    assert found["recorded"] == "2026-11-20T08:05:00+01:00"
    assert found["occurredDateTime"] == "2026-11-20T08:00:00+01:00"
    assert [t["reference"] for t in found["target"]] == [f"Patient/{patient['id']}", f"Encounter/{stay['id']}"]
    assert (found["agent"][0]["who"]["identifier"], found["reason"][0]["coding"][0]["code"]) == (RPPS, "TREAT")
    assert (found["activity"]["text"], found["location"]["display"]) == ("ADT^A01", "CHU")


async def test_an_event_that_says_no_more_than_when_it_was_recorded_makes_no_provenance() -> None:
    assert (await made())["Provenance"] == []


async def test_what_an_admission_measures_is_an_observation_of_the_stay() -> None:
    weight = segment("OBX", f1="1", f2="NM", f3="29463-7^Poids^LN", f5="71.50", f6="kg", f11="F")
    found = await made(weight, "NTE|1||A jeun")
    (observation,), (stay,) = found["Observation"], found["Encounter"]
    assert (str(observation["valueQuantity"]["value"]), observation["valueQuantity"]["code"]) == ("71.50", "kg")
    assert observation["effectiveDateTime"] == "2026-11-20T08:05:00+01:00"
    assert observation["encounter"] == {"reference": f"Encounter/{stay['id']}"}
    assert [note["text"] for note in observation["note"]] == ["A jeun"]


@pytest.mark.parametrize(
    ("data", "apart"), [pytest.param("JVBERi0x", 0, id="short"), pytest.param("JVBERi0x" * 200_000, 1, id="long")]
)
async def test_a_document_of_an_admission_is_a_document_of_the_stay(data: str, apart: int) -> None:
    scan = segment("OBX", f1="1", f2="ED", f3="PDF^Lettre^L", f5=f"^application^pdf^Base64^{data}", f11="F")
    found = await made(scan)
    (document,), (stay,) = found["DocumentReference"], found["Encounter"]
    assert (len(found["Observation"]), len(found["Binary"])) == (0, apart)
    assert document["content"][0]["attachment"]["contentType"] == "application/pdf"
    assert document["context"]["encounter"] == [{"reference": f"Encounter/{stay['id']}"}]


async def test_a_text_that_fhir_has_no_string_for_is_told_and_the_rest_is_taken() -> None:
    found = await made(segment("OBX", f1="1", f2="TX", f3="REP^Note^L", f5="x" * 1_100_000, f11="F"))
    (observation,), (patient,) = found["Observation"], found["Patient"]
    assert observation["dataAbsentReason"]["coding"][0]["code"] == "unsupported"
    assert patient["name"]


async def test_account_and_episode_are_named() -> None:
    found = await only("Encounter", stay=pv1("V1", f54="E1^^^X&1.2.3.4&ISO"), f18="ACC1^^^X&1.2.3.5&ISO")
    assert (found["account"][0]["type"], found["account"][0]["identifier"]["value"]) == ("Account", "ACC1")
    assert (found["episodeOfCare"][0]["type"], found["episodeOfCare"][0]["identifier"]["value"]) == (
        "EpisodeOfCare",
        "E1",
    )


async def test_diagnoses_are_conditions_and_stand_in_the_stay_with_their_rank() -> None:
    found = await made(
        segment("DG1", f1="1", f3="I10^HTA^I10", f4="Hypertension", f5="20261119", f6="A", f15="1", f16=DOCTOR),
        segment("DG1", f1="2", f4="Fracture", f6="W", f19="20261120", f20="D2^X"),
        segment("DG1", f1="3", f3="J18^x^I10", f21="D", f20="D3^X"),
    )
    (stay,) = found["Encounter"]
    conditions = {f"Condition/{one['id']}": one for one in found["Condition"]}
    assert len(conditions) == 3
    first, second = stay["diagnosis"]
    assert (first["rank"], first["use"]["coding"][0]["code"]) == (1, "AD")
    assert second["use"]["coding"][0] == {"system": "http://terminology.hl7.org/CodeSystem/v2-0052", "code": "W"}
    hypertension = conditions[first["condition"]["reference"]]
    assert hypertension["code"]["coding"][0]["code"] == "I10"
    assert hypertension["code"]["text"] == "Hypertension"
    assert hypertension["onsetDateTime"] == "2026-11-19"
    assert hypertension["asserter"]["identifier"] == RPPS
    assert hypertension["encounter"] == {"reference": f"Encounter/{stay['id']}"}
    errors = [one for one in conditions.values() if "verificationStatus" in one]
    assert [one["verificationStatus"]["coding"][0]["code"] for one in errors] == ["entered-in-error"]


async def test_a_later_list_of_diagnoses_replaces_the_one_of_the_stay_and_deletes_no_condition() -> None:
    async with hub() as core:
        for minute, code in ((1, "I10"), (2, "E11")):
            await take(core, event("A08", minute, segment("DG1", f1="1", f3=f"{code}^x^I10"), stay=pv1("V1")))
        (stay,) = await find(core, "Encounter")
        conditions = {
            one["code"]["coding"][0]["code"]: f"Condition/{one['id']}" for one in await find(core, "Condition")
        }
        assert sorted(conditions) == ["E11", "I10"]
        assert [one["condition"]["reference"] for one in stay["diagnosis"]] == [conditions["E11"]]


@pytest.mark.parametrize(
    ("kind", "severity", "category", "type", "criticality"),
    [
        pytest.param("DA", "SV", ["medication"], "allergy", "high", id="a severe allergy to a drug"),
        pytest.param("FA", "MI", ["food"], "allergy", "low", id="a mild one to food"),
        pytest.param("EA", "U", ["environment"], "allergy", "unable-to-assess", id="one of unknown severity"),
        pytest.param("MC", "", None, None, None, id="a contraindication is no allergy of a category"),
    ],
)
async def test_allergies(kind: str, severity: str, category: Any, type: Any, criticality: Any) -> None:
    al1 = segment("AL1", f1="1", f2=kind, f3="PENI^Pénicilline", f4=severity, f5="Urticaire~Oedème", f6="20200101")
    found = await only("AllergyIntolerance", al1)
    assert (found.get("category"), found.get("type"), found.get("criticality")) == (category, type, criticality)
    assert found["clinicalStatus"]["coding"][0]["code"] == "active"
    assert [one["text"] for one in found["reaction"][0]["manifestation"]] == ["Urticaire", "Oedème"]
    assert (found["code"]["coding"][0]["display"], found["onsetDateTime"]) == ("Pénicilline", "2020-01-01")


async def test_an_allergy_that_a_list_no_longer_has_stays() -> None:
    async with hub() as core:
        for minute, code, rules in ((1, "PENI", []), (2, "PENI", []), (3, "NOIX", ["no-longer-listed"])):
            (effect,) = await take(core, event("A08", minute, segment("AL1", f1="1", f3=code), stay=pv1("V1")))
            assert [p.rule for p in effect.problems if p.path == "AL1[1]"] == rules
        found = await find(core, "AllergyIntolerance")
        assert {one["code"]["coding"][0]["code"] for one in found} == {"PENI", "NOIX"}


async def test_an_adverse_reaction_is_added_and_taken_back_by_its_number() -> None:
    def iam(action: str) -> str:
        return segment(
            "IAM", f1="1", f2="DA", f3="PENI^Pénicilline", f4="SV", f6=action, f7="AR1^X", f11="2020", f13="20261120"
        )

    async with hub() as core:
        await take(core, event("A60", 1, iam("A")))
        (first,) = await find(core, "AllergyIntolerance")
        assert (first["onsetDateTime"], first["recordedDate"], first["criticality"]) == ("2020", "2026-11-20", "high")
        await take(core, event("A60", 2, iam("D")))
        (second,) = await find(core, "AllergyIntolerance")
        assert second["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
        assert "clinicalStatus" not in second
        assert [i for i in validate(second) if i.severity in ("error", "fatal")] == []


async def test_insurance_is_a_coverage() -> None:
    in1 = segment(
        "IN1", f1="1", f2="PLAN1", f3="75056", f4="CPAM DU CHER", f12="20260101", f13="20261231", f15="MUT", f16="DUPOND^PAUL",
        f17="SPO", f36="POL1", f49="INS1",
    )  # fmt: skip
    found = await only("Coverage", in1)
    assert (found["status"], found["payor"][0]["display"]) == ("active", "CPAM DU CHER")
    assert [i["value"] for i in found["identifier"]] == ["PLAN1", "POL1"]
    assert (found["period"], found["subscriberId"]) == ({"start": "2026-01-01", "end": "2026-12-31"}, "INS1")
    assert found["relationship"]["coding"][0]["code"] == "SPS"
    assert found["subscriber"]["display"] == "PAUL DUPOND"


async def test_a_coverage_whose_payer_is_not_named_says_so() -> None:
    found = await only("Coverage", segment("IN1", f1="1", f2="PLAN1", f36="POL1"))
    assert found["payor"][0]["extension"][0]["valueCode"] == "unknown"


async def test_a_procedure_has_its_people_its_time_and_a_status_by_its_date() -> None:
    pr1 = segment(
        "PR1", f1="1", f3="HAFA001^Exérèse^L", f4="Exérèse", f5="202611200700", f7="45", f8="2^B^ANNE", f11=DOCTOR, f16="4", f19="P1^X",
        f23="BLOC^3",
    )  # fmt: skip
    found = await only("Procedure", pr1)
    assert found["code"]["coding"][0]["code"] == "HAFA001:4"
    assert found["performedPeriod"] == {"start": "2026-11-20T07:00:00+01:00", "end": "2026-11-20T07:45:00+01:00"}
    assert (found["status"], found["location"]["display"]) == ("completed", "BLOC 3")
    assert [(p["function"]["text"], p["actor"]["display"]) for p in found["performer"]] == [
        ("anaesthetist", "ANNE B"), ("surgeon", "LUC MARTIN"),
    ]  # fmt: skip


@pytest.mark.parametrize(("when", "status"), [("20261201", "preparation"), ("", "unknown"), ("2026", "completed")])
async def test_the_status_of_a_procedure(when: str, status: str) -> None:
    assert (await only("Procedure", segment("PR1", f1="1", f3="X^Y^L", f5=when)))["status"] == status


async def test_roles_take_part_in_the_stay_where_pv1_does_not_name_them_else_in_a_care_team() -> None:
    found = await made(
        segment("ROL", f1="1", f2="AD", f3="AD", f4="9^ROUX^IDA"),
        segment("ROL", f1="2", f2="AD", f3="AT", f4="8^NOIR^MAX"),
        segment("PRT", f1="3", f2="AD", f4="PH^Pharmacien", f5="7^BLEU^ANA", f8="PHARMACIE", f11="20261120"),
        segment("PRT", f1="4", f2="DE", f4="PH", f5="6^VERT^GUY"),
    )
    (stay,) = found["Encounter"]
    people = [(p["type"][0]["coding"][0]["code"], p["individual"]["display"]) for p in stay["participant"]]
    assert people == [("ATND", "LUC MARTIN"), ("ADM", "IDA ROUX")]
    (team,) = found["CareTeam"]
    assert [p["member"]["display"] for p in team["participant"]] == ["ANA BLEU"]
    assert all("reference" not in p["member"] for p in team["participant"])


def test_prt_in_2_5_is_used() -> None:
    text = event("A01", 5, segment("PRT", f1="3", f2="AD", f4="PH", f5="7^BLEU^ANA"), stay=pv1("V1"))
    found = arrive(text)
    assert found.fault is None
    assert "PRT" not in found.unused


@pytest.mark.parametrize("trigger", ["A28", "A31"])
async def test_a_message_about_the_person_touches_no_stay(trigger: str) -> None:
    found = await made(segment("AL1", f1="1", f3="PENI"), trigger=trigger, stay=pv1("V1", f2="N"))
    assert found["Encounter"] == []
    assert len(found["AllergyIntolerance"]) == 1


@pytest.mark.parametrize("trigger", sorted(event for type, event in ROUTES if type == "ADT"))
def test_every_event_that_is_taken_has_a_structure_also_without_msh_9_3(trigger: str) -> None:
    segments = (
        ["MRG|B^^^CHU&1.2.250.1.999.1&ISO||||V0|V0"]
        if trigger in ("A34", "A36", "A40", "A46", "A47", "A45", "A50", "A51")
        else []
    )
    text = event(trigger, 5, *segments, stay="" if trigger in ("A34", "A36", "A40", "A46", "A47") else pv1("V1"))
    if trigger in ("A17", "A24", "A37"):
        text += "PID|||B^^^CHU&1.2.250.1.999.1&ISO\rPV1||I|||||||||||||||||V2\r"
    assert arrive(text).fault is None


@pytest.mark.parametrize("trigger", ["A20", "A29", "A43", "Z80"])
def test_other_events_are_refused(trigger: str) -> None:
    fault = arrive(event(trigger, 5)).fault
    assert fault is not None
    assert (fault.code, fault.answer) == ("201", "AR")
