"""The terminology operations as a client meets them, over real sockets on SQLite."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningHub
from tests.terminology_world import concept, include, system, value_set

pytestmark = pytest.mark.every_store

GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"
GENDER = "http://hl7.org/fhir/administrative-gender"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
TASTE = "http://example.org/terminology/taste"

TASTES = system(
    concept(
        "basic",
        concept("sweet", display="Sweet", designation=[{"language": "fr", "value": "Sucré"}], hidden=False),
        concept("sour", concept("acid", display="Acid", inactive=True), display="Sour"),
        display="Basic taste",
        notSelectable=True,
    ),
    concept("bitter", display="Bitter", designation=[{"language": "fr", "value": "Amer très fort"}]),
    id="taste",
    url=TASTE,
    version="1.0",
    title="Tastes",
)
SET = value_set(include(url=TASTE), id="tastes", url=f"{TASTE}/vs")
MAP: dict[str, Any] = {
    "resourceType": "ConceptMap", "id": "tastes", "url": f"{TASTE}/map", "status": "active",
    "group": [
        {
            "source": TASTE, "target": "http://example.org/food",
            "element": [
                {"code": "sweet", "display": "Sweet", "target": [
                    {"code": "cake", "display": "Cake", "equivalence": "narrower", "comment": "one of several", "dependsOn": [{"property": "http://example.org/meal", "system": "http://example.org/meals", "value": "dessert"}]},
                    {"code": "sugar", "equivalence": "equivalent", "product": [{"property": "http://example.org/colour", "value": "white"}]},
                ]},
                {"code": "bitter", "target": [{"equivalence": "unmatched"}]},
            ],
            "unmapped": {"mode": "fixed", "code": "other", "display": "Other food"},
        },
        {"source": TASTE, "target": "http://example.org/same", "element": [{"code": "none"}], "unmapped": {"mode": "provided"}},
        {"source": TASTE, "target": "http://example.org/far", "element": [{"code": "none"}], "unmapped": {"mode": "other-map", "url": f"{TASTE}/other"}},
    ],
}  # fmt: skip
OTHER_MAP = {
    "resourceType": "ConceptMap", "id": "tastes-other", "url": f"{TASTE}/other", "status": "active",
    "group": [{"source": TASTE, "target": "http://example.org/far", "element": [{"code": "sour", "target": [{"code": "lemon", "equivalence": "wider"}]}]}],
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def tastes(hub: RunningHub) -> None:
    for resource in (TASTES, SET, MAP, OTHER_MAP):
        answer = hub.request("PUT", f"/fhir/{resource['resourceType']}/{resource['id']}", json=resource)
        assert answer.status_code in (200, 201), answer.text


def get(hub: RunningHub, path: str, **parameters: Any) -> dict[str, Any]:
    answer = hub.http.get(f"/fhir/{path}", params=parameters, headers={"Authorization": f"Bearer {hub.operator}"})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def refused(hub: RunningHub, path: str, **parameters: Any) -> tuple[int, str]:
    answer = hub.http.get(f"/fhir/{path}", params=parameters, headers={"Authorization": f"Bearer {hub.operator}"})
    assert answer.json()["resourceType"] == "OperationOutcome"
    return answer.status_code, answer.json()["issue"][0]["code"]


def listed(expansion: dict[str, Any]) -> list[str]:
    return [entry["code"] for entry in expansion["expansion"].get("contains", [])]


def values(parameters: dict[str, Any]) -> dict[str, Any]:
    """The plain parameters of an answer by name."""
    return {
        p["name"]: next(v for k, v in p.items() if k.startswith("value"))
        for p in parameters["parameter"]
        if "part" not in p
    }


def matches(parameters: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Equivalence, system and code of each match."""
    found = []
    for match in (p for p in parameters["parameter"] if p["name"] == "match"):
        parts = {part["name"]: part for part in match["part"]}
        coding = parts.get("concept", {}).get("valueCoding", {})
        found.append((parts["equivalence"]["valueCode"], coding.get("system", ""), coding.get("code", "")))
    return found


