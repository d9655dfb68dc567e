"""Two numbers, one patient: merges, changes of number and links, in whatever order they come."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from adapters.hl7.clocks import holds
from adapters.hl7.faults import Refused
from fhir_server.interface import Core, Erasure
from fhir_server.model import Entry, Record, Resource
from tests.hl7_core import SYSTEM, event, find, hub, merge, number, one, take
from tests.hl7_messages import arrive, obx, oru, pid, pv1


def registered(person: str, minute: int = 0) -> str:
    return event("A04", minute, person=person, stay=pv1(f"V{person}"))


def result(person: str, control: str = "R1", value: str = "88") -> str:
    return oru(obx(value=value), control=control, person=pid(number(person)))


async def holder(core: Core, person: str) -> Resource:
    """Return the active Patient of a number."""
    (found,) = [p for p in await find(core, f"Patient?identifier={SYSTEM}|{person}") if p.get("active") is not False]
    return found


def uses(patient: Resource) -> dict[str, Any]:
    """Return the numbers of a patient and their use."""
    return {i["value"]: i.get("use") for i in patient["identifier"]}


async def test_a_merged_patient_ends_and_what_is_theirs_is_found_under_the_kept_one() -> None:
    async with hub() as core:
        *_, effect = await take(core, registered("A"), registered("B"), result("A"), merge(9, "B", "A"))
        kept = await holder(core, "B")
        assert {reference.partition("/")[0] for reference in effect.references} >= {
            "Patient",
            "Observation",
            "Encounter",
        }
        assert uses(kept) == {"B": None, "A": "old"}
        (ended,) = [p for p in await find(core, "Patient") if p["id"] != kept["id"]]
        assert ended["active"] is False
        assert ended["link"] == [{"other": {"reference": f"Patient/{kept['id']}"}, "type": "replaced-by"}]
        assert kept["link"] == [{"other": {"reference": f"Patient/{ended['id']}"}, "type": "replaces"}]
        assert len(await find(core, f"Observation?patient={kept['id']}")) == 1
        assert len(await find(core, f"Encounter?patient={kept['id']}")) == 2
        assert await find(core, f"Observation?patient={ended['id']}") == []


async def test_a_result_for_the_old_number_comes_to_the_kept_patient() -> None:
    async with hub() as core:
        await take(core, registered("A"), registered("B"), merge(9, "B", "A"), result("A"))
        kept = await holder(core, "B")
        assert [o["subject"]["reference"] for o in await find(core, "Observation")] == [f"Patient/{kept['id']}"]
        assert len(await find(core, "Patient")) == 2


async def test_the_same_merge_again_changes_nothing() -> None:
    async with hub() as core:
        await take(core, registered("A"), registered("B"), merge(9, "B", "A"))
        before = await find(core, "Patient")
        (effect,) = await take(core, merge(9, "B", "A"))
        assert await find(core, "Patient") == before
        assert effect.entries == ()


@pytest.mark.parametrize("trigger", ["A34", "A36", "A40"])
async def test_events_that_merge(trigger: str) -> None:
    async with hub() as core:
        await take(core, registered("A"), registered("B"), merge(9, "B", "A", trigger))
        assert sorted(uses(await holder(core, "B"))) == ["A", "B"]


async def test_a_merge_before_either_is_known_leads_the_old_number_to_the_kept_patient() -> None:
    async with hub() as core:
        (effect,) = await take(core, merge(9, "B", "A"))
        assert [p.rule for p in effect.problems] == ["merged-patient-unknown"]
        await take(core, registered("A"), result("A"))
        kept = await one(core, "Patient")
        assert uses(kept) == {"B": None, "A": "old"}
        assert (await one(core, "Observation"))["subject"]["reference"] == f"Patient/{kept['id']}"


async def test_a_merge_into_an_unknown_patient_lets_the_known_one_go_on_under_the_new_number() -> None:
    async with hub() as core:
        await take(core, registered("A"), result("A"), merge(9, "B", "A"))
        kept = await one(core, "Patient")
        assert uses(kept) == {"A": "old", "B": None}
        assert (await one(core, "Observation"))["subject"]["reference"] == f"Patient/{kept['id']}"


@pytest.mark.parametrize("order", [pytest.param(p, id=" ".join(map(str, p))) for p in permutations(range(5))][::7])
async def test_a_chain_of_merges_ends_with_the_last_one_in_whatever_order(order: tuple[int, ...]) -> None:
    chain = [registered("A"), registered("B", 1), registered("C", 2), merge(10, "B", "A"), merge(20, "C", "B")]
    async with hub() as core:
        await take(core, *(chain[n] for n in order))
        await take(
            core, *(result(person, f"R{person}", value) for person, value in zip("ABC", ("1", "2", "3"), strict=True))
        )
        kept = await holder(core, "C")
        assert uses(kept) == {"A": "old", "B": "old", "C": None}
        assert len(await find(core, f"Observation?patient={kept['id']}")) == 3
        assert [p["id"] for p in await find(core, "Patient") if p.get("active") is not False] == [kept["id"]]


async def test_two_merges_of_one_message_go_one_after_the_other() -> None:
    both = merge(10, "B", "A") + "\r".join([pid(number("C")), f"MRG|{number('B')}"]) + "\r"
    async with hub() as core:
        await take(core, registered("A"), registered("B", 1), registered("C", 2), both)
        assert sorted(uses(await holder(core, "C"))) == ["A", "B", "C"]
        assert len([p for p in await find(core, "Patient") if p.get("active") is not False]) == 1


async def test_a_patient_is_not_merged_with_itself() -> None:
    async with hub() as core:
        await take(core, registered("A"))
        with pytest.raises(Refused) as refused:
            await take(core, merge(9, "A", "A"))
        assert refused.value.fault.code == "204"


async def test_a_patient_that_was_merged_is_not_merged_into_a_third_one() -> None:
    async with hub() as core:
        await take(core, registered("A"), registered("B"), registered("C"), merge(9, "B", "A"))
        with pytest.raises(Refused) as refused:
            await take(core, merge(10, "C", "A"))
        assert refused.value.fault.code == "204"


async def test_a_changed_number_is_old_and_leads_to_the_patient() -> None:
    async with hub() as core:
        await take(core, registered("A"), merge(9, "B", "A", "A47"), result("A"))
        assert uses(await one(core, "Patient")) == {"A": "old", "B": None}
        await take(core, merge(10, "A", "B", "A47"))
        assert uses(await one(core, "Patient")) == {"A": None, "B": "old"}


async def test_linked_patients_stay_two_and_can_be_parted_again() -> None:
    linking = event("A24", 5, person="A") + pid(number("B")) + "\r"
    async with hub() as core:
        await take(core, linking)
        first, second = await holder(core, "A"), await holder(core, "B")
        assert first["link"] == [{"other": {"reference": f"Patient/{second['id']}"}, "type": "seealso"}]
        assert second["link"] == [{"other": {"reference": f"Patient/{first['id']}"}, "type": "seealso"}]
        await take(core, event("A37", 6, person="A") + pid(number("B")) + "\r")
        assert ["link" in p for p in await find(core, "Patient")] == [False, False]


async def test_a_stay_moves_to_another_patient() -> None:
    async with hub() as core:
        await take(core, registered("A"), registered("B"))
        moved = event("A45", 9, f"MRG|{number('A')}||||VA", pv1("VA"), person="B")
        await take(core, moved)
        kept = await holder(core, "B")
        assert {e["subject"]["reference"] for e in await find(core, "Encounter")} == {f"Patient/{kept['id']}"}


async def test_the_number_of_a_stay_changes() -> None:
    async with hub() as core:
        await take(core, registered("A"), event("A50", 9, f"MRG|{number('A')}||||VA", pv1("V2"), person="A"))
        stay = await one(core, "Encounter")
        assert {(i["value"], i.get("use")) for i in stay["identifier"]} == {("VA", "old"), ("V2", None)}


async def test_two_patients_swap_beds() -> None:
    async with hub() as core:
        await take(core, registered("A"), registered("B"))
        swap = event("A17", 9, stay=pv1("VA", f3="CHIR^2"), person="A") + "\r".join(
            [pid(number("B")), pv1("VB", f3="MED^1")]
        )
        await take(core, swap + "\r")
        places = {
            e["identifier"][0]["value"]: e["location"][0]["location"]["display"] for e in await find(core, "Encounter")
        }
        assert places == {"VA": "CHIR 2", "VB": "MED 1"}


async def test_a_permission_of_the_ended_patient_opens_the_kept_record_to_nobody() -> None:
    async with hub() as core:
        await take(core, registered("A"), registered("B"))
        ended, kept = await holder(core, "A"), await holder(core, "B")
        actor = core.internal("default", "test")

        def consent(kind: str) -> Entry:
            provision = {"type": kind, "actor": [{"role": {"text": "x"}, "reference": {"reference": "Practitioner/1"}}]}
            resource = {
                "resourceType": "Consent", "status": "active", "patient": {"reference": f"Patient/{ended['id']}"},
                "scope": {"coding": [{"code": "patient-privacy"}]}, "category": [{"text": "x"}],
                "policyRule": {"text": "x"}, "provision": provision,
            }  # fmt: skip
            return Entry("POST", "Consent", resource)

        await core.submit([consent("permit"), consent("deny")], actor=actor)
        await take(core, merge(9, "B", "A"))
        where = {c["provision"]["type"]: c["patient"]["reference"] for c in await find(core, "Consent")}
        assert where == {"permit": f"Patient/{ended['id']}", "deny": f"Patient/{kept['id']}"}


async def test_a_number_that_a_stay_had_finds_it_until_another_stay_has_it() -> None:
    renumbered = event("A50", 9, f"MRG|{number('A')}||||VA", pv1("V2"), person="A")
    async with hub() as core:
        await take(core, registered("A"), renumbered, event("A08", 10, person="A", stay=pv1("VA", f14="7")))
        assert (await one(core, "Encounter"))["hospitalization"]["admitSource"]["coding"][0]["code"] == "7"


def test_a_message_merges_a_bounded_number_of_patients() -> None:
    many = merge(9, "B", "A") + "".join(f"MRG|{number(f'X{n}')}\r" for n in range(200))
    fault = arrive(many).fault
    assert fault is not None
    assert (fault.code, fault.place.path) == ("100", "MRG[201]")


@pytest.mark.parametrize(
    ("key", "is_held"),
    [
        pytest.param(f"Patient|{SYSTEM}|ABCD|DPI|CHU|said", True, id="by an identifier"),
        pytest.param("Condition|c1||DPI|CHU", True, id="by what it is of"),
        pytest.param(f"Patient|{SYSTEM}|ABCDE|DPI|CHU|said", False, id="another number is another patient's"),
    ],
)
def test_clocks_are_erased_with_what_they_are_of(key: str, is_held: bool) -> None:
    record = Record("hl7-clock", key, "", "", 1, 0, b"{}")
    assert holds(record, Erasure("1", frozenset({"Condition/c1"}), frozenset({"ABCD"}))) == is_held


async def test_a_number_that_is_changed_ends_then_and_one_that_comes_back_is_in_use() -> None:
    async with hub() as core:
        await take(core, event("A28", 1, person="A"), merge(2, "B", "A", "A47"), event("A31", 3, person="A"))
        changed = (await one(core, "Patient"))["identifier"]
        await take(core, merge(4, "A", "B", "A47"))
        back = (await one(core, "Patient"))["identifier"]
    told = [{each["value"]: (each.get("use"), each.get("period")) for each in found} for found in (changed, back)]
    assert told[0] == {"A": ("old", {"end": "2026-11-20T08:02:00+01:00"}), "B": (None, None)}
    assert told[1] == {"A": (None, None), "B": ("old", {"end": "2026-11-20T08:04:00+01:00"})}


async def test_a_number_that_a_merge_made_old_has_no_end() -> None:
    async with hub() as core:
        await take(core, event("A28", 1, person="A"), merge(2, "B", "A", "A40"))
        assert [(each["value"], each.get("period")) for each in (await one(core, "Patient"))["identifier"]] == [
            ("A", None), ("B", None),
        ]  # fmt: skip
