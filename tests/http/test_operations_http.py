"""Operations on records over real HTTP: what they answer, whom they tell nothing, what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.record import Record, audited, make_record, stranger, vital
from tests.running import RunningHub


@pytest.fixture
def record(hub: RunningHub) -> Record:
    return make_record(hub)


def get(record: Record, path: str, token: str = "") -> Any:
    answer = record.hub.request("GET", f"/fhir/{path}", token=token)
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(record: Record, path: str, body: dict[str, Any], **options: Any) -> Any:
    return record.hub.request("POST", f"/fhir/{path}", json=body, **options)


def parameters(*items: tuple[str, str, Any]) -> dict[str, Any]:
    """Return Parameters of (name, key of the value, value)."""
    return {"resourceType": "Parameters", "parameter": [{"name": name, key: value} for name, key, value in items]}


def values(bundle: dict[str, Any]) -> list[Any]:
    return [entry["resource"]["valueQuantity"]["value"] for entry in bundle.get("entry", ())]


# --- $lastn -----------------------------------------------------------------------------------------------


@pytest.mark.every_store
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("patient={p}&code=8867-4&max=2", [63, 62], id="the last two of one code"),
        pytest.param("patient={p}&code=http://loinc.org|8867-4", [63], id="one where no max is given"),
        pytest.param("subject={p}&category=vital-signs&max=2", [63, 62, 37], id="a category, group by group"),
        pytest.param("patient={p}&code=8867-4&date=lt2026-01-03&max=1", [62], id="narrowed by date"),
        pytest.param("patient={p}&code=nothing", [], id="no match is an empty answer"),
    ],
)
def test_lastn_gives_the_newest_of_each_code(record: Record, query: str, expected: list[int]) -> None:
    record.add(vital(record.patient, "8310-5", 37, "2026-01-01T00:00:00Z", "Cel"))
    found = get(record, "Observation/$lastn?" + query.format(p=record.patient))
    assert (found["type"], found["total"], values(found)) == ("searchset", len(expected), expected)


@pytest.mark.every_store
def test_lastn_gives_ties_beyond_max(record: Record) -> None:
    record.add(vital(record.patient, "8867-4", 99, "2026-01-03T01:00:00+01:00"))
    assert values(get(record, f"Observation/$lastn?patient={record.patient}&code=8867-4")) == [99, 63]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("valueString", "8867-4", id="text"),
        pytest.param("valueCoding", {"system": "http://loinc.org", "code": "8867-4"}, id="a Coding"),
        pytest.param("valueCoding", {"code": "8867-4"}, id="a Coding without a system"),
    ],
)
def test_lastn_takes_parameters_by_post(record: Record, key: str, value: object) -> None:
    body = parameters(
        ("patient", "valueReference", {"reference": record.patient}),
        ("code", key, value),
        ("max", "valuePositiveInt", 2),
    )
    answer = post(record, "Observation/$lastn", body)
    assert (answer.status_code, values(answer.json())) == (200, [63, 62])


@pytest.mark.parametrize("value", [{"text": "pulse"}, {"code": 8867}, {}], ids=str)
def test_lastn_refuses_a_value_by_post_that_no_search_parameter_takes(record: Record, value: object) -> None:
    body = parameters(("patient", "valueString", record.patient), ("code", "valueCodeableConcept", value))
    answer = post(record, "Observation/$lastn", body)
    assert answer.status_code in (400, 422)


def test_a_patients_own_token_needs_no_subject(record: Record) -> None:
    token = record.hub.token("patient/*.rs", patient=record.patient.removeprefix("Patient/"))
    assert values(get(record, "Observation/$lastn?code=8867-4", token=token)) == [63]


@pytest.mark.parametrize(
    ("query", "word"),
    [
        pytest.param("code=8867-4", "subject", id="no subject"),
        pytest.param("patient=1", "category", id="neither a category nor a code"),
        pytest.param("patient=1&code=1&max=0", "max", id="a max of nothing"),
        pytest.param("patient=1&code=1&_sort=date", "_sort", id="an order of one's own"),
        pytest.param("patient=1&code=1&nonsense=1", "nonsense", id="an unknown parameter"),
    ],
)
def test_lastn_refuses_by_name(hub: RunningHub, query: str, word: str) -> None:
    answer = hub.request("GET", f"/fhir/Observation/$lastn?{query}")
    assert answer.status_code == 400
    assert word in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.every_store
def test_lastn_tells_a_stranger_nothing(record: Record) -> None:
    found = get(record, f"Observation/$lastn?patient={record.patient}&code=8867-4", token=stranger(record.hub))
    assert (found["total"], values(found)) == (0, [])


@pytest.mark.durable_stores
def test_lastn_is_audited_with_the_patient(record: Record) -> None:
    get(record, f"Observation/$lastn?patient={record.patient}&code=8867-4")
    assert audited(record.hub, "$lastn", record.patient.removeprefix("Patient/")) == ["Observation"]


# --- $stats -----------------------------------------------------------------------------------------------


def figures(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return, of each statistics Observation, values by statistic."""
    return [
        {c["code"]["coding"][0]["code"]: c.get("valueQuantity", {}).get("value") for c in item["resource"]["component"]}
        for item in answer["parameter"]
        if item["name"] == "statistics"
    ]