# --- $expand -----------------------------------------------------------------
def test_a_value_set_of_r4_expands_on_type_and_instance_by_get_and_post(hub: RunningHub) -> None:
    by_url = get(hub, "ValueSet/$expand", url=GENDERS)
    assert listed(by_url) == ["male", "female", "other", "unknown"]
    assert by_url["resourceType"] == "ValueSet"
    assert by_url["expansion"]["total"] == 4
    assert by_url["expansion"]["identifier"].startswith("urn:uuid:")
    assert by_url["expansion"]["contains"][0] == {"system": GENDER, "code": "male", "display": "Male"}
    assert "compose" not in by_url
    assert listed(get(hub, "ValueSet/administrative-gender/$expand")) == listed(by_url)
    body = {"resourceType": "Parameters", "parameter": [{"name": "url", "valueUri": GENDERS}]}
    posted = hub.request("POST", "/fhir/ValueSet/$expand", json=body)
    assert listed(posted.json()) == listed(by_url)


ASKED = [
    pytest.param({}, ["basic", "sweet", "sour", "acid", "bitter"], id="all, in the order of the system"),
    pytest.param({"filter": "SUCRE"}, ["sweet"], id="a filter finds designations, without accents"),
    pytest.param({"filter": "fort amer"}, ["bitter"], id="each word of the filter begins a word"),
    pytest.param({"filter": "weet"}, [], id="a filter does not find the middle of a word"),
    pytest.param({"filter": "s"}, ["sweet", "sour"], id="a filter finds what begins so"),
    pytest.param({"activeOnly": "true"}, ["basic", "sweet", "sour", "bitter"], id="inactive codes can be left out"),
    pytest.param({"excludeNotForUI": "true"}, ["sweet", "sour", "acid", "bitter"], id="so can those that only group"),
    pytest.param({"count": 2}, ["basic", "sweet"], id="the first page"),
    pytest.param({"count": 2, "offset": 3}, ["acid", "bitter"], id="a later page"),
    pytest.param({"count": 0}, [], id="count 0 gives the total only"),
    pytest.param({"offset": 9}, [], id="beyond the end there is nothing"),
    pytest.param({"exclude-system": TASTE}, [], id="a system can be left out"),
]


@pytest.mark.parametrize(("asked", "expected"), ASKED)
def test_an_expansion_gives(hub: RunningHub, asked: dict[str, Any], expected: list[str]) -> None:
    found = get(hub, "ValueSet/tastes/$expand", **asked)
    assert listed(found) == expected
    if "offset" in asked or "count" in asked:
        assert found["expansion"]["total"] == 5
    given = {p["name"] for p in found["expansion"].get("parameter", [])}
    assert set(asked) <= given


def test_an_expansion_says_what_a_code_is(hub: RunningHub) -> None:
    found = {entry["code"]: entry for entry in get(hub, "ValueSet/tastes/$expand")["expansion"]["contains"]}
    assert found["acid"]["inactive"] is True
    assert found["basic"]["abstract"] is True
    assert "designation" not in found["sweet"]
    used = get(hub, "ValueSet/tastes/$expand")["expansion"]["parameter"]
    assert {"name": "version", "valueUri": f"{TASTE}|1.0"} in used


def test_displays_come_in_the_language_asked_for_and_designations_on_request(hub: RunningHub) -> None:
    found = get(hub, "ValueSet/tastes/$expand", displayLanguage="fr-FR", includeDesignations="true")["expansion"]
    shown = {entry["code"]: entry["display"] for entry in found["contains"]}
    assert (shown["sweet"], shown["sour"]) == ("Sucré", "Sour")
    sweet = next(entry for entry in found["contains"] if entry["code"] == "sweet")
    assert sweet["designation"] == [{"language": "fr", "value": "Sucré"}]
    german = get(hub, "ValueSet/tastes/$expand", designation="urn:ietf:bcp:47|de")["expansion"]["contains"]
    assert all("designation" not in entry for entry in german)


