"""PV1 to Encounter: places, people, and what a stay must have."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.hl7.apply import Plan, stay
from fhir_server.validation import validate
from tests.hl7_core import find, hub, take
from tests.hl7_messages import WHEN, adt, arrive, header, message, pid, pv1, segment


def made(text: str, current: dict[str, Any] | None = None) -> tuple[dict[str, Any], list[str]]:
    """Return the Encounter of a message, and what had to be decided."""
    draft = arrive(text).draft
    assert draft is not None
    visit = draft.people[0].visit
    assert visit is not None
    plan = Plan()
    return stay(visit, current or {"resourceType": "Encounter"}, "Patient/1", plan), [p.rule for p in plan.problems]


FULL = pv1(
    "V1^^^X&1.2.3.4&ISO", f4="R", f5="PRE1^^^X&1.2.3.5&ISO", f6="URG^1", f8="1^A^B~2^C^D", f9="3^E^F", f10="MED", f13="R",
    f14="7", f15="B6", f16="VIP", f17="9^G^H", f36="01", f37="SSR^Soins de suite", f38="D", f42="REA^2", f45="20261125",
    f50="ALT^^^X&1.2.3.6&ISO", f52="8^K^L",
)  # fmt: skip


def test_a_whole_stay() -> None:
    found, rules = made(adt(stay=FULL))
    assert rules == []
    assert [(item["location"]["display"], item["status"]) for item in found["location"]] == [
        ("MED 101 1 CHU", "active"), ("URG 1", "completed"), ("REA 2", "reserved"),
    ]  # fmt: skip
    people = [(p["type"][0]["coding"][0]["code"], p["individual"]["display"]) for p in found["participant"]]
    assert people == [
        ("ATND", "LUC MARTIN"), ("REF", "B A"), ("REF", "D C"), ("CON", "F E"), ("ADM", "H G"), ("PART", "L K"),
    ]  # fmt: skip
    inside = found["hospitalization"]
    assert inside["preAdmissionIdentifier"]["value"] == "PRE1"
    assert inside["destination"] == {"display": "Soins de suite"}
    assert [i["value"] for i in found["identifier"]] == ["V1", "ALT"]
    assert (found["status"], found["period"]) == (
        "finished",
        {"start": "2026-11-20T08:30:00+01:00", "end": "2026-11-25"},
    )
    assert [i for i in validate(found) if i.severity in ("error", "fatal")] == []


def test_a_transfer_replaces_the_place_and_leaves_the_people() -> None:
    before, _ = made(adt(stay=FULL))
    after, _ = made(adt("A08", stay=pv1("V1^^^X&1.2.3.4&ISO", f3="CHIR^2", f7="", f44="")), before)
    assert [item["location"]["display"] for item in after["location"]] == ["CHIR 2", "URG 1", "REA 2"]
    assert after["participant"] == before["participant"]
    assert after["period"] == before["period"]


def test_a_cancelled_transfer_leaves_the_place_that_the_patient_is_in_after_all() -> None:
    first, _ = made(adt(stay=pv1("V1^^^X&1.2.3.4&ISO", f3="CARD^1")))
    moved, _ = made(adt("A02", stay=pv1("V1^^^X&1.2.3.4&ISO", f3="CHIR^2", f6="CARD^1")), first)
    assert [item["location"]["display"] for item in moved["location"]] == ["CHIR 2", "CARD 1"]
    for prior in ("CHIR^2", ""):
        after, _ = made(adt("A12", stay=pv1("V1^^^X&1.2.3.4&ISO", f3="CARD^1", f6=prior)), moved)
        assert [(item["location"]["display"], item["status"]) for item in after["location"]] == [("CARD 1", "active")]


def test_a_planned_stay_has_a_planned_place() -> None:
    found, _ = made(adt("A04", stay=pv1(f2="P")))
    assert (found["status"], found["class"]["code"], found["location"][0]["status"]) == ("planned", "PRENC", "planned")


def test_a_stay_without_class_is_of_unknown_class_and_that_is_told() -> None:
    found, rules = made(adt(stay=pv1(f2="")))
    assert (found["class"]["code"], rules) == ("UNK", ["class-missing"])
    assert [i for i in validate(found) if i.severity in ("error", "fatal")] == []


def test_a_stay_that_ends_before_it_begins_keeps_its_beginning() -> None:
    found, rules = made(adt(stay=pv1(f45="20261119")))
    assert (found["period"], rules) == ({"start": "2026-11-20T08:30:00+01:00"}, ["period-reversed"])


def test_a_cancelled_end_is_taken_away() -> None:
    ended, _ = made(adt("A03", stay=pv1(f45="20261125")))
    reopened, _ = made(adt("A08", stay=pv1(f45='""')), ended)
    assert reopened["period"] == {"start": "2026-11-20T08:30:00+01:00"}


def test_what_a_discharge_says_ends_the_stay_when_it_was_recorded() -> None:
    found, _ = made(adt("A03", when=WHEN, stay=pv1(f44="20261101")))
    assert (found["status"], found["period"]["end"]) == ("finished", "2026-11-20T08:30:00+01:00")


async def test_a_stay_whose_class_changes_goes_on_under_its_new_number() -> None:
    later, mrg = "20261120093000", segment("MRG", f1="P1^^^CHU&1.2.250.1.999.1&ISO^PI", f5="V1")
    async with hub() as core:
        await take(core, adt("A04", "C1", stay=pv1("V1", f2="O")))
        await take(core, message(header("ADT^A06", "C2", later), f"EVN||{later}", pid(), mrg, pv1("V2", f2="I")))
        (made,) = await find(core, "Encounter")
        assert {one["value"]: one.get("use") for one in made["identifier"]} == {"V1": "old", "V2": None}
        assert made["class"]["code"] == "IMP"
        await take(core, adt("A03", "C3", "20261120103000", stay=pv1("V2", f45="20261120103000")))
        assert [one["status"] for one in await find(core, "Encounter")] == ["finished"]


@pytest.mark.parametrize("before", ["", '""', "V2"], ids=["without a number", "with none", "with the same one"])
async def test_a_change_of_class_without_another_number_is_one_of_class_alone(before: str) -> None:
    later, mrg = "20261120093000", segment("MRG", f1="P1^^^CHU&1.2.250.1.999.1&ISO^PI", f5=before)
    async with hub() as core:
        await take(core, adt("A04", "C1", stay=pv1("V2", f2="O")))
        await take(core, message(header("ADT^A06", "C2", later), f"EVN||{later}", pid(), mrg, pv1("V2", f2="I")))
        (made,) = await find(core, "Encounter")
    assert [one["value"] for one in made["identifier"]] == ["V2"] and made["class"]["code"] == "IMP"


PARTS = {
    "PID": (pid(f6="GRAND^MARIE"), ""), "PD1": (pid(), "PD1||||||Y^Yes^L"), "ZFD": (pid(), "ZFD||32"),
    "ZFA": (pid(), "ZFA||20260101"), "ZFP": (pid(), "ZFP|1|37"),
}  # fmt: skip
"""Segments that tell extensions of a Patient, some by a field of the same number."""


@pytest.mark.parametrize("late", PARTS)
async def test_what_one_segment_tells_late_is_not_older_than_what_another_one_told(late: str) -> None:
    texts = {}
    for name, (about, row) in PARTS.items():
        when = "20261120083000" if name == late else "20261120093000"
        rows = [row] if row else []
        texts[name] = message(header("ADT^A31", name, when), f"EVN||{when}", about, *rows)
    async with hub() as core:
        await take(core, *(text for name, text in texts.items() if name != late), texts[late])
        found = {
            one["url"].rpartition(":")[2].rpartition("/")[2] for one in (await find(core, "Patient"))[0]["extension"]
        }
    assert found >= {
        "patient-mothersMaidenName", "patient-disability", "gestation-weeks", "dmp-status-date", "occupation-category",
    }  # fmt: skip