@pytest.mark.every_store
def test_stats_answers_parameters_with_an_observation(record: Record) -> None:
    query = f"subject={record.patient}&code=8867-4&system=http://loinc.org&statistic=average&statistic=maximum,count"
    answer = get(record, f"Observation/$stats?{query}&include=true&limit=2")
    assert figures(answer) == [{"average": 62, "maximum": 63, "count": 3}]
    assert answer["parameter"][0]["resource"]["subject"] == {"reference": record.patient}
    sources = [item["resource"]["valueQuantity"]["value"] for item in answer["parameter"] if item["name"] == "source"]
    assert sources == [63, 62]


@pytest.mark.every_store
def test_stats_counts_nothing_of_what_is_hidden(record: Record) -> None:
    query = f"subject={record.patient}&code=8867-4&statistic=count,total-count,average"
    hidden = get(record, f"Observation/$stats?{query}", token=stranger(record.hub))
    absent = get(record, f"Observation/$stats?{query.replace(record.patient, 'Patient/nobody')}")
    assert figures(hidden) == figures(absent) == [{"count": 0, "total-count": 0, "average": None}]


def test_stats_takes_the_id_of_a_patient_for_the_patient(record: Record) -> None:
    query = "code=8867-4&statistic=count&subject="
    answer = get(record, f"Observation/$stats?{query}{record.patient.removeprefix('Patient/')}")
    assert answer == get(record, f"Observation/$stats?{query}{record.patient}")
    assert figures(answer) == [{"count": 3}]


@pytest.mark.durable_stores
def test_stats_is_audited_with_the_patient(record: Record) -> None:
    get(record, f"Observation/$stats?subject={record.patient}&code=8867-4&statistic=count")
    assert audited(record.hub, "$stats", record.patient.removeprefix("Patient/")) == ["Observation"]


@pytest.mark.parametrize(
    ("query", "word"),
    [
        pytest.param("code=1&statistic=count", "subject", id="no subject"),
        pytest.param("subject=Patient/1,Patient/2&code=1&statistic=count", "subject", id="two subjects, joined"),
        pytest.param("subject=Patient/1&subject=Patient/2&code=1&statistic=count", "subject", id="two subjects"),
        pytest.param("subject=Patient/1|x&code=1&statistic=count", "subject", id="a subject that is no reference"),
        pytest.param("subject=Patient/1&statistic=count", "code", id="no code"),
        pytest.param("subject=Patient/1&code=1", "statistic", id="no statistic"),
        pytest.param("subject=Patient/1&code=1&statistic=mode", "statistic", id="a statistic that R4 does not have"),
        pytest.param("subject=Patient/1&code=1&statistic=count&duration=-1", "duration", id="a duration below 0"),
        pytest.param("subject=Patient/1&code=1&statistic=count&period=2026", "period", id="a period in the URL"),
        pytest.param("subject=Patient/1&code=1&statistic=count&limit=x", "limit", id="a limit that is no number"),
    ],
)
def test_stats_refuses_by_name(hub: RunningHub, query: str, word: str) -> None:
    answer = hub.request("GET", f"/fhir/Observation/$stats?{query}")
    assert answer.status_code == 400
    assert word in answer.json()["issue"][0]["diagnostics"]