def test_r4s_common_codes_have_french_displays(hub: RunningHub) -> None:
    found = get(hub, "ValueSet/administrative-gender/$expand", displayLanguage="fr")["expansion"]["contains"]
    assert [entry["display"] for entry in found] == ["Masculin", "Féminin", "Autre", "Inconnu"]
    assert listed(get(hub, "ValueSet/administrative-gender/$expand", filter="feminin")) == ["female"]


def test_an_expansion_is_nested_where_nesting_is_asked_for(hub: RunningHub) -> None:
    found = get(hub, "ValueSet/tastes/$expand", excludeNested="false")
    assert listed(found) == ["basic", "bitter"]
    basic = found["expansion"]["contains"][0]
    assert [entry["code"] for entry in basic["contains"]] == ["sweet", "sour"]
    assert [entry["code"] for entry in basic["contains"][1]["contains"]] == ["acid"]
    assert listed(get(hub, "ValueSet/tastes/$expand", excludeNested="true")) == [
        "basic",
        "sweet",
        "sour",
        "acid",
        "bitter",
    ]


def test_a_forced_version_is_used_and_shown(hub: RunningHub) -> None:
    given = {"resourceType": "ValueSet", "status": "draft", "compose": {"include": [include(url=TASTE, version="0.1")]}}
    assert hub.request("POST", "/fhir/ValueSet/$expand", json=given).status_code == 422
    forced = hub.request("POST", f"/fhir/ValueSet/$expand?force-system-version={TASTE}|1.0", json=given).json()
    assert forced["expansion"]["contains"][0]["version"] == "1.0"


def test_a_value_set_in_the_body_expands_without_being_stored(hub: RunningHub) -> None:
    given = {
        "resourceType": "ValueSet",
        "status": "draft",
        "compose": {"include": [include(url=TASTE, rules=[("concept", "is-a", "sour")])]},
    }
    direct = hub.request("POST", "/fhir/ValueSet/$expand?includeDefinition=true", json=given)
    assert listed(direct.json()) == ["sour", "acid"]
    assert direct.json()["compose"] == given["compose"]
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "valueSet", "resource": given}, {"name": "count", "valueInteger": 1}],
    }
    assert listed(hub.request("POST", "/fhir/ValueSet/$expand", json=body).json()) == ["sour"]


def test_an_element_of_r4_names_its_value_set(hub: RunningHub) -> None:
    found = get(hub, "ValueSet/$expand", context="http://hl7.org/fhir/StructureDefinition/Patient#Patient.gender")
    assert found["url"] == GENDERS


def test_a_fragment_expands_as_far_as_it_is_known_and_says_so(hub: RunningHub) -> None:
    found = get(hub, "ValueSet/$expand", url="http://hl7.org/fhir/ValueSet/service-type")["expansion"]
    assert found["total"] > 500
    assert found["extension"][0] == {
        "url": "http://hl7.org/fhir/StructureDefinition/valueset-unclosed",
        "valueBoolean": True,
    }


EXPAND_REFUSED = [
    pytest.param("ValueSet/$expand", {"url": "http://none"}, (404, "not-found"), id="a value set that nobody loaded"),
    pytest.param("ValueSet/none/$expand", {}, (404, "not-found"), id="an id that nobody stored"),
    pytest.param("ValueSet/$expand", {}, (400, "required"), id="no value set at all"),
    pytest.param("ValueSet/condition-code/$expand", {}, (422, "not-found"), id="a code system that is not loaded"),
    pytest.param("ValueSet/tastes/$expand", {"count": "-1"}, (400, "value"), id="a count below zero"),
    pytest.param("ValueSet/tastes/$expand", {"activeOnly": "maybe"}, (400, "value"), id="a flag that is neither"),
    pytest.param(
        "ValueSet/tastes/$expand", {"date": "2020"}, (400, "not-supported"), id="a parameter that is not served"
    ),
    pytest.param("ValueSet/$expand", {"context": "Patient.nothing"}, (400, "value"), id="an element that R4 lacks"),
]


