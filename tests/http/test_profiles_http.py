"""`$validate` and profiles over real HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.profiles import element, extension, profile, sliced
from tests.running import RunningHub
from triage_hooks.codes import TASK

pytestmark = pytest.mark.every_store

FR = "urn:predmp:StructureDefinition:"
XML = "application/fhir+xml"
Found = tuple[int, list[tuple[str, str, str]]]


def send(hub: RunningHub, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> Found:
    """Return the status and (severity, code, expression) of each issue."""
    content, sent = (body, None) if isinstance(body, bytes) else (None, body)
    answer = hub.request(method, f"/fhir/{path}", token=token, content=content, json=sent, **headers)
    issues = answer.json().get("issue", []) if answer.content else []
    return answer.status_code, [(i["severity"], i["code"], i.get("expression", [""])[0]) for i in issues]


FINE = (200, [("information", "informational", "")])
PATIENT = {"resourceType": "Patient", "gender": "female", "text": {"status": "empty", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}}  # fmt: skip


def store_profile(hub: RunningHub, *elements: dict[str, Any], type: str = "Patient", **facts: Any) -> str:
    """Store a profile of its own name; return its url."""
    made = profile(type, *elements, name=f"p{uuid.uuid4().hex}", **facts)
    assert hub.request("POST", "/fhir/StructureDefinition", json=made).status_code == 201
    return str(made["url"])


@pytest.mark.parametrize("path", ["$validate", "Patient/$validate", "Patient/none/$validate"])
def test_a_valid_resource_is_told_so_on_every_level(hub: RunningHub, path: str) -> None:
    assert send(hub, "POST", path, PATIENT) == FINE


def test_a_large_resource_is_told_too(hub: RunningHub) -> None:
    many = PATIENT | {"name": [{"family": "Durand", "given": ["Jeanne"]}] * 3_000}
    assert send(hub, "POST", "Patient/$validate", many) == FINE
    assert send(hub, "POST", "Patient/$validate", many | {"gender": "x"})[1] == [
        ("error", "code-invalid", "Patient.gender")
    ]


def test_nothing_is_stored(hub: RunningHub) -> None:
    mark = uuid.uuid4().hex
    assert send(hub, "POST", "Patient/$validate", PATIENT | {"identifier": [{"value": mark}]}) == FINE
    assert hub.search(f"Patient?identifier={mark}")["total"] == 0


@pytest.mark.parametrize(
    ("body", "found"),
    [
        pytest.param(PATIENT | {"gender": "x"}, [("error", "code-invalid", "Patient.gender")], id="a code that is none"),
        pytest.param({"resourceType": "Patient"}, [("warning", "invariant", "Patient")], id="best practice, as a warning"),
        pytest.param(b"{", [("error", "structure", "")], id="no JSON"),
        pytest.param(b"[]", [("error", "structure", "")], id="no object"),
        pytest.param({"resourceType": "Group", "type": "person", "actual": True}, [("error", "invalid", "Patient"), ("warning", "invariant", "Group")], id="another type than the url's"),
        pytest.param(PATIENT | {"managingOrganization": {"reference": "Patient/1"}}, [("error", "value", "Patient.managingOrganization")], id="a reference to a wrong type"),
        pytest.param(PATIENT | {"meta": {"profile": ["https://nobody.example/p"]}}, [("warning", "not-found", "Patient.meta.profile[0]")], id="a profile that is not known"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_an_outcome_with_status_200(hub: RunningHub, body: Any, found: list[Any]) -> None:
    assert send(hub, "POST", "Patient/$validate", body, Content_Type="application/fhir+json") == (200, found)


def test_parameters_carry_resource_mode_and_profile(hub: RunningHub) -> None:
    url = store_profile(hub, element("Patient.birthDate", min=1))
    envelope = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "resource", "resource": PATIENT},
            {"name": "mode", "valueCode": "create"},
            {"name": "profile", "valueUri": url},
        ],
    }
    assert send(hub, "POST", "Patient/$validate", envelope) == (200, [("error", "required", "Patient.birthDate")])
    assert send(hub, "POST", f"Patient/$validate?profile={url}&mode=create", PATIENT)[1][0][1] == "required"
    assert send(hub, "POST", "Parameters/$validate", envelope)[1][-1][0] != "error", "there it is the resource itself"


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        pytest.param("Patient/$validate?strict=true", [{"name": "resource", "resource": PATIENT}], id="in the query"),
        pytest.param("Patient/$validate", [{"name": "strict", "valueBoolean": True}], id="in the body"),
        pytest.param("Patient/$validate", [{"name": "resource", "valueString": "x"}], id="a resource that is none"),
        pytest.param("Patient/$validate", [{"name": "resource", "resource": PATIENT}] * 2, id="two resources"),
        pytest.param("Patient/$validate", [{"name": "mode", "valueCode": "create"}], id="no resource"),
        pytest.param("$validate", [{"name": "mode", "valueCode": "create"}], id="no resource on the system"),
    ],
)
def test_a_call_that_cannot_be_read_is_refused(hub: RunningHub, path: str, parameter: list[Any]) -> None:
    envelope = {"resourceType": "Parameters", "parameter": parameter}
    assert send(hub, "POST", path, envelope)[0] == 400


def test_parameters_on_the_system_are_an_envelope_only_with_a_resource_in_them(hub: RunningHub) -> None:
    held = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": PATIENT | {"gender": "x"}}]}
    assert send(hub, "POST", "$validate", held)[1] == [("error", "code-invalid", "Patient.gender")]
    other = {"resourceType": "Parameters", "parameter": [{"name": "a", "valueCode": " "}]}
    assert send(hub, "POST", "$validate", other)[1][0][2] == "Parameters.parameter[0].value"


def test_modes_look_at_what_is_planned(hub: RunningHub) -> None:
    made = hub.create(dict(PATIENT))
    path = f"Patient/{made['id']}/$validate"
    assert send(hub, "POST", f"{path}?mode=update", PATIENT | {"id": made["id"]}) == FINE
    assert send(hub, "POST", f"{path}?mode=update", PATIENT | {"id": "other"})[1] == [("error", "value", "Patient.id")]
    assert send(hub, "POST", "Patient/$validate?mode=update", PATIENT)[1] == [("error", "required", "Patient.id")]
    part = hub.search(f"Patient/{made['id']}?_elements=name,gender,text,identifier,birthDate")
    assert ("error", "invalid", "Patient.meta.tag") in send(hub, "POST", f"{path}?mode=update", part)[1]
    assert send(hub, "POST", f"{path}?mode=delete") == FINE
    assert send(hub, "POST", f"{path}?mode=delete", PATIENT | {"gender": "x"}) == FINE, "R4: the content is ignored"
    assert send(hub, "POST", "Patient/$validate?mode=delete", PATIENT)[0] == 400, "no instance is named"
    assert send(hub, "POST", "Patient/absent/$validate?mode=delete", PATIENT)[0] == 404
    assert send(hub, "GET", f"{path}?mode=profile&profile={FR}fr-patient") == FINE
    assert send(hub, "GET", path) == FINE
    assert send(hub, "POST", "Patient/absent/$validate?mode=delete")[0] == 404
    assert send(hub, "GET", "Patient/absent/$validate")[0] == 404
    assert send(hub, "POST", "Patient/$validate?mode=nonsense", PATIENT)[0] == 400
    assert send(hub, "POST", "Patient/$validate")[0] == 400


def test_what_r4_and_a_profile_both_find_is_told_once(hub: RunningHub) -> None:
    low = {"value": 1, "comparator": "<"}
    resource = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "text": PATIENT["text"]}
    simple = [{"code": "Quantity", "profile": ["http://hl7.org/fhir/StructureDefinition/SimpleQuantity"]}]
    url = store_profile(hub, element("Observation.referenceRange.low", type=simple), type="Observation")
    sent = resource | {"referenceRange": [{"low": low}]}
    found = send(hub, "POST", f"Observation/$validate?profile={url}", sent)[1]
    assert found.count(("error", "invariant", "Observation.referenceRange[0].low")) == 1


OPEN_ALERT = {"resourceType": "Task", "status": "requested", "intent": "order", "code": {"coding": [{"system": TASK, "code": "news2"}]}, "for": {"reference": "Patient/nobody"}}  # fmt: skip
SUBSCRIPTION = {"resourceType": "Subscription", "status": "requested", "reason": "x", "criteria": "Nothing?x=1", "channel": {"type": "rest-hook", "endpoint": "https://a.example"}, "text": PATIENT["text"]}  # fmt: skip
HEADLESS = SUBSCRIPTION | {"channel": {"type": "rest-hook", "endpoint": "https://a.example", "header": [None], "_header": [{"extension": [{"url": "https://a.example/x", "valueString": "x"}]}]}}  # fmt: skip
PARAMETER = {"resourceType": "SearchParameter", "url": "https://a.example/p", "name": "P", "status": "active", "description": "x", "code": "p", "base": ["Patient"], "type": "string", "expression": "Patient.((", "text": PATIENT["text"]}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "place"),
    [
        pytest.param(SUBSCRIPTION, "Subscription.criteria", id="a Subscription that cannot be served"),
        pytest.param(HEADLESS, "Subscription.channel.header", id="a header that is an extension alone"),
        pytest.param(PARAMETER, "SearchParameter.expression", id="a SearchParameter that cannot be evaluated"),
    ],
)
def test_what_the_hub_itself_would_refuse_is_told(hub: RunningHub, body: dict[str, Any], place: str) -> None:
    type = body["resourceType"]
    assert send(hub, "POST", f"{type}/$validate?mode=create", body) == (200, [("error", "invalid", place)])
    assert send(hub, "POST", type, body) == (422, [("error", "invalid", place)])
    assert send(hub, "POST", f"{type}/$validate", body) == FINE, "its content is R4's"


def test_an_alert_that_is_open_may_not_be_deleted(hub: RunningHub) -> None:
    alert = hub.create(dict(OPEN_ALERT))
    found = send(hub, "POST", f"Task/{alert['id']}/$validate?mode=delete")
    assert (found[0], [issue[:1] for issue in found[1]]) == (200, [("error",)])
    assert send(hub, "DELETE", f"Task/{alert['id']}")[0] == 409


def test_a_token_is_told_that_it_may_not_do_what_is_planned(hub: RunningHub) -> None:
    token = hub.token("system/Patient.rs")
    answer = send(hub, "POST", "Patient/$validate?mode=create", PATIENT, token=token)
    assert answer == (200, [("error", "forbidden", "")])


def test_xml_is_validated_too(hub: RunningHub) -> None:
    body = b'<Patient xmlns="http://hl7.org/fhir"><gender value="x"/></Patient>'
    answer = hub.request("POST", "/fhir/Patient/$validate", content=body, Content_Type=XML, Accept=XML)
    assert answer.status_code == 200
    assert b'<expression value="Patient.gender"/>' in answer.content


def test_a_declared_profile_is_checked_on_every_way_of_writing(hub: RunningHub) -> None:
    url = store_profile(hub, element("Patient.birthDate", min=1))
    declared = {"resourceType": "Patient", "meta": {"profile": [url]}}
    refused = (422, [("error", "required", "Patient.birthDate")])
    assert send(hub, "POST", "Patient", declared) == refused
    id = uuid.uuid4().hex
    assert send(hub, "PUT", f"Patient/{id}", declared | {"id": id}) == refused
    made = hub.create(declared | {"birthDate": "2000-01-01"})
    patch = [{"op": "remove", "path": "/birthDate"}]
    kind = "application/json-patch+json"
    assert send(hub, "PATCH", f"Patient/{made['id']}", patch, Content_Type=kind) == refused
    entries = [
        {"request": {"method": "POST", "url": "Patient"}, "resource": resource}
        for resource in ({"resourceType": "Patient"}, declared)
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert send(hub, "POST", "", bundle) == (422, [("error", "required", "Bundle.entry[1].resource.birthDate")])


def test_a_profile_counts_from_its_write_on_and_no_longer_after_its_end(own_hub: RunningHub) -> None:
    made = profile("Patient", element("Patient.birthDate", min=1), name="counted") | {"id": "counted"}
    declared = {"resourceType": "Patient", "meta": {"profile": [made["url"]]}}
    assert send(own_hub, "POST", "Patient", declared)[0] == 201
    entries = [
        {"request": {"method": "POST", "url": "Patient"}, "resource": declared},
        {"request": {"method": "PUT", "url": "StructureDefinition/counted"}, "resource": made},
    ]
    both = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert send(own_hub, "POST", "", both)[0] == 422, "in the same transaction too"
    assert send(own_hub, "POST", "Patient", declared)[0] == 201, "which was undone"
    assert send(own_hub, "PUT", "StructureDefinition/counted", made)[0] == 201
    assert send(own_hub, "POST", "Patient", declared)[0] == 422
    made["differential"]["element"][1] = element("Patient.gender", min=1)
    assert send(own_hub, "PUT", "StructureDefinition/counted", made)[0] == 200
    assert send(own_hub, "POST", "Patient", declared)[1] == [("error", "required", "Patient.gender")]
    assert send(own_hub, "DELETE", "StructureDefinition/counted")[0] == 204
    assert send(own_hub, "POST", "Patient", declared)[0] == 201


def test_slices_bindings_and_extensions_of_stored_definitions_are_checked(hub: RunningHub) -> None:
    mark = uuid.uuid4().hex
    values = {
        "resourceType": "ValueSet",
        "url": f"https://guide.example/{mark}",
        "status": "active",
        "compose": {"include": [{"system": "https://s.example", "concept": [{"code": "red"}]}]},
    }
    assert hub.request("POST", "/fhir/ValueSet", json=values).status_code == 201
    size = extension(f"size{mark}", element("Extension.value[x]", min=1, type=[{"code": "integer"}]))
    assert hub.request("POST", "/fhir/StructureDefinition", json=size).status_code == 201
    base = store_profile(
        hub,
        sliced("Patient.identifier", ("value", "system"), rules="closed"),
        element("Patient.identifier:a", min=1),
        element("Patient.identifier:a.system", fixedUri="urn:a"),
        element("Patient.maritalStatus", binding={"strength": "required", "valueSet": values["url"]}),
    )
    url = store_profile(
        hub, element("Patient.extension:size", type=[{"code": "Extension", "profile": [size["url"]]}], min=1), base=base
    )
    patient = PATIENT | {
        "meta": {"profile": [url]},
        "identifier": [{"system": "urn:a"}],
        "maritalStatus": {"coding": [{"system": "https://s.example", "code": "red"}]},
        "extension": [{"url": size["url"], "valueInteger": 1}],
    }
    advised = [("warning", "code-invalid", "Patient.maritalStatus")]  # R4 recommends a value set of its own there
    assert send(hub, "POST", "Patient/$validate", patient) == (200, advised)
    hub.create(patient)
    wrong = patient | {
        "identifier": [{"system": "urn:b"}],
        "maritalStatus": {"coding": [{"system": "https://s.example", "code": "blue"}]},
        "extension": [{"url": size["url"], "valueString": "1"}],
    }
    status, issues = send(hub, "POST", "Patient", wrong)
    assert (status, sorted(issues)) == (
        422,
        [
            ("error", "code-invalid", "Patient.maritalStatus"),
            ("error", "required", "Patient.identifier"),
            ("error", "structure", "Patient.extension[0].value"),
            ("error", "structure", "Patient.identifier[0]"),
        ],
    )


@pytest.fixture(scope="module")
def strict_hub() -> Iterator[RunningHub]:
    """A hub that refuses profiles it does not know, and demands one of encounters."""
    flags = ("--unknown-profiles", "refuse", "--require-profiles", f"Encounter={FR}fr-encounter")
    with RunningHub(*flags) as running:
        yield running


def test_an_unknown_profile_is_refused_where_the_setting_says_so(strict_hub: RunningHub) -> None:
    declared = {"resourceType": "Patient", "meta": {"profile": ["https://nobody.example/p"]}}
    assert send(strict_hub, "POST", "Patient", declared) == (422, [("error", "not-found", "Patient.meta.profile[0]")])
    assert send(strict_hub, "POST", "Patient", {"resourceType": "Patient"})[0] == 201


def test_a_type_must_conform_where_the_setting_says_so(strict_hub: RunningHub) -> None:
    encounter = {"resourceType": "Encounter", "status": "planned", "class": {"system": "urn:c", "code": "IMP"}}
    assert send(strict_hub, "POST", "Encounter", encounter) == (
        422,
        [("error", "required", "Encounter.identifier"), ("error", "required", "Encounter.period")],
    )
    identifier = {"type": {"text": "VN"}, "system": "urn:v", "value": "1"}
    assert send(
        strict_hub, "POST", "Encounter", encounter | {"identifier": [identifier], "period": {"start": "2026-01-01"}}
    )[0] == 201  # fmt: skip


@pytest.mark.parametrize("mode", ["", "?mode=create"])
def test_validate_says_what_the_settings_would_refuse(strict_hub: RunningHub, mode: str) -> None:
    encounter = PATIENT | {"resourceType": "Encounter", "status": "planned", "class": {"code": "IMP"}}
    encounter = {key: value for key, value in encounter.items() if key != "gender"}
    found = send(strict_hub, "POST", f"Encounter/$validate{mode}", encounter)[1]
    refused = send(strict_hub, "POST", "Encounter", encounter)
    assert refused[0] == 422
    assert [issue for issue in found if issue[0] == "error"] == refused[1]
    declared = PATIENT | {"meta": {"profile": ["https://nobody.example/p"]}}
    answer = send(strict_hub, "POST", f"Patient/$validate{mode}", declared)
    assert answer == (200, send(strict_hub, "POST", "Patient", declared)[1])


def test_the_mode_profile_asks_no_more_than_the_profile_that_is_named(strict_hub: RunningHub) -> None:
    encounter = {"resourceType": "Encounter", "status": "planned", "class": {"code": "IMP"}, "text": PATIENT["text"]}
    path = "Encounter/$validate?mode=profile&profile=http://hl7.org/fhir/StructureDefinition/Encounter"
    assert send(strict_hub, "POST", path, encounter) == FINE


@pytest.mark.parametrize("word", ["Encounter", "Nothing=urn:x:y", "Encounter=name"])
def test_a_requirement_that_cannot_be_read_stops_the_start(hub: RunningHub, word: str) -> None:
    done = hub.run("serve", "--store", "memory:", "--require-profiles", word)
    assert (done.returncode, "require_profiles reads" in done.stderr) == (2, True), done.stderr
