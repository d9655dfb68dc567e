"""The edges of R4's RESTful API: entity tags, versions in media types, parameters of history, what Prefer asks."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.running import RunningHub

pytestmark = pytest.mark.every_store
PATIENT = {"resourceType": "Patient", "gender": "female"}


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        pytest.param('W/"1"', 304, id="a weak tag"),
        pytest.param('"1"', 304, id="a strong tag: If-None-Match compares weakly"),
        pytest.param('W/"7", "1"', 304, id="one of several"),
        pytest.param("*", 304, id="any"),
        pytest.param('W/"2"', 200, id="another version"),
    ],
)
def test_a_read_of_a_version_that_is_known(hub: RunningHub, tag: str, status: int) -> None:
    id = hub.create(PATIENT)["id"]
    assert hub.request("GET", f"/fhir/Patient/{id}", If_None_Match=tag).status_code == status


@pytest.mark.parametrize(
    ("tag", "there", "absent"),
    [
        pytest.param("*", 200, 412, id="any version, but one"),
        pytest.param('"1"', 200, 412, id="a strong tag"),
        pytest.param('W/"1"', 200, 412, id="a weak tag"),
        pytest.param('W/"7", W/"1"', 200, 412, id="one of several"),
        pytest.param('W/"2"', 412, 412, id="a version that is not there"),
        pytest.param('W/"abc"', 412, 412, id="a tag that no version here has"),
        pytest.param("1", 400, 400, id="no tag"),
    ],
)
def test_an_update_with_if_match(hub: RunningHub, tag: str, there: int, absent: int) -> None:
    made = hub.create(PATIENT)
    path = f"/fhir/Patient/{made['id']}"
    assert hub.request("PUT", path, json={**made, "gender": "male"}, If_Match=tag).status_code == there
    never = f"never-{made['id'][-20:]}"
    answer = hub.request("PUT", f"/fhir/Patient/{never}", json={**PATIENT, "id": never}, If_Match=tag)
    assert answer.status_code == absent


STATUS, CODE, UNIT = '"status":"final"', '"code":{"text":"x"}', '"unit":"kg"'


@pytest.mark.parametrize(
    ("change", "version"),
    [
        pytest.param(lambda text: text.replace(STATUS + "," + CODE, CODE + "," + STATUS), "1", id="another key first"),
        pytest.param(
            lambda text: text.replace(UNIT + ',"value":1.50', '"value":1.50,' + UNIT), "1", id="further inside"
        ),
        pytest.param(lambda text: text.replace('"kg"', '"gk"'), "2", id="another text of the same letters"),
        pytest.param(
            lambda text: text.replace("1.50", "1.5 ").replace("20.0", "20.00"), "2", id="the digits of numbers"
        ),
        pytest.param(lambda text: text.translate(str.maketrans("XY", "YX")), "2", id="another order of a list"),
    ],
)
def test_an_update_in_other_words(hub: RunningHub, change: Callable[[str], str], version: str) -> None:
    id = f"words-{uuid.uuid4().hex}"
    given = (
        f'{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"text":"x"}},'
        '"component":[{"code":{"text":"x"},"valueQuantity":{"unit":"kg","value":1.50}},'
        '{"code":{"text":"x"},"valueQuantity":{"value":20.0,"unit":"kg"}}],'
        '"performer":[{"identifier":{"value":"X"}},{"identifier":{"value":"Y"}}]}'
    )
    path = f"/fhir/Observation/{id}"
    assert hub.request("PUT", path, content=given.encode()).status_code == 201
    again = hub.request("PUT", path, content=change(given).encode())
    assert (again.status_code, again.json()["meta"]["versionId"]) == (200, version)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        pytest.param("colour=red", "not-supported", id="a parameter that nobody knows"),
        pytest.param("_sort=date", "not-supported", id="an order, which R4's history does not take"),
        pytest.param("_count=-1", "value", id="fewer than none"),
        pytest.param("_since=yesterday", "value", id="no instant"),
        pytest.param("_since=ge2026-01-01", "value", id="a prefix, where R4 has an instant"),
        pytest.param("_at=ne2026-01-01", "value", id="any time but one"),
    ],
)
@pytest.mark.parametrize("level", ["instance", "type", "system"])
def test_history_refuses(hub: RunningHub, level: str, query: str, code: str) -> None:
    path = {"instance": f"Patient/{hub.create(PATIENT)['id']}/", "type": "Patient/", "system": ""}[level]
    answer = hub.request("GET", f"/fhir/{path}_history?{query}")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, code)


@pytest.mark.parametrize(
    ("prefix", "versions"),
    [
        pytest.param("", ["2"], id="at a time"),
        pytest.param("eq", ["2"], id="at a time, said in full"),
        pytest.param("ge", ["3", "2"], id="from a time on"),
        pytest.param("gt", ["3", "2"], id="behind a time, when the version of that time is current still"),
        pytest.param("sa", ["3", "2"], id="after a time, likewise"),
        pytest.param("le", ["2", "1"], id="up to a time"),
        pytest.param("lt", ["1"], id="before a time"),
        pytest.param("eb", ["1"], id="ended before a time"),
    ],
)
def test_versions_that_were_current_at_some_point_of_a_time(hub: RunningHub, prefix: str, versions: list[str]) -> None:
    made = hub.create(PATIENT)
    path = f"/fhir/Patient/{made['id']}"
    second = hub.request("PUT", path, json={**made, "gender": "male"}).json()
    hub.request("PUT", path, json={**made, "gender": "other"})
    found = hub.request("GET", f"{path}/_history?_at={prefix}{second['meta']['lastUpdated']}").json()
    assert [entry["resource"]["meta"]["versionId"] for entry in found["entry"]] == versions
    assert found["total"] == len(versions)


@pytest.mark.parametrize("end", ["", "DELETE"], ids=["of a resource that is there", "of one that was deleted"])
def test_history_of_no_entries_is_their_number(hub: RunningHub, end: str) -> None:
    path = f"/fhir/Patient/{hub.create(PATIENT)['id']}"
    if end:
        hub.request(end, path)
    found = hub.request("GET", f"{path}/_history?_count=0").json()
    links = [link["relation"] for link in found["link"]]
    assert (found["total"], found.get("entry"), links) == (2 if end else 1, None, ["self"])


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        pytest.param("application/fhir+json; fhirVersion=4.0", 200, id="this version"),
        pytest.param("application/fhir+json; fhirVersion=3.0", 406, id="an older one"),
        pytest.param("application/fhir+json; fhirVersion=5.0, application/fhir+json;q=0.5", 200, id="or any"),
    ],
)
def test_the_version_in_accept(hub: RunningHub, accept: str, status: int) -> None:
    assert hub.request("GET", f"/fhir/Patient/{hub.create(PATIENT)['id']}", Accept=accept).status_code == status


@pytest.mark.parametrize(("version", "status"), [("4.0", 201), ("5.0", 415)])
def test_the_version_of_a_body(hub: RunningHub, version: str, status: int) -> None:
    kind = f"application/fhir+json; fhirVersion={version}"
    answer = hub.request("POST", "/fhir/Patient", content=b'{"resourceType":"Patient"}', Content_Type=kind)
    assert answer.status_code == status


@pytest.mark.parametrize("type", ["batch", "transaction"])
def test_an_outcome_that_prefer_asks_for_is_in_the_response_of_its_entry(hub: RunningHub, type: str) -> None:
    entry = {"resource": PATIENT, "request": {"method": "POST", "url": "Patient"}}
    body: dict[str, Any] = {"resourceType": "Bundle", "type": type, "entry": [entry]}
    made = hub.request("POST", "/fhir", json=body, Prefer="return=OperationOutcome").json()["entry"][0]
    assert "resource" not in made
    assert made["response"]["outcome"]["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
def test_the_metadata_are_read_only(hub: RunningHub, method: str) -> None:
    answer = hub.request(method, "/fhir/metadata")
    told = (answer.status_code, answer.headers.get("allow"), answer.json()["resourceType"])
    assert told == (405, "GET", "OperationOutcome")


@pytest.mark.parametrize(
    ("query", "total"),
    [
        pytest.param(
            "gender=http://hl7.org/fhir/administrative-gender|female", 1, id="a code with the system it is of"
        ),
        pytest.param("gender=http://hl7.org/fhir/administrative-gender|male", 0, id="another code of that system"),
        pytest.param("gender=urn:other|female", 0, id="the code in another system"),
        pytest.param("gender:not=http://hl7.org/fhir/administrative-gender|female", 0, id="not that code"),
        pytest.param("gender=|female", 1, id="a code without a system, as it is stored"),
        pytest.param("_has:Encounter:patient:status=http://hl7.org/fhir/encounter-status|planned", 1, id="in _has"),
    ],
)
def test_the_system_of_a_code_is_implicit(hub: RunningHub, query: str, total: int) -> None:
    id = hub.create(PATIENT)["id"]
    visit = {"class": {"code": "AMB"}, "subject": {"reference": f"Patient/{id}"}}
    hub.create({"resourceType": "Encounter", "status": "planned", **visit})
    assert hub.search(f"Patient?_id={id}&{query}")["total"] == total


@pytest.mark.parametrize(
    ("methods", "statuses"),
    [
        pytest.param(("POST", "POST"), ["201", "200"], id="two creates: the second finds what the first made"),
        pytest.param(("PUT", "PUT"), None, id="two updates write the same resource"),
        pytest.param(("POST", "PUT"), None, id="so do a create and an update"),
    ],
)
def test_two_entries_on_one_condition_make_one(
    hub: RunningHub, methods: tuple[str, str], statuses: list[str] | None
) -> None:
    value = uuid.uuid4().hex
    condition = f"identifier=urn:mark|{value}"
    resource = {**PATIENT, "identifier": [{"system": "urn:mark", "value": value}]}
    entries: list[dict[str, Any]] = []
    for number, method in enumerate(methods):
        request = {"method": method, "url": "Patient" if method == "POST" else f"Patient?{condition}"}
        request |= {"ifNoneExist": condition} if method == "POST" else {}
        link = {"fullUrl": f"urn:uuid:00000000-0000-4000-8000-00000000000{number}"}
        entries.append({**link, "resource": resource, "request": request})
    group = {"resourceType": "Group", "type": "person", "actual": True}
    members = [{"entity": {"reference": entry["fullUrl"]}} for entry in entries]
    entries.append({"resource": {**group, "member": members}, "request": {"method": "POST", "url": "Group"}})
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = hub.request("POST", "/fhir", json=bundle, Prefer="return=representation")
    found = hub.search(f"Patient?{condition}")
    if statuses is None:
        assert (answer.status_code, found["total"]) == (400, 0)
        return
    made = answer.json()["entry"]
    assert ([entry["response"]["status"][:3] for entry in made[:2]], found["total"]) == (statuses, 1)
    one = f"Patient/{found['entry'][0]['resource']['id']}"
    assert [member["entity"]["reference"] for member in made[2]["resource"]["member"]] == [one, one]


def test_the_history_of_a_list_has_the_versions_that_it_refers_to(hub: RunningHub) -> None:
    first, second = hub.create(PATIENT)["id"], hub.create(PATIENT)["id"]
    for id in (first, second):
        hub.request("PUT", f"/fhir/Patient/{id}", json={**PATIENT, "id": id, "gender": "other"})
    items = [f"Patient/{first}/_history/1", f"Patient/{second}"]
    entries = [{"item": {"reference": item}} for item in items]
    given = {"resourceType": "List", "status": "current", "mode": "working", "entry": entries}
    id = hub.create(given)["id"]

    def versions(path: str) -> list[tuple[str, str]]:
        found = hub.search(path)
        assert found["total"] == len(found.get("entry", ()))
        parts = [entry["resource"] for entry in found.get("entry", ())]
        return [(part["id"], part["meta"]["versionId"]) for part in parts]

    assert versions(f"Patient/_history?_list={id}") == [(second, "2"), (second, "1"), (first, "1")]
    assert versions(f"_history?_list=List/{id}") == [(second, "2"), (second, "1"), (first, "1")]
    assert versions(f"Patient/{first}/_history?_list={id}") == [(first, "1")]
    assert versions(f"Observation/_history?_list={id}") == []
    assert versions("Patient/_history?_list=nobody-knows") == []
    page = hub.search(f"_history?_list={id}&_count=2")
    following = next(link["url"] for link in page["link"] if link["relation"] == "next")
    assert [entry["resource"]["id"] for entry in hub.request("GET", following).json()["entry"]] == [first]
    assert hub.request("GET", "/fhir/_history?_list=$current-problems").status_code == 400
    assert hub.request("GET", "/fhir/_history?_count=1&_count=2").status_code == 400


def test_a_search_by_post_may_stand_in_the_url_alone(hub: RunningHub) -> None:
    id = hub.create(PATIENT)["id"]
    found = hub.request("POST", f"/fhir/Patient/_search?_id={id}")
    assert (found.status_code, found.json()["total"]) == (200, 1)
    assert hub.request("POST", "/fhir/Patient/_search", content=b"{}", Content_Type="text/json").status_code == 415


def test_near_takes_every_length_of_ucum(hub: RunningHub) -> None:
    place = uuid.uuid4().hex
    position = {"latitude": 48.8566, "longitude": 2.3522}
    hub.create({"resourceType": "Location", "name": place, "position": position})
    asked = f"Location?name={place}&near=48.8566|2.3622"
    found = {unit: hub.search(f"{asked}|{unit}")["total"] for unit in ("800|m", "700|m", "2500|[ft_i]", "1|[nmi_i]")}
    assert found == {"800|m": 1, "700|m": 0, "2500|[ft_i]": 1, "1|[nmi_i]": 1}


@pytest.mark.parametrize(
    ("method", "query", "status"),
    [
        pytest.param("GET", "nonsense=1", 400, id="a read refuses what it does not know"),
        pytest.param("GET", "_summary=maybe", 400, id="a read refuses half a summary"),
        pytest.param("GET", "_pretty=true&_format=json&_elements=gender", 200, id="a read takes what R4 gives it"),
        pytest.param("PUT", "nonsense=1", 400, id="an update refuses what it does not know"),
        pytest.param("PUT", "_pretty=true", 200, id="an update takes what every request takes"),
        pytest.param("DELETE", "identifier=1", 400, id="a deletion by id takes no condition"),
    ],
)
def test_no_parameter_is_ignored(hub: RunningHub, method: str, query: str, status: int) -> None:
    id = hub.create(PATIENT)["id"]
    sent: dict[str, Any] = {"json": {**PATIENT, "id": id}} if method == "PUT" else {}
    assert hub.request(method, f"/fhir/Patient/{id}?{query}", **sent).status_code == status
    assert hub.request("GET", f"/fhir/Patient/{id}?nonsense=1", Prefer="handling=lenient").status_code == 200


def test_page_links_are_valid_urls(hub: RunningHub) -> None:
    for _ in range(2):
        hub.create({"resourceType": "Patient", "identifier": [{"system": "urn:link", "value": "a"}]})
    links = [link["url"] for link in hub.search("Patient?identifier=urn:link|a&_count=1")["link"]]
    assert len(links) == 3
    assert not any(set(link) & set('|"<>\\^`{} ') for link in links), links


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        pytest.param("identifier=urn:cond|{}", 200, id="the query alone, as R4 has it"),
        pytest.param("?identifier=urn:cond|{}", 200, id="with its question mark"),
        pytest.param("Patient?identifier=urn:cond|{}", 200, id="with the type"),
        pytest.param(
            "http://hub.example/fhir/Patient?identifier=urn:cond%7C{}", 200, id="the whole url, as HAPI's client"
        ),
        pytest.param("Observation?identifier=urn:cond|{}", 400, id="the url of another type"),
        pytest.param("identifier=urn:cond|{}?", 201, id="a question mark in a value"),
        pytest.param("Patient?", 400, id="no condition"),
    ],
)
def test_a_condition_of_a_create_in_all_its_spellings(hub: RunningHub, condition: str, status: int) -> None:
    mark = uuid.uuid4().hex
    body = {**PATIENT, "identifier": [{"system": "urn:cond", "value": mark}]}
    hub.create(body)
    sent = hub.request("POST", "/fhir/Patient", json=body, If_None_Exist=condition.format(mark))
    assert sent.status_code == status, sent.text


def test_entries_of_a_batch_as_clients_write_them(hub: RunningHub) -> None:
    made = hub.create(PATIENT)
    id, then = made["id"], made["meta"]["lastUpdated"]
    base = hub.search("Patient?_count=0")["link"][0]["url"].partition("/Patient")[0]
    asked: dict[str, dict[str, Any]] = {
        "304": {"method": "GET", "url": f"Patient/{id}", "ifModifiedSince": then},
        "200": {"method": "GET", "url": f"Patient/{id}", "ifModifiedSince": "2020-01-01T00:00:00Z"},
        "200 whole url": {"method": "GET", "url": f"{base}/Patient/{id}"},
        "200 search": {"method": "POST", "url": f"Patient/_search?_id={id}"},
        "200 extension": {"method": "GET", "url": f"Patient/{id}", "extension": [{"url": "urn:x", "valueCode": "y"}]},
        "400": {"method": "GET", "url": f"Patient/{id}?nonsense=1"},
    }
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": one} for one in asked.values()]}
    answer = hub.request("POST", "/fhir", json=batch)
    assert answer.status_code == 200, answer.text
    found = [entry["response"]["status"][:3] for entry in answer.json()["entry"]]
    assert found == [name[:3] for name in asked]
    entry = {"resource": {**PATIENT, "id": id}, "request": {"method": "PUT", "url": f"{base}/Patient/{id}"}}
    transaction = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert hub.request("POST", "/fhir", json=transaction).status_code == 200


@pytest.mark.parametrize(
    ("path", "lines", "status"),
    [
        pytest.param("?nonsense=1", [("Prefer", "handling=lenient"), ("Prefer", "return=minimal")], 200, id="wishes"),
        pytest.param("/{id}", [("If-None-Match", 'W/"1"'), ("If-None-Match", 'W/"9"')], 304, id="versions"),
        pytest.param("/{id}", [("Accept", "application/fhir+json"), ("Accept", "text/turtle")], 200, id="formats"),
    ],
)
def test_a_header_in_several_lines_is_one_list(
    hub: RunningHub, path: str, lines: list[tuple[str, str]], status: int
) -> None:
    path = path.format(id=hub.create(PATIENT)["id"])
    headers = [("Authorization", f"Bearer {hub.operator}"), *lines]
    for sent in (headers, headers[::-1]):
        assert hub.http.request("GET", f"/fhir/Patient{path}", headers=sent).status_code == status


@pytest.mark.parametrize(
    ("method", "header"),
    [("POST", "If-None-Exist"), ("PUT", "If-Match"), ("PUT", "If-None-Match"), ("DELETE", "If-Match")],
)
def test_a_condition_that_says_nothing_is_not_passed_over(hub: RunningHub, method: str, header: str) -> None:
    id = hub.create(PATIENT)["id"]
    path = "/fhir/Patient" if method == "POST" else f"/fhir/Patient/{id}"
    body = None if method == "DELETE" else {**PATIENT, "id": id, "gender": "other"}
    assert hub.request(method, path, json=body, content=None, **{header: ""}).status_code == 400
    assert hub.search(f"Patient/{id}/_history")["total"] == 1