@pytest.mark.parametrize(("path", "asked", "expected"), EXPAND_REFUSED)
def test_an_expansion_is_refused_for(
    hub: RunningHub, path: str, asked: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refused(hub, path, **asked) == expected


def test_an_expansion_that_is_too_large_is_refused_and_pages_are_offered(hub: RunningHub) -> None:
    many = [{"code": f"{n}"} for n in range(10_001)]
    given = {
        "resourceType": "ValueSet",
        "status": "active",
        "compose": {"include": [{"system": "http://many", "concept": many}]},
    }
    answer = hub.request("POST", "/fhir/ValueSet/$expand", json=given)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "too-costly")
    assert "count and offset" in answer.json()["issue"][0]["diagnostics"]
    page = hub.request("POST", "/fhir/ValueSet/$expand?count=10", json=given).json()
    assert (page["expansion"]["total"], len(page["expansion"]["contains"])) == (10_001, 10)


# --- $lookup, $subsumes ------------------------------------------------------
def test_lookup_tells_display_designations_properties_and_hierarchy(hub: RunningHub) -> None:
    found = get(hub, "CodeSystem/$lookup", system=TASTE, code="sour")
    assert values(found) == {"name": "Tastes", "version": "1.0", "display": "Sour"}
    told = {(p["part"][0]["valueCode"], str(p["part"][1])) for p in found["parameter"] if p["name"] == "property"}
    assert ("parent", str({"name": "value", "valueCode": "basic"})) in told
    assert ("child", str({"name": "value", "valueCode": "acid"})) in told
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "coding", "valueCoding": {"system": TASTE, "code": "sour"}}],
    }
    assert hub.request("POST", "/fhir/CodeSystem/$lookup", json=body).json() == found


def test_lookup_gives_the_properties_asked_for_in_the_language_asked_for(hub: RunningHub) -> None:
    found = get(hub, "CodeSystem/$lookup", system=TASTE, code="sweet", displayLanguage="fr", property="parent")
    assert values(found)["display"] == "Sucré"
    assert [p["part"][0]["valueCode"] for p in found["parameter"] if p["name"] == "property"] == ["parent"]
    assert not [p for p in found["parameter"] if p["name"] == "designation"]


LOOKUP_REFUSED = [
    pytest.param({"system": TASTE, "code": "none"}, (404, "not-found"), id="a code that is not there"),
    pytest.param({"system": "http://none", "code": "x"}, (404, "not-found"), id="a code system that nobody loaded"),
    pytest.param({"system": "http://loinc.org", "code": "0-0"}, (404, "not-found"), id="a code beyond what is loaded"),
    pytest.param({"code": "sweet"}, (400, "required"), id="no system"),
]


@pytest.mark.parametrize(("asked", "expected"), LOOKUP_REFUSED)
def test_lookup_is_refused_for(hub: RunningHub, asked: dict[str, Any], expected: tuple[int, str]) -> None:
    assert refused(hub, "CodeSystem/$lookup", **asked) == expected


SUBSUMPTIONS = [
    pytest.param("basic", "acid", "subsumes", id="above"),
    pytest.param("acid", "basic", "subsumed-by", id="below"),
    pytest.param("acid", "acid", "equivalent", id="the same"),
    pytest.param("acid", "sweet", "not-subsumed", id="beside"),
]


@pytest.mark.parametrize(("one", "other", "expected"), SUBSUMPTIONS)
def test_subsumption_of_one_that_stands(hub: RunningHub, one: str, other: str, expected: str) -> None:
    assert values(get(hub, "CodeSystem/$subsumes", system=TASTE, codeA=one, codeB=other)) == {"outcome": expected}
    assert values(get(hub, "CodeSystem/taste/$subsumes", codeA=one, codeB=other)) == {"outcome": expected}
    codings = [
        {"name": f"coding{letter}", "valueCoding": {"system": TASTE, "code": code}}
        for letter, code in (("A", one), ("B", other))
    ]
    body = {"resourceType": "Parameters", "parameter": codings}
    assert values(hub.request("POST", "/fhir/CodeSystem/$subsumes", json=body).json()) == {"outcome": expected}


