"""`:above` and `:below` of canonical versions and media types, on every store."""

from __future__ import annotations

import uuid

import pytest

from tests.running import RunningHub

pytestmark = pytest.mark.every_store

MARK = str(uuid.uuid4())
TAGGED = {"tag": [{"system": "urn:mark", "code": MARK}]}
FORM = f"http://forms.example/{MARK}"
VERSIONS = ("", "1", "1.0", "1.0.2", "10", "2")
TYPES = ("application/pdf", "text/xml", "text/xml; charset=UTF-8", "IMAGE/png", "image/jpeg", "imagery/x")


@pytest.fixture(scope="module")
def words(hub: RunningHub) -> dict[str, str]:
    """What resources say, by their ids."""
    made: dict[str, str] = {}
    for version in VERSIONS:
        canonical = f"{FORM}|{version}" if version else FORM
        answer = {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": canonical}
        made[hub.create({**answer, "meta": TAGGED})["id"]] = version or "none"
    for type in (*TYPES, ""):
        attachment = {"url": "http://files.example/1", **({"contentType": type} if type else {})}
        document = {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": attachment}]}
        made[hub.create({**document, "meta": TAGGED})["id"]] = type or "none"
    return made


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(f":below={FORM}", {"none", "1", "1.0", "1.0.2", "10", "2"}, id="below no version: every one"),
        pytest.param(f":below={FORM}|1", {"1", "1.0", "1.0.2"}, id="below a version: what is more precise, not 10"),
        pytest.param(f":below={FORM}|1.0.2,{FORM}|2", {"1.0.2", "2"}, id="below one of two"),
        pytest.param(f":above={FORM}|1.0.2", {"none", "1", "1.0", "1.0.2"}, id="above: what is less precise"),
        pytest.param(f":above={FORM}", {"none"}, id="above no version"),
        pytest.param(f":below={FORM}x|1", set(), id="another url"),
        pytest.param(f":below={FORM}|1&status=stopped", set(), id="and others"),
    ],
)
def test_versions_of_a_canonical(hub: RunningHub, words: dict[str, str], query: str, expected: set[str]) -> None:
    found = hub.search(f"QuestionnaireResponse?_tag={MARK}&questionnaire{query}")
    assert {words[entry["resource"]["id"]] for entry in found.get("entry", ())} == expected
    assert found["total"] == len(expected)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("contenttype:below=text/xml", {"text/xml", "text/xml; charset=UTF-8"}, id="with any parameters"),
        pytest.param("contenttype:below=image", {"IMAGE/png", "image/jpeg"}, id="every image, in any case"),
        pytest.param("contenttype:below=image/png,application/pdf", {"IMAGE/png", "application/pdf"}, id="one of two"),
        pytest.param("contenttype:below=urn:ietf:bcp:13|application", {"application/pdf"}, id="the system said"),
        pytest.param("contenttype:above=text/xml", {"text/xml"}, id="above: without parameters"),
        pytest.param("contenttype=text/xml", {"text/xml"}, id="without a modifier the same code"),
        pytest.param("contenttype:below=nothing/x", set(), id="none of the kind"),
        pytest.param("_filter=not (contenttype ss image)", {*TYPES, "none"} - {"IMAGE/png", "image/jpeg"}, id="not"),
    ],
)
def test_media_types(hub: RunningHub, words: dict[str, str], query: str, expected: set[str]) -> None:
    found = hub.search(f"DocumentReference?_tag={MARK}&{query}")
    assert {words[entry["resource"]["id"]] for entry in found.get("entry", ())} == expected


def test_a_chain_goes_on_by_them(hub: RunningHub, words: dict[str, str]) -> None:
    patient = hub.create({"resourceType": "Patient", "meta": TAGGED})["id"]
    answer = {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": f"{FORM}|2.5"}
    hub.create({**answer, "subject": {"reference": f"Patient/{patient}"}})
    asked = f"Patient?_tag={MARK}&_has:QuestionnaireResponse:patient:questionnaire"
    assert [hub.search(f"{asked}:below={FORM}|{version}")["total"] for version in ("2", "3")] == [1, 0]


def test_a_value_set_of_a_whole_system_that_is_not_loaded(hub: RunningHub) -> None:
    elsewhere = f"http://codes.example/{MARK}"
    compose = {"include": [{"system": elsewhere}]}
    value_set = {"resourceType": "ValueSet", "status": "active", "url": f"{elsewhere}/all", "compose": compose}
    hub.create(value_set)
    for system in (elsewhere, f"{elsewhere}/other"):
        code = {"coding": [{"system": system, "code": "x"}]}
        hub.create({"resourceType": "Basic", "meta": TAGGED, "code": code})
    asked = f"Basic?_tag={MARK}&code"
    found = [hub.search(f"{asked}:{modifier}={elsewhere}/all")["entry"] for modifier in ("in", "not-in")]
    assert [[one["resource"]["code"]["coding"][0]["system"] for one in page] for page in found] == [
        [elsewhere],
        [f"{elsewhere}/other"],
    ]
