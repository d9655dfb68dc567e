"""Every claim of the CapabilityStatement, exercised: what it says works, and what works is said."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from fhir_server import gate
from fhir_server.definitions import resource_types
from fhir_server.validation import validate
from tests.conformance.examples import bodies
from tests.running import RunningHub

pytestmark = pytest.mark.every_store

VALUES = {
    "date": "ge2020", "number": "1", "quantity": "5", "reference": "Patient/x", "token": "a", "string": "a",
    "uri": "http://x.example", "special": "47|2|5|km",
}  # fmt: skip
NAMED = {"_filter": "_id eq a", "_list": "a"}  # parameters that take a value of their own form
PATCH = b'{"language": "fr"}'
DEFINITION = {"url": "http://x.example/d", "name": "Example", "status": "draft", "description": "x", "code": "x"}
LEAST: dict[str, dict[str, Any]] = {  # of types without a valid example among R4's
    "Bundle": {"type": "collection"},
    "CodeSystem": {"status": "draft", "content": "complete"},
    "ConceptMap": {"status": "draft"},
    "EventDefinition": {"status": "draft", "trigger": [{"type": "named-event", "name": "x"}]},
    "OperationDefinition": {
        **{name: DEFINITION[name] for name in ("name", "status", "code")},
        "kind": "operation", "system": True, "type": False, "instance": False,
    },
    "SearchParameter": {**DEFINITION, "status": "draft", "base": ["Patient"], "type": "string", "expression": "Patient.language"},
    "StructureDefinition": {
        **{name: DEFINITION[name] for name in ("url", "name", "status")},
        "kind": "resource", "abstract": False, "type": "Patient",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient", "derivation": "constraint",
        "differential": {"element": [{"id": "Patient", "path": "Patient"}]},
    },
    "ValueSet": {"status": "draft"},
}  # fmt: skip


@pytest.fixture(scope="module")
def statement(hub: RunningHub) -> dict[str, Any]:
    made: dict[str, Any] = hub.request("GET", "/fhir/metadata", token=None).json()
    return made


@cache
def smallest() -> dict[str, dict[str, Any]]:
    """Return the shortest valid example of each type, without an id."""
    found: dict[str, dict[str, Any]] = {}
    for body in sorted(bodies().values(), key=len):
        resource = gate.load(body)
        if resource["resourceType"] not in found and not validate(resource):
            kept = {k: v for k, v in resource.items() if k not in ("id", "meta", "text")}
            if kept["resourceType"] == "Subscription":
                kept["status"] = "off"  # the hub makes versions of one that it activates
            found[resource["resourceType"]] = kept
    return {type: found.get(type, {"resourceType": type, **LEAST.get(type, {})}) for type in resource_types()}


def claims(statement: dict[str, Any], type: str) -> dict[str, Any]:
    return next(one for one in statement["rest"][0]["resource"] if one["type"] == type)


def test_it_is_valid_r4_and_names_every_type(statement: dict[str, Any]) -> None:
    assert validate(gate.load(gate.write(statement))) == []
    assert {one["type"] for one in statement["rest"][0]["resource"]} == resource_types()


@pytest.mark.parametrize("type", sorted(resource_types()))
def test_the_interactions_and_conditions_of_each_type(hub: RunningHub, statement: dict[str, Any], type: str) -> None:
    claimed = claims(statement, type)
    tried = {code: answer for code, answer in _interactions(hub, type)}
    assert tried.keys() == {one["code"] for one in claimed["interaction"]}
    assert set(tried.values()) <= {200, 201, 204}, tried
    assert (claimed["versioning"], claimed["readHistory"], claimed["updateCreate"]) == ("versioned-update", True, True)
    assert (claimed["conditionalCreate"], claimed["conditionalUpdate"]) == (True, True)
    assert (claimed["conditionalRead"], claimed["conditionalDelete"]) == ("full-support", "single")


def _interactions(hub: RunningHub, type: str) -> Iterator[tuple[str, int]]:
    """Try every interaction and condition with one resource; yield the code of each and the status."""
    resource = smallest()[type]
    if type == "Subscription":
        resource = {**resource, "status": "off"}  # the hub changes one that is requested by itself
    content = gate.write(resource)
    made = hub.request("POST", f"/fhir/{type}", content=content)
    yield "create", made.status_code
    assert made.status_code == 201, made.text
    id = made.json()["id"]
    path, by_id = f"/fhir/{type}/{id}", f"/fhir/{type}?_id={id}"
    yield "read", hub.request("GET", path).status_code
    assert hub.request("GET", path, If_None_Match=made.headers["etag"]).status_code == 304
    assert hub.request("POST", f"/fhir/{type}", content=content, If_None_Exist=f"_id={id}").status_code == 200
    patched = hub.request("PATCH", path, content=PATCH, Content_Type="application/merge-patch+json")
    yield "patch", patched.status_code
    assert patched.headers["etag"] == 'W/"2"', patched.text
    body = gate.load(made.content)
    assert hub.request("PUT", path, content=gate.write(body), If_Match='W/"1"').status_code == 412
    yield "update", hub.request("PUT", path, content=gate.write(body), If_Match='W/"2"').status_code
    assert hub.request("PUT", by_id, content=gate.write({**body, "language": "en"})).status_code == 200
    yield "vread", hub.request("GET", f"{path}/_history/1").status_code
    found = hub.request("GET", by_id)
    yield "search-type", found.status_code
    assert found.json()["total"] == 1
    history = hub.request("GET", f"{path}/_history")
    yield "history-instance", history.status_code
    assert history.json()["total"] == 4
    yield "history-type", hub.request("GET", f"/fhir/{type}/_history?_count=1").status_code
    assert hub.request("DELETE", by_id).status_code == 204
    yield "delete", hub.request("DELETE", path).status_code


@pytest.mark.parametrize("type", sorted(resource_types()))
def test_the_search_parameters_and_includes_of_each_type(hub: RunningHub, statement: dict[str, Any], type: str) -> None:
    claimed = claims(statement, type)
    for parameter in claimed["searchParam"]:
        name, kind = parameter["name"], parameter["type"]
        query = f"{name}=a$1" if kind == "composite" else f"{name}={NAMED.get(name, VALUES[kind])}"
        answer = hub.request("GET", f"/fhir/{type}?{query}&_count=1")
        if kind == "composite" and answer.status_code == 400:
            assert answer.json()["issue"][0]["code"] == "value", (name, answer.text)  # its parts take other values
        else:
            assert answer.status_code == 200, (name, answer.text)
        if kind != "special":
            assert parameter["definition"].startswith(("http://hl7.org/fhir/SearchParameter/", "urn:predmp:")), name
    included = [f"_include={value}" for value in claimed.get("searchInclude", ())]
    included += [f"_revinclude={value}" for value in claimed.get("searchRevInclude", ())]
    for start in range(0, len(included), 20):
        answer = hub.request("GET", f"/fhir/{type}?_count=1&{'&'.join(included[start : start + 20])}")
        assert answer.status_code == 200, answer.text


def test_the_system_level(hub: RunningHub, statement: dict[str, Any]) -> None:
    rest = statement["rest"][0]
    codes = {one["code"] for one in rest["interaction"]}
    assert codes == {"transaction", "batch", "search-system", "history-system"}
    for kind in ("transaction", "batch"):
        assert hub.request("POST", "/fhir", json={"resourceType": "Bundle", "type": kind}).status_code == 200
    assert hub.request("GET", "/fhir?_type=Patient&_count=1").status_code == 200
    assert hub.request("GET", "/fhir/_history?_count=1").status_code == 200
    for parameter in rest["searchParam"]:
        value = NAMED.get(parameter["name"], VALUES[parameter["type"]])
        answer = hub.request("GET", f"/fhir?_type=Patient,Basic&{parameter['name']}={value}&_count=1")
        assert answer.status_code == 200, (parameter, answer.text)


def test_the_supported_profiles_are_known(hub: RunningHub, statement: dict[str, Any]) -> None:
    named = [(one["type"], url) for one in statement["rest"][0]["resource"] for url in one.get("supportedProfile", ())]
    assert len(named) > 5
    for type, url in named:
        body = gate.write({**smallest()[type], "meta": {"profile": [url]}})
        told = hub.request("POST", f"/fhir/{type}/$validate", content=body).json()["issue"]
        assert not [issue for issue in told if issue["code"] == "not-found"], (url, told)


def test_the_formats_and_patch_formats(hub: RunningHub, statement: dict[str, Any]) -> None:
    id = hub.create({"resourceType": "Patient"})["id"]
    for format in statement["format"]:
        assert hub.request("GET", f"/fhir/Patient/{id}?_format={format.replace('+', '%2B')}").status_code == 200
    for kind in statement["patchFormat"]:
        refused = hub.request("PATCH", f"/fhir/Patient/{id}", content=b"{", Content_Type=kind)
        assert refused.status_code == 400, kind  # read as what it says, and found broken; not 415
    assert hub.request("PATCH", f"/fhir/Patient/{id}", content=b"{", Content_Type="text/plain").status_code == 415


def test_each_operation_is_there_at_each_of_its_places(hub: RunningHub, statement: dict[str, Any]) -> None:
    """None is a path of nothing: what comes back is an answer, or a refusal of what was not given."""
    rest = statement["rest"][0]
    places = [("", one["name"]) for one in rest.get("operation", ())]
    places += [(f"{r['type']}/", one["name"]) for r in rest["resource"] for one in r.get("operation", ())]
    assert len(places) > 10
    for place, name in dict.fromkeys(places):
        paths = [f"/fhir/{place}${name}"] + ([f"/fhir/{place}never-there/${name}"] if place else [])
        answers = [hub.request(method, path, json=None) for path in paths for method in ("GET", "POST")]
        served = [a for a in answers if "There is no such operation here." not in a.text]
        assert served, (place, name)
        assert all(answer.status_code < 500 for answer in served), (place, name, [a.status_code for a in served])


@pytest.mark.parametrize(
    ("name", "path", "strange"),
    [
        pytest.param("diff", "Patient/nobody/$diff", {}, id="$diff"),
        pytest.param("erase", "Patient/nobody/$erase", {}, id="$erase"),
        pytest.param("reindex", "$reindex", {"type": "Nonsense"}, id="$reindex"),
        pytest.param("unmerge", "Patient/$unmerge", {}, id="$unmerge"),
        pytest.param("validate-pre-dmp", "Patient/nobody/$validate-pre-dmp", {}, id="$validate-pre-dmp"),
    ],
)
def test_an_operation_takes_what_its_definition_says_and_nothing_else(
    hub: RunningHub, name: str, path: str, strange: dict[str, str]
) -> None:
    definition = hub.request("GET", f"/fhir/OperationDefinition/{name}").json()
    taken = [parameter["name"] for parameter in definition["parameter"] if parameter["use"] == "in"]
    assert taken
    for each in taken:
        answer = hub.request("POST", f"/fhir/{path}?{each}={strange.get(each, 'x')}")
        assert answer.status_code in (400, 403, 404)
        assert "has no" not in answer.text, (each, answer.text)
    refused = hub.request("POST", f"/fhir/{path}?bogus=x")
    assert refused.status_code == 400
    assert "no" in refused.json()["issue"][0]["diagnostics"]


def test_what_the_hub_defines_itself_can_be_read(hub: RunningHub, statement: dict[str, Any]) -> None:
    rest = statement["rest"][0]
    base = statement["implementation"]["url"]
    named = [
        (one["definition"], one["name"]) for part in (rest, *rest["resource"]) for one in part.get("operation", ())
    ]
    own = {url.removeprefix(f"{base}/"): name for url, name in named if url.startswith(base)}
    profiles = [url for one in rest["resource"] for url in one.get("supportedProfile", ()) if url.startswith("urn:")]
    own |= {f"StructureDefinition/{url.rpartition(':')[2]}": url for url in profiles}
    assert {"OperationDefinition/erase", "OperationDefinition/unmerge", "StructureDefinition/fr-patient"} <= set(own)
    for path, name in own.items():
        answer = hub.request("GET", f"/fhir/{path}")
        assert answer.status_code == 200, path
        assert name in (answer.json().get("code"), answer.json()["url"])
        told = hub.request("POST", "/fhir/$validate", content=answer.content).json()["issue"]
        assert not [issue for issue in told if issue["severity"] == "error"], (path, told)
        if path.startswith("OperationDefinition/"):
            assert [p for p in answer.json()["parameter"] if p["use"] == "in" or p["name"] in ("return", "resources")]
    assert hub.request("GET", "/fhir/OperationDefinition/everything").status_code == 404, "HL7's are HL7's"
    assert hub.request("GET", "/fhir/OperationDefinition/erase", token=hub.token("system/Patient.r")).status_code == 403
