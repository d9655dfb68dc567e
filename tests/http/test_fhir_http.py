"""The FHIR interactions over real HTTP: status, headers, every issue."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from fhir_server.search.clauses import OF_EVERY_TYPE
from tests.running import RunningHub

pytestmark = pytest.mark.every_store

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


def patient(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "name": [{"family": "Exemple", "given": ["Zoé"]}],
        "birthDate": "1951-04-23",
        **more,
    }


def pulse(subject: str, value: Any = 70, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "8867-4"}]},
        "subject": {"reference": subject},
        "effectiveDateTime": "2026-11-20T08:00:00+01:00",
        "valueQuantity": {"value": value, "unit": "/min", "system": UCUM, "code": "/min"},
        **more,
    }


def issues(answer: Any) -> list[tuple[str, str]]:
    """Return (code, expression) of each issue."""
    return [(issue["code"], issue.get("expression", [""])[0]) for issue in answer.json()["issue"]]


def test_a_create_answers_where_the_version_is(hub: RunningHub) -> None:
    answer = hub.request("POST", "/fhir/Patient", json=patient())
    assert answer.status_code == 201
    assert re.fullmatch(
        rf"{hub.http.base_url}/fhir/Patient/[A-Za-z0-9.\-]{{1,64}}/_history/1", answer.headers["location"]
    )
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert answer.json()["meta"]["versionId"] == "1"


def test_the_server_gives_id_version_and_time_whatever_the_client_says(hub: RunningHub) -> None:
    made = hub.create(
        patient(id="mine", meta={"versionId": "99", "lastUpdated": "1999-01-01T00:00:00Z", "source": "urn:x"})
    )
    assert made["id"] != "mine"
    assert (made["meta"]["versionId"], made["meta"]["source"]) == ("1", "urn:x")
    assert made["meta"]["lastUpdated"] > "2020"


@pytest.mark.parametrize(
    ("prefer", "body"),
    [("return=minimal", ""), ("return=representation", "Patient"), ("return=OperationOutcome", "OperationOutcome")],
)
def test_prefer_says_what_a_write_returns(hub: RunningHub, prefer: str, body: str) -> None:
    answer = hub.request("POST", "/fhir/Patient", json=patient(), Prefer=prefer)
    assert answer.status_code == 201
    assert (answer.json()["resourceType"] if answer.content else "") == body


def test_an_update_makes_a_version_and_the_same_again_none(hub: RunningHub) -> None:
    made = hub.create(patient())
    path = f"/fhir/Patient/{made['id']}"
    changed = {**made, "gender": "female"}
    assert hub.request("PUT", path, json=changed).headers["etag"] == 'W/"2"'
    again = hub.request("PUT", path, json=changed)
    assert (again.status_code, again.headers["etag"]) == (200, 'W/"2"')
    assert hub.request("GET", f"{path}/_history/1").json() == made
    assert [e["resource"]["meta"]["versionId"] for e in hub.search(f"Patient/{made['id']}/_history")["entry"]] == [
        "2",
        "1",
    ]


def test_an_update_may_create_under_the_clients_id(hub: RunningHub) -> None:
    id = f"own-{uuid.uuid4().hex[:12]}"
    answer = hub.request("PUT", f"/fhir/Patient/{id}", json=patient(id=id))
    assert (answer.status_code, answer.json()["id"]) == (201, id)


@pytest.mark.parametrize(
    ("if_match", "status", "code"),
    [
        pytest.param('W/"1"', 200, "", id="the current version is updated"),
        pytest.param('W/"7"', 412, "conflict", id="another version is a conflict"),
        pytest.param("abc", 400, "invalid", id="what is no entity tag is malformed"),
        pytest.param('W/""', 400, "invalid", id="an empty tag is malformed"),
    ],
)
def test_if_match_guards_an_update(hub: RunningHub, if_match: str, status: int, code: str) -> None:
    made = hub.create(patient())
    answer = hub.request("PUT", f"/fhir/Patient/{made['id']}", json={**made, "active": True}, If_Match=if_match)
    assert answer.status_code == status
    assert not code or issues(answer)[0][0] == code


def test_a_deleted_resource_is_gone_and_its_past_is_kept(hub: RunningHub) -> None:
    path = f"/fhir/Patient/{hub.create(patient())['id']}"
    assert hub.request("DELETE", path).status_code == 204
    assert hub.request("DELETE", path).status_code == 204
    gone = hub.request("GET", path)
    assert (gone.status_code, issues(gone)) == (410, [("deleted", "")])
    assert hub.request("GET", f"{path}/_history/1").status_code == 200
    assert hub.request("GET", f"{path}/_history/2").status_code == 410
    methods = [entry["request"]["method"] for entry in hub.request("GET", f"{path}/_history").json()["entry"]]
    assert methods == ["DELETE", "POST"]
    back = hub.request("PUT", path, json=patient(id=path.rpartition("/")[2]))
    assert (back.status_code, back.headers["etag"]) == (201, 'W/"3"')


def test_a_read_with_the_same_tag_is_not_sent_again(hub: RunningHub) -> None:
    path = f"/fhir/Patient/{hub.create(patient())['id']}"
    assert hub.request("GET", path, If_None_Match='W/"1"').status_code == 304
    assert hub.request("GET", path, If_None_Match='W/"2"').status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        pytest.param("GET", "/fhir/Patient/never-there", 404, "not-found", id="an unknown id"),
        pytest.param("GET", "/fhir/Nonsense/1", 404, "not-supported", id="an unknown type"),
        pytest.param("GET", "/fhir/patient/1", 404, "not-supported", id="a type in lower case"),
        pytest.param("GET", "/fhir/Patient/a_b", 400, "invalid", id="an id with an underscore"),
        pytest.param("GET", f"/fhir/Patient/{'a' * 65}", 400, "invalid", id="an id of 65 characters"),
        pytest.param("GET", "/fhir/Patient/%ff", 400, "invalid", id="a path that is no UTF-8"),
        pytest.param("GET", "/fhir/Patient/1/$nonsense", 404, "not-supported", id="an unknown operation"),
        pytest.param("GET", "/fhir/Patient?_count=-1", 400, "value", id="a count below zero"),
        pytest.param("GET", "/fhir/Patient?nonsense=1", 400, "not-supported", id="an unknown parameter"),
        pytest.param("GET", "/fhir/Patient?birthdate=ge2020-99", 400, "value", id="a month that is none"),
        pytest.param("GET", "/fhir/Patient?name=%ff", 400, "invalid", id="a query that is no UTF-8"),
        pytest.param("PUT", "/fhir/Patient", 400, "invalid", id="an update of nothing"),
        pytest.param("PATCH", "/fhir/Patient", 400, "invalid", id="a patch of nothing"),
        pytest.param("DELETE", "/fhir/Patient/_history", 405, "not-supported", id="a method that is not there"),
        pytest.param("FOO", "/fhir/Patient/1", 501, "not-supported", id="a method that nobody knows"),
        pytest.param("GET", "/fhir/Patient/1/2/3/4/5/6/7", 400, "invalid", id="a path too long"),
        pytest.param("GET", "/fhir/Patient/_history?_since=garbage", 400, "value", id="a moment that is none"),
    ],
)
def test_a_request_that_cannot_be_served_says_why(
    hub: RunningHub, method: str, path: str, status: int, code: str
) -> None:
    answer = hub.request(method, path, json=patient() if method == "PUT" else None)
    assert (answer.status_code, issues(answer)[0][0]) == (status, code)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        pytest.param("application/pdf", 406, id="a format that cannot be written"),
        pytest.param("application/json", 200, id="plain JSON"),
        pytest.param("text/html, */*;q=0.1", 200, id="anything at last"),
    ],
)
def test_the_format_is_negotiated(hub: RunningHub, accept: str, status: int) -> None:
    assert hub.request("GET", "/fhir/Patient?_count=1", Accept=accept).status_code == status


@pytest.mark.parametrize(
    "kind", ["text/csv", "text/plain", "application/fhir+json; charset=utf-16", "application/xhtml+xml"]
)
def test_a_body_of_another_type_is_refused(hub: RunningHub, kind: str) -> None:
    answer = hub.request("POST", "/fhir/Patient", content=b"{}", Content_Type=kind)
    assert (answer.status_code, issues(answer)) == (415, [("not-supported", "")])


@pytest.mark.parametrize("written", ["1.10", "0.00", "120", "1.0E+2", "0.1000000000000000055511151231257827"])
def test_a_decimal_comes_back_to_the_digit(hub: RunningHub, written: str) -> None:
    body = hub.http.build_request("POST", "/", json=pulse("Patient/x", 77)).content.replace(
        b'"value":77', f'"value":{written}'.encode()
    )
    made = hub.request("POST", "/fhir/Observation", content=body)
    assert made.status_code == 201
    assert f'"value":{written},' in hub.request("GET", f"/fhir/Observation/{made.json()['id']}").text


def test_all_issues_of_a_resource_are_reported(hub: RunningHub) -> None:
    bad = {**pulse("Patient/x"), "status": "finished", "colour": "red", "effectiveDateTime": "2026-13-45"}
    answer = hub.request("POST", "/fhir/Observation", json=bad)
    assert answer.status_code == 422
    assert {expression for _, expression in issues(answer)} >= {
        "Observation.status",
        "Observation.colour",
        "Observation.effective",
    }


def test_a_conditional_create_makes_one(hub: RunningHub) -> None:
    value = uuid.uuid4().hex
    body = patient(identifier=[{"system": "urn:x", "value": value}])
    first = hub.request("POST", "/fhir/Patient", json=body, If_None_Exist=f"identifier=urn:x|{value}")
    second = hub.request("POST", "/fhir/Patient", json=body, If_None_Exist=f"identifier=urn:x|{value}")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    hub.create(body)
    third = hub.request("POST", "/fhir/Patient", json=body, If_None_Exist=f"identifier=urn:x|{value}")
    assert (third.status_code, issues(third)[0][0]) == (412, "multiple-matches")
    unknown = hub.request("POST", "/fhir/Patient", json=body, If_None_Exist="nonsense=1")
    assert unknown.status_code == 400


def test_a_conditional_update_and_delete_find_their_resource(hub: RunningHub) -> None:
    value = uuid.uuid4().hex
    path = f"/fhir/Patient?identifier=urn:x|{value}"
    body = patient(identifier=[{"system": "urn:x", "value": value}])
    made = hub.request("PUT", path, json=body)
    changed = hub.request("PUT", path, json={**body, "gender": "female"})
    assert (made.status_code, changed.status_code, changed.headers["etag"]) == (201, 200, 'W/"2"')
    assert hub.request("DELETE", path).status_code == 204
    assert hub.search(path.removeprefix("/fhir/"))["total"] == 0


def transaction(*entries: dict[str, Any], kind: str = "transaction") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def post(resource: dict[str, Any], full_url: str = "", **request: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "resource": resource,
        "request": {"method": "POST", "url": resource["resourceType"], **request},
    }
    return made | ({"fullUrl": full_url} if full_url else {})


def test_a_transaction_links_its_entries(hub: RunningHub) -> None:
    link = f"urn:uuid:{uuid.uuid4()}"
    answer = hub.request("POST", "/fhir", json=transaction(post(pulse(link)), post(patient(), link)))
    assert answer.status_code == 200
    assert [e["response"]["status"] for e in answer.json()["entry"]] == ["201 Created", "201 Created"]
    where = [e["response"]["location"].split("/fhir/")[1].partition("/_history")[0] for e in answer.json()["entry"]]
    assert hub.request("GET", f"/fhir/{where[0]}").json()["subject"]["reference"] == where[1]


def test_a_transaction_is_nothing_where_one_entry_fails(hub: RunningHub) -> None:
    value = uuid.uuid4().hex
    body = patient(identifier=[{"system": "urn:x", "value": value}])
    answer = hub.request("POST", "/fhir", json=transaction(post(body), post({**pulse("Patient/x"), "status": "no"})))
    assert answer.status_code == 422
    assert issues(answer)[0][1].startswith("Bundle.entry[1].resource")
    assert hub.search(f"Patient?identifier=urn:x|{value}")["total"] == 0


def test_conditional_references_find_their_target_or_fail_the_whole(hub: RunningHub) -> None:
    value = uuid.uuid4().hex
    made = hub.create(patient(identifier=[{"system": "http://x.example/ids", "value": value}]))
    good = hub.request(
        "POST",
        "/fhir",
        json=transaction(post(pulse(f"Patient?identifier=http://x.example/ids|{value}"))),
        Prefer="return=representation",
    )
    assert good.json()["entry"][0]["resource"]["subject"]["reference"] == f"Patient/{made['id']}"
    bad = hub.request("POST", "/fhir", json=transaction(post(pulse("Patient?identifier=http://x.example/ids|nobody"))))
    assert bad.status_code == 422


def test_two_entries_on_one_resource_fail_the_transaction(hub: RunningHub) -> None:
    put = {"resource": patient(id="twice"), "request": {"method": "PUT", "url": "Patient/twice"}}
    assert hub.request("POST", "/fhir", json=transaction(put, put)).status_code == 400
    assert hub.request("GET", "/fhir/Patient/twice").status_code == 404


def test_batch_entries_stand_alone(hub: RunningHub) -> None:
    get = {"request": {"method": "GET", "url": "Patient?_count=1"}}
    bad = post({**pulse("Patient/x"), "status": "no"})
    answer = hub.request("POST", "/fhir", json=transaction(get, bad, post(patient()), kind="batch"))
    assert [e["response"]["status"][:3] for e in answer.json()["entry"]] == ["200", "422", "201"]
    assert answer.json()["entry"][0]["resource"]["type"] == "searchset"
    assert answer.json()["entry"][1]["response"]["outcome"]["resourceType"] == "OperationOutcome"


def test_lenient_handling_names_what_it_left_out(hub: RunningHub) -> None:
    found = hub.search("Patient?nonsense=1&_count=1", Prefer="handling=lenient")
    assert "nonsense" not in found["link"][0]["url"]
    outcome = [e["resource"] for e in found["entry"] if e["search"]["mode"] == "outcome"]
    assert "nonsense" in outcome[0]["issue"][0]["diagnostics"]


def test_includes_chains_and_has_reach_other_resources(hub: RunningHub) -> None:
    city = f"Ville{uuid.uuid4().hex[:8]}"
    made = hub.create(patient(address=[{"city": city}]))
    seen = hub.create(pulse(f"Patient/{made['id']}"))
    chained = hub.search(f"Observation?patient.address-city={city}&_include=Observation:patient")
    assert [(e["search"]["mode"], e["resource"]["id"]) for e in chained["entry"]] == [
        ("match", seen["id"]),
        ("include", made["id"]),
    ]
    back = hub.search(
        f"Patient?address-city={city.lower()}&_has:Observation:patient:code=8867-4&_revinclude=Observation:patient"
    )
    assert [(e["search"]["mode"], e["resource"]["id"]) for e in back["entry"]] == [
        ("match", made["id"]),
        ("include", seen["id"]),
    ]


@pytest.mark.parametrize(
    ("asked", "has", "lacks"),
    [
        pytest.param("_summary=true", {"status", "code"}, {"note"}, id="summary elements"),
        pytest.param("_summary=data", {"note"}, {"text"}, id="all but the narrative"),
        pytest.param("_elements=note", {"note", "status", "code"}, {"subject"}, id="named and mandatory elements"),
    ],
)
def test_a_part_of_a_resource_says_that_it_is_one(hub: RunningHub, asked: str, has: set[str], lacks: set[str]) -> None:
    made = hub.create(pulse("Patient/x", note=[{"text": "n"}]))
    part = hub.search(f"Observation?_id={made['id']}&{asked}")["entry"][0]["resource"]
    assert has <= part.keys() and not lacks & part.keys()
    assert "SUBSETTED" in [tag["code"] for tag in part["meta"]["tag"]]


def test_a_page_link_holds_for_its_caller_and_query_only(hub: RunningHub) -> None:
    for _ in range(3):
        hub.create(patient())
    following = next(link["url"] for link in hub.search("Patient?_count=1")["link"] if link["relation"] == "next")
    path = following.removeprefix(str(hub.http.base_url))
    assert hub.request("GET", path).status_code == 200
    assert hub.request("GET", path, token=hub.token(sub="another")).status_code == 400
    assert hub.request("GET", path.replace("_count=1", "_count=2")).status_code == 400
    assert hub.request("GET", path[:-4] + "AAAA").status_code == 400


def test_the_capability_statement_claims_what_the_routes_do(hub: RunningHub) -> None:
    statement = hub.request("GET", "/fhir/metadata", token=None).json()
    assert statement["fhirVersion"] == "4.0.1"
    observation = next(r for r in statement["rest"][0]["resource"] if r["type"] == "Observation")
    codes = {interaction["code"] for interaction in observation["interaction"]}
    assert codes == {
        "read",
        "vread",
        "update",
        "patch",
        "delete",
        "history-instance",
        "history-type",
        "create",
        "search-type",
    }
    for parameter in observation["searchParam"]:
        if parameter["type"] != "composite" and parameter["name"] not in OF_EVERY_TYPE:
            answer = hub.request("GET", f"/fhir/Observation?{parameter['name']}:missing=true&_count=1")
            assert answer.status_code == 200, (parameter, answer.text)


def test_the_api_document_has_both_kinds_of_routes(hub: RunningHub) -> None:
    paths = hub.request("GET", "/openapi.json", token=None).json()["paths"]
    assert {"/fhir/{type}/{id}", "/fhir/metadata", "/devices", "/cds-services"} <= paths.keys()
