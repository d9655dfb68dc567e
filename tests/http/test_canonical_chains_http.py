"""Chains and `_has` along canonical urls, on every store."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.running import RunningHub

pytestmark = pytest.mark.every_store

MARK = "canonical-chains"
TAGGED = {"tag": [{"system": "urn:mark", "code": MARK}]}


@pytest.fixture(scope="module")
def words(hub: RunningHub) -> dict[str, str]:
    """Forms in two versions and one without, and answers to them; words by the ids of what the hub holds."""
    url, bare = f"http://forms.example/{uuid.uuid4()}", f"http://forms.example/{uuid.uuid4()}"
    patient = hub.create({"resourceType": "Patient", "name": [{"family": "Exemple"}]})["id"]
    made: dict[str, dict[str, Any]] = {
        word: {"resourceType": "Questionnaire", "status": "active", "title": word, "url": at, **version}
        for word, at, version in (
            ("first", url, {"version": "1"}),
            ("second", url, {"version": "2"}),
            ("plain", bare, {}),
        )
    }
    for word, canonical, status in (
        ("of one", f"{url}|1", "completed"),
        ("of two", f"{url}|2", "amended"),
        ("of any", url, "in-progress"),
        ("of plain", bare, "completed"),
        ("of none", f"{bare}|9", "stopped"),
    ):
        answer = {"resourceType": "QuestionnaireResponse", "status": status, "questionnaire": canonical}
        made[word] = {**answer, "subject": {"reference": f"Patient/{patient}"}}
    made["plan"] = {
        "resourceType": "CarePlan",
        "status": "active",
        "intent": "plan",
        "instantiatesCanonical": [f"{url}|2"],
    }
    made["plan"]["subject"] = {"reference": f"Patient/{patient}"}
    return {hub.create({**one, "meta": TAGGED})["id"]: word for word, one in made.items()}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("QuestionnaireResponse?questionnaire.title=first", "of one, of any", id="a version, and none"),
        pytest.param("QuestionnaireResponse?questionnaire.title=second", "of two, of any", id="another version"),
        pytest.param("QuestionnaireResponse?questionnaire.title=plain", "of plain", id="a version that is not here"),
        pytest.param("QuestionnaireResponse?questionnaire.title=nothing", "", id="no such form"),
        pytest.param(
            "QuestionnaireResponse?questionnaire:Questionnaire.title=first&status=completed", "of one", id="and others"
        ),
        pytest.param(
            'QuestionnaireResponse?_filter=not (questionnaire.title eq "first")',
            "of two, of plain, of none",
            id="the contrary",
        ),
        pytest.param("CarePlan?instantiates-canonical.title=second", "plan", id="to one of several types"),
        pytest.param("CarePlan?instantiates-canonical.title=first", "", id="to another version"),
        pytest.param("Questionnaire?_has:QuestionnaireResponse:questionnaire:status=amended", "second", id="backwards"),
        pytest.param(
            "Questionnaire?_has:QuestionnaireResponse:questionnaire:status=in-progress",
            "first, second",
            id="backwards from no version",
        ),
        pytest.param(
            "Questionnaire?_has:QuestionnaireResponse:questionnaire:status=stopped", "", id="backwards to none"
        ),
        pytest.param(
            "Questionnaire?_has:QuestionnaireResponse:questionnaire:patient.name=exemple",
            "first, second, plain",
            id="backwards and on",
        ),
    ],
)
def test_canonicals_are_followed(hub: RunningHub, words: dict[str, str], query: str, expected: str) -> None:
    found = hub.search(f"{query}&_tag={MARK}")
    assert {words[entry["resource"]["id"]] for entry in found.get("entry", ())} == set(
        filter(None, expected.split(", "))
    )


def test_a_patient_is_found_by_the_title_of_a_form(hub: RunningHub, words: dict[str, str]) -> None:
    asked = f"Patient?_has:QuestionnaireResponse:patient:questionnaire.title=plain&_has:QuestionnaireResponse:patient:_tag={MARK}"
    assert hub.search(asked)["total"] == 1


def test_what_may_not_be_seen_leads_to_nothing(hub: RunningHub, words: dict[str, str]) -> None:
    stranger = hub.token("system/*.cruds", actor="Organization/stranger")
    asked = f"Questionnaire?_has:QuestionnaireResponse:questionnaire:status=amended&_tag={MARK}"
    assert (hub.search(asked)["total"], hub.search(asked, token=stranger)["total"]) == (1, 0)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(
            "Questionnaire?title=first&_revinclude=QuestionnaireResponse:questionnaire", "of one, of any", id="back"
        ),
        pytest.param(
            "Questionnaire?title=plain&_revinclude=QuestionnaireResponse:questionnaire", "of plain", id="to none"
        ),
        pytest.param("Questionnaire?title=second&_revinclude=*", "of two, of any, plan", id="back from everything"),
        pytest.param(
            "QuestionnaireResponse?status=amended&_include=QuestionnaireResponse:questionnaire", "second", id="on"
        ),
    ],
)
def test_includes_keep_to_the_version_that_a_canonical_says(
    hub: RunningHub, words: dict[str, str], query: str, expected: str
) -> None:
    found = hub.search(f"{query}&_tag={MARK}")
    included = [entry["resource"] for entry in found["entry"] if entry["search"]["mode"] == "include"]
    assert {words[one["id"]] for one in included if one["id"] in words} == set(filter(None, expected.split(", ")))