def test_subsumption_is_refused_for_unknown_codes_and_undecided_for_fragments(hub: RunningHub) -> None:
    assert refused(hub, "CodeSystem/$subsumes", system=TASTE, codeA="x", codeB="acid") == (404, "not-found")
    loinc = {"system": "http://loinc.org", "codeA": "8867-4", "codeB": "8310-5"}
    assert refused(hub, "CodeSystem/$subsumes", **loinc) == (422, "not-found")
    assert refused(hub, "CodeSystem/$subsumes", codeA="x", codeB="y") == (400, "required")


# --- $validate-code ----------------------------------------------------------
VALID = [
    pytest.param("CodeSystem/$validate-code", {"url": TASTE, "code": "sweet"}, True, id="a code of a system"),
    pytest.param("CodeSystem/$validate-code", {"url": TASTE, "code": "none"}, False, id="no code of a system"),
    pytest.param("CodeSystem/taste/$validate-code", {"code": "sweet"}, True, id="on a stored system"),
    pytest.param("CodeSystem/$validate-code", {"url": TASTE, "code": "sweet", "display": "SUCRE"}, True, id="a display in another language, case and accents aside"),
    pytest.param("CodeSystem/$validate-code", {"url": TASTE, "code": "sweet", "display": "Sour"}, False, id="the display of another code"),
    pytest.param("CodeSystem/$validate-code", {"url": TASTE, "code": "basic"}, True, id="a grouping code"),
    pytest.param("CodeSystem/$validate-code", {"url": TASTE, "code": "basic", "abstract": "false"}, False, id="a grouping code where none may be"),
    pytest.param("CodeSystem/$validate-code", {"url": "urn:ietf:bcp:47", "code": "fr-CA"}, True, id="a language"),
    pytest.param("CodeSystem/$validate-code", {"url": "http://loinc.org", "code": "8867-4"}, True, id="an external code that R4 names"),
    pytest.param("ValueSet/$validate-code", {"url": GENDERS, "system": GENDER, "code": "male"}, True, id="a code of a value set"),
    pytest.param("ValueSet/$validate-code", {"url": GENDERS, "system": TASTE, "code": "male"}, False, id="a code of another system"),
    pytest.param("ValueSet/tastes/$validate-code", {"code": "sour"}, True, id="on a stored value set, its system implied"),
    pytest.param("ValueSet/$validate-code", {"url": GENDERS, "code": "male"}, True, id="a code whose system the value set implies"),
    pytest.param("ValueSet/administrative-gender/$validate-code", {"code": "x"}, False, id="on one of R4"),
    pytest.param("ValueSet/$validate-code", {"context": "Patient.gender", "code": "male"}, True, id="an element implies set and system"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "asked", "expected"), VALID)
def test_validation_says(hub: RunningHub, path: str, asked: dict[str, Any], expected: bool) -> None:
    found = values(get(hub, path, **asked))
    assert found["result"] is expected
    assert expected or found["message"]


def test_a_wrong_display_is_answered_with_a_right_one(hub: RunningHub) -> None:
    found = values(
        get(hub, "CodeSystem/$validate-code", url=TASTE, code="sweet", display="Salty", displayLanguage="fr")
    )
    assert (found["result"], found["display"]) == (False, "Sucré")


def test_a_concept_is_valid_when_one_of_its_codings_is(hub: RunningHub) -> None:
    codings = [{"system": "http://none", "code": "x"}, {"system": TASTE, "code": "sour", "display": "Sour"}]
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "codeableConcept", "valueCodeableConcept": {"coding": codings}}],
    }
    answer = hub.request("POST", "/fhir/ValueSet/tastes/$validate-code", json=body)
    assert values(answer.json()) == {"result": True, "display": "Sour"}


