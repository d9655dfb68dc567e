"""Parts of resources: what `_summary` and `_elements` leave."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.interactions.subset import subset

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "1",
    "meta": {"versionId": "3"},
    "text": {"status": "generated", "div": "<div>x</div>"},
    "extension": [{"url": "urn:e", "valueString": "x"}],
    "name": [{"family": "Petit", "given": ["A", "B"], "_given": [None, {"id": "g"}]}, {"text": "P"}],
    "birthDate": "1950-06",
    "_birthDate": {"id": "b"},
    "deceasedBoolean": True,
    "contact": [{"name": {"family": "Grand", "given": ["C"]}, "gender": "male"}],
    "link": [{"id": "l", "other": {"reference": "Patient/2"}, "type": "seealso"}],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "2",
    "status": "final",
    "code": {"text": "c"},
    "referenceRange": [{"text": "normal"}],
    "component": [{"code": {"text": "d"}, "valueInteger": 1, "interpretation": [{"text": "low"}]}],
}


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        pytest.param(["birthDate"], {"birthDate": "1950-06", "_birthDate": {"id": "b"}}, id="an element with its extension"),
        pytest.param(["deceased"], {"deceasedBoolean": True}, id="a choice without its type"),
        pytest.param(["deceasedBoolean"], {"deceasedBoolean": True}, id="a choice with its type"),
        pytest.param(["Patient.birthDate"], {"birthDate": "1950-06", "_birthDate": {"id": "b"}}, id="a name that begins with the type"),
        pytest.param(["name.family"], {"name": [{"family": "Petit"}]}, id="a path into a list"),
        pytest.param(["name.given"], {"name": [{"given": ["A", "B"], "_given": [None, {"id": "g"}]}]}, id="a path to a list of primitives"),
        pytest.param(["name.family", "name"], {"name": PATIENT["name"]}, id="a path and all of it"),
        pytest.param(["name", "name.family"], {"name": PATIENT["name"]}, id="all of it and a path"),
        pytest.param(["contact.name.family"], {"contact": [{"name": {"family": "Grand"}}]}, id="a path of three"),
        pytest.param(["link.type"], {"link": [{"other": {"reference": "Patient/2"}, "type": "seealso"}]}, id="mandatory elements below stay"),
        pytest.param(["contact.name.period"], {}, id="a path to what is not there"),
        pytest.param(["nothing"], {}, id="a name that is nowhere"),
    ],
)  # fmt: skip
def test_elements_keep(elements: list[str], expected: dict[str, Any]) -> None:
    made = subset(PATIENT, "false", elements)
    assert made.pop("meta")["tag"][-1]["code"] == "SUBSETTED"
    assert made == {"resourceType": "Patient", "id": "1", **expected}


def test_mandatory_elements_always_stay() -> None:
    assert {"status", "code"} <= subset(OBSERVATION, "false", ["issued"]).keys()


@pytest.mark.parametrize(
    ("summary", "there", "gone"),
    [
        ("text", {"text", "id", "meta"}, {"name", "link", "birthDate"}),
        ("data", {"name", "contact", "extension"}, {"text"}),
        ("true", {"name", "birthDate", "_birthDate", "deceasedBoolean", "link"}, {"text", "contact", "extension"}),
    ],
)
def test_a_summary_keeps(summary: str, there: set[str], gone: set[str]) -> None:
    made = subset(PATIENT, summary, ())
    assert there <= made.keys() and not gone & made.keys()


def test_a_summary_looks_below_elements_that_have_children() -> None:
    made = subset(OBSERVATION, "true", ())
    assert "referenceRange" not in made
    assert made["component"] == [{"code": {"text": "d"}, "valueInteger": 1}]


def test_the_resource_itself_is_not_changed() -> None:
    before = repr(PATIENT)
    subset(PATIENT, "true", ())
    subset(PATIENT, "false", ["name.family"])
    assert repr(PATIENT) == before
