"""Measurements in, alerts out, in one transaction: what is scored, opened, raised, left alone, and what fails."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fhir_server.errors import Unavailable
from fhir_server.model import Change, Resource, Version
from tests.ward import AT, PARIS, Ward, after, vital
from triage_hooks import alert, moment
from triage_hooks.codes import FAMILY, LOINC, SCALE_2, SETTING, SIGN, SNOMED, UCUM, codes_of
from triage_hooks.enricher import Triage
from triage_hooks.rules.news2 import NEWS2
from triage_hooks.rules.score import Score


def grave(at: str = AT) -> list[Resource]:
    return [vital("rr", 28, at), vital("spo2", 88, at), vital("hr", 135, at)]


def scores(ward: Ward) -> list[Resource]:
    return [held for held in ward.all("Observation") if "valueInteger" in held]


async def test_a_grave_set_makes_score_risk_flag_and_task_that_refer_to_each_other() -> None:
    ward = Ward()
    await ward.write(*grave())
    (score,), (risk,), (flag,), (task,) = scores(ward), *(ward.all(t) for t in ("RiskAssessment", "Flag", "Task"))
    (device,) = ward.all("Device")
    assert score["valueInteger"] == 9
    assert score["status"] == "preliminary"
    assert len(score["derivedFrom"]) == 3
    assert f"Observation/{score['id']}" in [basis["reference"] for basis in risk["basis"]]
    assert risk["method"]["coding"][0]["version"] == NEWS2.version
    assert risk["performer"] == {"reference": f"Device/{device['id']}"}
    assert task["focus"] == {"reference": f"RiskAssessment/{risk['id']}"}
    assert task["reasonReference"] == {"reference": f"Flag/{flag['id']}"}
    assert (flag["status"], task["status"], task["priority"]) == ("active", "requested", "stat")
    assert alert.place(task) == 1
    assert task["restriction"]["period"]["end"] == task["authoredOn"]


async def test_the_score_says_what_is_missing_and_how_far_it_could_reach() -> None:
    ward = Ward()
    await ward.write(vital("rr", 23), vital("hr", 112))
    (score,) = scores(ward)
    parts = {part["code"]["coding"][0]["code"]: part for part in score["component"]}
    assert (score["valueInteger"], parts["news2-minimum"]["valueInteger"]) == (4, 4)
    assert parts["news2-maximum"]["valueInteger"] == 18
    assert parts["news2-resp-rate"]["valueInteger"] == 2
    assert parts["news2-spo2"]["dataAbsentReason"]["coding"][0]["code"] == "unknown"
    assert "pas comptée comme normale" in score["note"][0]["text"]
    assert not ward.all("Task")


async def test_another_unit_is_named_as_missing() -> None:
    ward = Ward()
    fahrenheit = {"value": 103, "unit": "°F", "system": UCUM, "code": "[degF]"}
    await ward.write(*grave(), {**vital("temp", 0), "valueQuantity": fahrenheit})
    (score,) = scores(ward)
    parts = {part["code"]["coding"][0]["code"]: part for part in score["component"]}
    assert parts["news2-temperature"]["dataAbsentReason"]["text"] == "autre unité que celle de la règle"


@pytest.mark.parametrize(
    ("resources", "made"),
    [
        pytest.param([vital("hr", 72)], 0, id="one calm value is no score"),
        pytest.param([vital("hr", 95)], 0, id="one point of one value neither"),
        pytest.param([vital("rr", 14), vital("spo2", 98), vital("hr", 70)], 1, id="three calm values are, with range"),
        pytest.param([vital("spo2", 90)], 1, id="one grave value is"),
        pytest.param([vital("spo2", 90, status="entered-in-error")], 0, id="an error in entry is not"),
    ],
)
async def test_what_is_worth_a_score(resources: list[Resource], made: int) -> None:
    ward = Ward()
    await ward.write(*resources)
    assert len(scores(ward)) == made


async def test_a_calm_value_costs_one_question_of_a_new_patient_and_then_none() -> None:
    ward = Ward()
    assert await ward.write(vital("hr", 72)) == []
    assert ward.asked == 1
    assert await ward.write(vital("hr", 73, after(1))) == []
    assert ward.asked == 1


async def test_other_measurements_cost_nothing() -> None:
    ward = Ward()
    weight = {**vital("hr", 80), "code": {"coding": [{"system": LOINC, "code": "29463-7"}]}}
    assert await ward.write(weight) == []
    assert ward.asked == 0


async def test_values_stored_before_complete_the_set() -> None:
    ward = Ward()
    await ward.write(vital("rr", 28))
    await ward.write(vital("spo2", 88, after(-5)))
    assert scores(ward)[-1]["valueInteger"] == 6
    assert len(scores(ward)[-1]["derivedFrom"]) == 2


async def test_values_outside_their_window_do_not() -> None:
    ward = Ward()
    await ward.write(vital("rr", 28, after(-300)))
    await ward.write(vital("spo2", 88))
    assert scores(ward)[-1]["valueInteger"] == 3


async def test_a_value_that_comes_late_completes_the_later_set() -> None:
    ward = Ward()
    await ward.write(vital("spo2", 88, after(-5)))
    await ward.write(vital("rr", 28, after(-30)))
    assert scores(ward)[-1]["valueInteger"] == 6
    assert ward.all("Task")[0]["priority"] == "asap"


async def test_a_grave_value_is_not_hidden_by_a_better_one_of_the_same_transaction() -> None:
    ward = Ward()
    await ward.write(vital("spo2", 84, after(-30)), vital("spo2", 98, after(-5)))
    assert [task["priority"] for task in ward.all("Task")] == ["urgent"]


async def test_of_two_values_of_one_moment_the_graver_counts() -> None:
    ward = Ward()
    await ward.write(vital("spo2", 98), vital("spo2", 84))
    assert len(ward.all("Task")) == 1


async def test_the_same_set_again_is_one_episode() -> None:
    ward = Ward()
    for _ in range(3):
        await ward.write(*grave())
        ward.now += 60_000_000
    assert [len(ward.all(t)) for t in ("Flag", "Task", "RiskAssessment", "Device")] == [1, 1, 1, 1]


async def test_a_worse_set_raises_the_open_alert_and_leaves_its_flag() -> None:
    ward = Ward()
    await ward.write(vital("spo2", 90))
    (before,), (flag,) = ward.all("Task"), ward.all("Flag")
    ward.now += 60_000_000
    await ward.write(*grave(after(1)))
    (task,) = ward.all("Task")
    assert (before["priority"], task["priority"], alert.place(task)) == ("urgent", "stat", 1)
    assert task["restriction"]["period"]["end"] < before["restriction"]["period"]["end"]
    assert task["identifier"] == before["identifier"]
    assert len(task["input"]) > len(before["input"])
    assert ward.all("Flag") == [flag]
    assert len(ward.all("RiskAssessment")) == 2


async def test_a_better_set_never_lowers_an_alert() -> None:
    ward = Ward()
    await ward.write(*grave())
    (before,) = ward.all("Task")
    await ward.write(vital("rr", 14, after(1)), vital("spo2", 98, after(1)), vital("hr", 70, after(1)))
    assert ward.all("Task") == [before]
    assert scores(ward)[-1]["valueInteger"] == 0


async def test_closing_an_alert_ends_its_flag_and_the_next_one_is_linked_to_it() -> None:
    ward = Ward()
    await ward.write(*grave())
    (task,) = ward.all("Task")
    await ward.write({**task, "status": "completed"})
    (flag,) = ward.all("Flag")
    assert (flag["status"], flag["period"]["end"]) == ("inactive", moment.written(ward.now))
    ward.now += 3_600_000_000
    await ward.write(*grave(after(60)))
    (again,) = ward.all("Task", status="requested")
    assert again["partOf"] == [{"reference": f"Task/{task['id']}"}]
    assert len(ward.all("Flag", status="active")) == 1


async def test_an_update_that_leaves_the_measurement_is_no_new_one() -> None:
    ward = Ward()
    await ward.write(*grave())
    (held,) = [item for item in ward.all("Observation") if "9279-1" in codes_of(item["code"], LOINC)]
    assert await ward.write({**held, "note": [{"text": "seen"}]}) == []
    assert await ward.write({**held, "valueQuantity": {**held["valueQuantity"], "value": 27}}) != []


async def test_a_late_value_says_so_and_history_is_a_routine_task_without_flag() -> None:
    ward = Ward()
    await ward.write(vital("spo2", 85, after(-60 * 24 * 3)))
    (late,) = ward.all("Task")
    assert late["description"].startswith("Mesure du 2026-11-17, reçue tard.")
    await ward.write(*(vital("spo2", 85, f"2021-0{month}-01T10:00:00Z") for month in range(1, 10)))
    old = [task for task in ward.all("Task") if "vitals-history" in codes_of(task["code"], FAMILY)]
    assert [task["priority"] for task in old] == ["routine"]
    assert len(ward.all("Flag")) == 1


@pytest.mark.parametrize(
    ("author", "expected"),
    [
        pytest.param("Practitioner/dr", 0, id="set by a clinician: 90 % is on target"),
        pytest.param("Device/x", 3, id="set by a device: not believed"),
        pytest.param("", 3, id="set by nobody: not believed"),
    ],
)
async def test_the_second_saturation_scale_needs_a_clinician(author: str, expected: int) -> None:
    ward = Ward()
    flag: Resource = {"status": "active", "code": {"coding": [{"system": SETTING, "code": SCALE_2}]}}
    ward.put("Flag", {**flag, "subject": {"reference": "Patient/p"}, "author": {"reference": author}})
    await ward.write(vital("spo2", 90), vital("rr", 16), vital("hr", 70))
    assert scores(ward)[0]["valueInteger"] == expected


@pytest.mark.parametrize(
    ("person", "made"),
    [
        pytest.param({"birthDate": "2012-01-01"}, 0, id="fourteen: not scored"),
        pytest.param({"birthDate": "2010-11-21"}, 0, id="sixteen tomorrow: not scored"),
        pytest.param({"birthDate": "2010-11-20"}, 1, id="sixteen today: scored"),
        pytest.param({"birthDate": "2010"}, 1, id="perhaps sixteen: scored"),
        pytest.param({}, 1, id="age unknown: scored"),
    ],
)
async def test_only_adults_are_scored(person: Resource, made: int) -> None:
    ward = Ward()
    ward.put("Patient", {"id": "p", "gender": "male", **person})
    await ward.write(*grave())
    assert len(scores(ward)) == len(ward.all("Task")) == made


@pytest.mark.parametrize(
    ("known", "made"),
    [
        pytest.param(
            {"resourceType": "Condition", "code": {"coding": [{"system": SNOMED, "code": "77386006"}]}},
            0,
            id="a condition",
        ),
        pytest.param(
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": LOINC, "code": "82810-3"}]},
                "effectiveDateTime": "2026-10-01",
                "valueCodeableConcept": {"coding": [{"system": LOINC, "code": "LA15173-0"}]},
            },
            0,
            id="a recent answer",
        ),
        pytest.param(
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": LOINC, "code": "82810-3"}]},
                "effectiveDateTime": "2024-10-01",
                "valueCodeableConcept": {"coding": [{"system": LOINC, "code": "LA15173-0"}]},
            },
            1,
            id="an answer of two years ago",
        ),
    ],
)
async def test_known_pregnancy_is_not_scored(known: Resource, made: int) -> None:
    ward = Ward()
    ward.put("Patient", {"id": "p", "gender": "female", "birthDate": "1990-01-01"})
    ward.put(known["resourceType"], {**known, "subject": {"reference": "Patient/p"}})
    await ward.write(*grave())
    assert len(scores(ward)) == made


def _breaks(values: Any, scale: int) -> Score:
    raise RuntimeError("a name that must not be logged")


async def test_a_failing_rule_leaves_the_measurement_and_tells_a_person_once(caplog: pytest.LogCaptureFixture) -> None:
    ward = Ward()
    ward.triage = Triage("https://hub.example/fhir", PARIS, (NEWS2._replace(formula=_breaks),))
    with caplog.at_level(logging.ERROR):
        await ward.write(*grave())
        await ward.write(*grave(after(1)))
    (task,) = ward.all("Task")
    assert "failure-in-auto-processing" in [coding["code"] for coding in task["code"]["coding"]]
    assert len(task["input"]) == 3
    assert len(ward.all("Flag", status="active")) == 1
    assert "RuntimeError" in caplog.text
    assert "a name" not in caplog.text


async def test_the_engines_device_is_searched_for_until_it_is_known_and_again_when_it_is_gone() -> None:
    ward = Ward()
    await ward.write(*grave())
    await ward.write(*grave(after(1)))
    (device,) = ward.all("Device")
    queries = await _asked(ward, *grave(after(2)))
    assert not [query for query in queries if query.startswith("Device?")]
    assert scores(ward)[-1]["device"] == {"reference": f"Device/{device['id']}"}
    del ward.held[f"Device/{device['id']}"]
    queries = await _asked(ward, *grave(after(3)))
    assert len([query for query in queries if query.startswith("Device?")]) == 1
    (made,) = ward.all("Device")
    assert scores(ward)[-1]["device"] == {"reference": f"Device/{made['id']}"}


async def _asked(ward: Ward, *resources: Resource) -> list[str]:
    """Write and return what was searched for."""
    ward.queries.clear()
    await ward.write(*resources)
    return ward.queries


async def test_a_store_that_does_not_answer_refuses_the_write() -> None:
    class Silent(Ward):
        async def find(self, query: str) -> list[Resource]:
            raise Unavailable("The store cannot answer now.")

    with pytest.raises(Unavailable):
        await Silent().write(*grave())


async def test_two_patients_of_one_transaction_have_an_alert_each_and_one_author() -> None:
    ward = Ward()
    ward.put("Patient", {"id": "q", "birthDate": "1950", "gender": "male"})
    others = [{**item, "subject": {"reference": "Patient/q"}} for item in grave()]
    await ward.write(*grave(), *others)
    assert sorted(task["for"]["reference"] for task in ward.all("Task")) == ["Patient/p", "Patient/q"]
    assert len(ward.all("Device")) == 1


async def test_the_same_transaction_run_twice_gives_the_same_entries() -> None:
    one, other = Ward(), Ward()
    assert await one.write(*grave()) == await other.write(*grave())


async def test_a_full_page_of_one_vital_sign_does_not_hide_the_others() -> None:
    ward = Ward()
    ward.put("Observation", {**vital("rr", 28, after(-200)), "id": "first"})
    for minute in range(60):
        ward.put("Observation", vital("spo2", 97, after(minute - 100)))
    oxygen = {**vital("hr", 0), "code": {"coding": [{"system": SIGN, "code": "on-oxygen"}]}, "valueBoolean": True}
    await ward.write({key: value for key, value in oxygen.items() if key != "valueQuantity"})
    assert scores(ward)[-1]["valueInteger"] == 5


async def test_a_value_older_than_the_chart_is_judged_with_those_of_its_time() -> None:
    ward = Ward()
    for minute in range(20):
        await ward.write(vital("hr", 135, after(minute - 60)))
    await ward.write(vital("rr", 28, after(-59)))
    assert len(ward.all("Task")) == 1
    assert max(score["valueInteger"] for score in scores(ward)) == 6


async def test_what_was_wrong_counts_no_more() -> None:
    ward = Ward()
    await ward.write(vital("rr", 28))
    (wrong,) = [held for held in ward.all("Observation") if "9279-1" in codes_of(held["code"], LOINC)]
    await ward.write({**wrong, "status": "entered-in-error"})
    await ward.write(vital("hr", 115, after(1)))
    assert scores(ward)[-1]["valueInteger"] == 2


async def test_the_chart_of_a_deleted_patient_goes() -> None:
    ward = Ward()
    await ward.write(vital("hr", 72))
    gone = Change(Version("Patient", "p", 2, ward.now, "DELETE", b""), ward.held["Patient/p"], None)
    assert ward.charts
    assert await ward.triage.run(ward, [gone]) == []  # type: ignore[arg-type]
    assert ward.charts == {}