VALIDATION_REFUSED = [
    pytest.param("CodeSystem/$validate-code", {"url": "http://loinc.org", "code": "0-0"}, (422, "not-found"), id="a code that cannot be decided"),
    pytest.param("CodeSystem/$validate-code", {"url": "http://none", "code": "x"}, (404, "not-found"), id="a system that nobody loaded"),
    pytest.param("ValueSet/$validate-code", {"url": "http://none", "system": "x", "code": "x"}, (404, "not-found"), id="a value set that nobody loaded"),
    pytest.param("ValueSet/$validate-code", {"url": GENDERS}, (400, "required"), id="no code"),
    pytest.param("ValueSet/condition-code/$validate-code", {"system": "http://snomed.info/sct", "code": "1"}, (422, "not-found"), id="a set over what is not loaded"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "asked", "expected"), VALIDATION_REFUSED)
def test_validation_is_refused_for(
    hub: RunningHub, path: str, asked: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refused(hub, path, **asked) == expected


def test_a_code_without_its_system_is_refused_where_the_value_set_has_it_in_several(hub: RunningHub) -> None:
    given = value_set(include("x", url="http://one"), include("x", url="http://two"))
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "valueSet", "resource": given}, {"name": "code", "valueCode": "x"}],
    }
    answer = hub.request("POST", "/fhir/ValueSet/$validate-code", json=body)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "required")


# --- $translate --------------------------------------------------------------
FOOD = "http://example.org/food"
TRANSLATIONS = [
    pytest.param({"code": "sweet", "targetsystem": FOOD}, True, [("narrower", FOOD, "cake"), ("equivalent", FOOD, "sugar")], id="every target is told"),
    pytest.param({"code": "bitter", "targetsystem": FOOD}, False, [("unmatched", "", "")], id="unmatched is no translation"),
    pytest.param({"code": "acid", "targetsystem": FOOD}, True, [("relatedto", FOOD, "other")], id="unmapped codes get the fixed one"),
    pytest.param({"code": "acid", "targetsystem": "http://example.org/same"}, True, [("equal", "http://example.org/same", "acid")], id="unmapped codes stay as they are"),
    pytest.param({"code": "sour", "targetsystem": "http://example.org/far"}, True, [("wider", "http://example.org/far", "lemon")], id="another map is asked"),
    pytest.param({"code": "acid", "targetsystem": "http://example.org/nowhere"}, False, [], id="no map leads there"),
    pytest.param({"code": "cake", "system": FOOD, "reverse": "true"}, True, [("wider", TASTE, "sweet")], id="backwards narrower is wider"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "result", "expected"), TRANSLATIONS)
@pytest.mark.parametrize("path", ["ConceptMap/$translate", "ConceptMap/tastes/$translate"])
def test_translation(
    hub: RunningHub, path: str, asked: dict[str, Any], result: bool, expected: list[tuple[str, str, str]]
) -> None:
    url = {} if "tastes" in path else {"url": f"{TASTE}/map"}
    found = get(hub, path, **({"system": TASTE} | url | asked))
    assert values(found)["result"] is result
    assert matches(found) == expected


def test_translation_without_a_map_asks_all_that_are_loaded(hub: RunningHub) -> None:
    found = get(
        hub,
        "ConceptMap/$translate",
        system=GENDER,
        code="male",
        targetsystem="http://terminology.hl7.org/CodeSystem/v2-0001",
    )
    assert matches(found) == [("equal", "http://terminology.hl7.org/CodeSystem/v2-0001", "M")]
    assert ("equivalent", FOOD, "sugar") in matches(get(hub, "ConceptMap/$translate", system=TASTE, code="sweet"))


