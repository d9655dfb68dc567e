"""Parameters that are none of R4's: refused by every operation, never taken for not given, never a 500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import RunningHub

pytestmark = pytest.mark.every_store

OPERATIONS = [
    pytest.param("Patient/{id}/$everything", "_count", id="$everything"),
    pytest.param("Observation/$lastn", "max", id="$lastn"),
    pytest.param("Observation/$stats", "limit", id="$stats"),
    pytest.param("Patient/{id}/$meta-add", "meta", id="$meta-add"),
    pytest.param("Patient/{id}/$meta-delete", "meta", id="$meta-delete"),
    pytest.param("Patient/{id}/$diff", "includeMeta", id="$diff"),
    pytest.param("Patient/{id}/$summary", "profile", id="$summary"),
    pytest.param("Patient/$match", "onlyCertainMatches", id="$match"),
    pytest.param("Patient/$merge", "preview", id="$merge"),
    pytest.param("Patient/{id}/$erase", "dry-run", id="$erase"),
    pytest.param("Patient/{id}/$pre-dmp", "x", id="$pre-dmp"),
    pytest.param("ValueSet/$expand", "activeOnly", id="$expand"),
    pytest.param("CodeSystem/$lookup", "code", id="$lookup"),
    pytest.param("ConceptMap/$translate", "reverse", id="$translate"),
    pytest.param("$export", "_type", id="$export"),
    pytest.param("$import", "inputFormat", id="$import"),
    pytest.param("$reindex", "type", id="$reindex"),
]
ITEMS: list[Any] = [
    {"valueBoolean": None},
    {"valueString": None},
    {"valueString": ""},
    {"valueBoolean": "true"},
    {"valueString": True},
    {"valueString": {"a": 1}},
    {"valueCode": ["a"]},
    {"valueInteger": "1"},
    {"valueMeta": {}},
    {"valueMeta": "x"},
    {"valueReference": {"reference": "Patient/1"}},
    {"resource": None},
    {"resource": {}},
    {"valueBogus": "x"},
    {"valueString": "x", "part": [{"name": "y", "valueString": "z"}]},
    {"valueString": "x", "valueCode": "y"},
    {"part": [{"name": ["x"]}]},
    {"value": "x"},
]


def bodies(name: str) -> Iterator[Any]:
    """Yield bodies that no operation can read."""
    yield from ([{"name": name, **item}] for item in ITEMS)
    yield from ("x", {"name": name, "valueString": "x"}, [5], [None], [{"name": 5, "valueString": "x"}], [{}])


@pytest.mark.parametrize(("path", "name"), OPERATIONS)
def test_parameters_that_are_none_are_refused(hub: RunningHub, path: str, name: str) -> None:
    id = hub.create({"resourceType": "Patient"})["id"]
    for parameter in bodies(name):
        body = {"resourceType": "Parameters", "parameter": parameter}
        headers: dict[str, Any] = {"Prefer": "respond-async"} if path == "$export" else {}
        answer = hub.request("POST", f"/fhir/{path.format(id=id)}", json=body, **headers)
        assert answer.status_code in (400, 422), (parameter, answer.status_code, answer.text)
    assert hub.request("GET", f"/fhir/Patient/{id}").status_code == 200


@pytest.mark.parametrize("path", ["Patient/{id}/$erase", "Patient/{id}/$everything", "Patient/{id}/$meta"])
def test_an_element_that_parameters_do_not_have_is_refused(hub: RunningHub, path: str) -> None:
    id = hub.create({"resourceType": "Patient"})["id"]
    body = {"resourceType": "Parameters", "parameters": [{"name": "dry-run", "valueBoolean": True}]}
    answer = hub.request("POST", f"/fhir/{path.format(id=id)}", json=body)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "value")
    assert hub.request("GET", f"/fhir/Patient/{id}").status_code == 200


@pytest.mark.parametrize(
    "query", ["$diff?from=", "$diff?to=", "$summary?profile=", "$everything?start=", "$erase?dry-run="]
)
def test_a_parameter_without_a_value_is_refused(hub: RunningHub, query: str) -> None:
    id = hub.create({"resourceType": "Patient"})["id"]
    answer = hub.request("POST", f"/fhir/Patient/{id}/{query}")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "value")