def test_dependencies_and_products_of_a_translation(hub: RunningHub) -> None:
    def ask(meal: str) -> dict[str, Any]:
        coding = {"system": "http://example.org/meals", "code": meal}
        parts = [
            {"name": "element", "valueUri": "http://example.org/meal"},
            {"name": "concept", "valueCodeableConcept": {"coding": [coding]}},
        ]
        given = [
            {"name": "coding", "valueCoding": {"system": TASTE, "code": "sweet"}},
            {"name": "targetsystem", "valueUri": FOOD},
            {"name": "dependency", "part": parts},
        ]
        made: dict[str, Any] = hub.request(
            "POST", "/fhir/ConceptMap/tastes/$translate", json={"resourceType": "Parameters", "parameter": given}
        ).json()
        return made

    assert [code for _, _, code in matches(ask("dessert"))] == ["cake", "sugar"]
    assert [code for _, _, code in matches(ask("starter"))] == ["sugar"]
    product = next(
        part
        for match in ask("starter")["parameter"]
        if match["name"] == "match"
        for part in match["part"]
        if part["name"] == "product"
    )
    assert product["part"][0] == {"name": "element", "valueUri": "http://example.org/colour"}


def test_translation_is_refused_without_a_code_and_for_an_unknown_map(hub: RunningHub) -> None:
    assert refused(hub, "ConceptMap/$translate", code="x") == (400, "required")
    assert refused(hub, "ConceptMap/$translate", url="http://none", system=TASTE, code="x") == (404, "not-found")


# --- all of them -------------------------------------------------------------
def test_terminology_capabilities_are_valid_and_open(hub: RunningHub) -> None:
    answer = hub.request("GET", "/fhir/metadata?mode=terminology", token=None)
    assert answer.status_code == 200
    assert answer.json()["resourceType"] == "TerminologyCapabilities"
    assert ACT in {given["uri"] for given in answer.json()["codeSystem"]}
    checked = hub.request("POST", "/fhir/TerminologyCapabilities/$validate", json=answer.json())
    assert [i for i in checked.json()["issue"] if i["severity"] in ("error", "fatal")] == []


def test_what_the_operations_answer_is_valid_r4(hub: RunningHub) -> None:
    answers = [
        get(hub, "ValueSet/tastes/$expand", includeDesignations="true", excludeNested="false"),
        get(hub, "ValueSet/example-hierarchical/$expand"),
        get(hub, "CodeSystem/$lookup", system=ACT, code="OPTIN"),
        get(hub, "ConceptMap/tastes/$translate", system=TASTE, code="sweet"),
        get(hub, "ValueSet/tastes/$validate-code", code="sour"),
    ]
    for answer in answers:
        checked = hub.request("POST", f"/fhir/{answer['resourceType']}/$validate", json=answer).json()
        assert [i for i in checked["issue"] if i["severity"] in ("error", "fatal")] == []


def test_the_scope_must_reach_the_type(hub: RunningHub) -> None:
    narrow = hub.token(scope="system/Observation.rs")
    for path in ("ValueSet/tastes/$expand", f"CodeSystem/$lookup?system={TASTE}&code=sour", "ConceptMap/$translate"):
        assert hub.request("GET", f"/fhir/{path}", token=narrow).status_code == 403
        assert hub.request("GET", f"/fhir/{path}", token=None).status_code == 401


def test_answers_come_in_xml_too(hub: RunningHub) -> None:
    answer = hub.request("GET", "/fhir/ValueSet/tastes/$expand?_format=xml")
    assert answer.headers["content-type"].startswith("application/fhir+xml")
    assert '<code value="sweet"' in answer.text


def test_a_changed_code_system_is_answered_at_once(hub: RunningHub) -> None:
    changing = {**TASTES, "id": "changing", "url": f"{TASTE}/changing"}
    hub.request("PUT", "/fhir/CodeSystem/changing", json=changing)
    asked = {"url": changing["url"], "code": "umami"}
    assert values(get(hub, "CodeSystem/$validate-code", **asked))["result"] is False
    more = {**changing, "concept": [*changing["concept"], {"code": "umami"}]}
    hub.request("PUT", "/fhir/CodeSystem/changing", json=more)
    assert values(get(hub, "CodeSystem/$validate-code", **asked))["result"] is True
    hub.request("DELETE", "/fhir/CodeSystem/changing")
    assert refused(hub, "CodeSystem/$validate-code", **asked) == (404, "not-found")
