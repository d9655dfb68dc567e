"""`$meta`, `$meta-add`, `$meta-delete`, `$diff` and `$convert` over real HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fhir_server import gate
from tests.http.record import Record, audited, make_record, stranger
from tests.running import RunningHub

TAG, OTHER = {"system": "urn:tags", "code": "a"}, {"system": "urn:tags", "code": "b"}


@pytest.fixture
def record(hub: RunningHub) -> Record:
    return make_record(hub, 1)


def change(record: Record, name: str, meta: dict[str, Any], **options: Any) -> Any:
    body = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}
    return record.hub.request("POST", f"/fhir/{record.patient}/${name}", json=body, **options)


def read(record: Record, path: str = "", token: str = "") -> dict[str, Any]:
    answer = record.hub.request("GET", f"/fhir/{record.patient}{path}", token=token)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def returned(answer: Any) -> dict[str, Any]:
    (item,) = answer["parameter"]
    assert item["name"] == "return"
    meta: dict[str, Any] = item["valueMeta"]
    return meta


# --- $meta ------------------------------------------------------------------------------------------------


@pytest.mark.every_store
def test_a_tag_that_is_added_makes_a_version_once(record: Record) -> None:
    first = change(record, "meta-add", {"tag": [TAG | {"display": "x"}], "profile": ["http://example.org/p"]})
    assert (first.status_code, first.headers["etag"]) == (200, 'W/"2"')
    assert returned(first.json()) == read(record)["meta"] == returned(read(record, "/$meta"))
    again = change(record, "meta-add", {"tag": [TAG | {"display": "y", "version": "1"}]})
    assert (again.headers["etag"], returned(again.json())["tag"]) == ('W/"2"', [TAG | {"display": "x"}])
    both = change(record, "meta-add", {"tag": [OTHER]})
    assert (both.headers["etag"], returned(both.json())["tag"]) == ('W/"3"', [TAG | {"display": "x"}, OTHER])


@pytest.mark.durable_stores
def test_a_change_of_labels_is_audited(record: Record) -> None:
    change(record, "meta-add", {"tag": [TAG]})
    assert audited(record.hub, "$meta-add", record.patient.removeprefix("Patient/")) == [record.patient]


@pytest.mark.every_store
def test_a_tag_that_is_deleted_stays_in_the_version_before(record: Record) -> None:
    change(record, "meta-add", {"tag": [TAG, OTHER], "security": [TAG]})
    gone = change(record, "meta-delete", {"tag": [TAG | {"display": "whatever"}], "security": [TAG]})
    assert (gone.headers["etag"], returned(gone.json()).get("tag")) == ('W/"3"', [OTHER])
    assert "security" not in returned(gone.json())
    absent = change(record, "meta-delete", {"tag": [{"system": "urn:tags", "code": "nothing"}]})
    assert (absent.status_code, absent.headers["etag"]) == (200, 'W/"3"')
    assert returned(read(record, "/_history/2/$meta"))["tag"] == [TAG, OTHER]
    assert record.hub.request("GET", f"/fhir/{record.patient}/_history/9/$meta").status_code == 404
    assert record.hub.request("GET", f"/fhir/{record.patient}/_history/1/$everything").status_code == 404


def test_a_search_finds_what_was_tagged(record: Record) -> None:
    change(record, "meta-add", {"tag": [{"system": "urn:tags", "code": record.patient}]})
    found = record.hub.search(f"Patient?_tag=urn:tags|{record.patient}")
    assert [entry["resource"]["id"] for entry in found["entry"]] == [record.patient.removeprefix("Patient/")]


def test_if_match_holds_for_labels(record: Record) -> None:
    assert change(record, "meta-add", {"tag": [TAG]}, If_Match='W/"7"').status_code == 412
    assert change(record, "meta-add", {"tag": [TAG]}, If_Match='W/"1"').status_code == 200


@pytest.mark.every_store
@pytest.mark.durable_stores
def test_labels_that_many_add_at_once_are_all_there(record: Record) -> None:
    tags = [{"system": "urn:tags", "code": str(n)} for n in range(24)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda tag: change(record, "meta-add", {"tag": [tag]}), tags))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.headers["etag"] for answer in answers) == sorted(f'W/"{n}"' for n in range(2, 26))
    assert sorted(read(record)["meta"]["tag"], key=str) == sorted(tags, key=str)


def test_a_type_and_the_system_tell_the_labels_in_use(own_hub: RunningHub) -> None:
    record = make_record(own_hub, 1)
    change(record, "meta-add", {"tag": [TAG], "profile": ["http://example.org/p"]})
    own_hub.create({"resourceType": "Organization", "name": "x", "meta": {"tag": [OTHER], "security": [TAG]}})
    own_hub.create({"resourceType": "Organization", "name": "y", "meta": {"tag": [OTHER]}})
    on_type = own_hub.request("GET", "/fhir/Patient/$meta").json()
    on_system = own_hub.request("GET", "/fhir/$meta").json()
    assert returned(on_type) == {"profile": ["http://example.org/p"], "tag": [TAG]}
    assert returned(on_system) == {"profile": ["http://example.org/p"], "security": [TAG], "tag": [TAG, OTHER]}
    hidden = own_hub.request("GET", "/fhir/Patient/$meta", token=stranger(own_hub)).json()
    assert not {"profile", "security", "tag"} & set(returned(hidden))
    told = own_hub.request("POST", "/fhir/$validate", json=hidden).json()["issue"]
    assert not [issue for issue in told if issue["severity"] == "error"], "an answer without labels is FHIR too"


@pytest.mark.parametrize("path", ["Patient/{id}/$meta", "Patient/{id}/_history/1/$meta", "Patient/$meta", "$meta"])
def test_meta_by_post_answers_as_by_get(record: Record, path: str) -> None:
    path = "/fhir/" + path.format(id=record.patient.removeprefix("Patient/"))
    posted = record.hub.request("POST", path, json={"resourceType": "Parameters"})
    assert posted.status_code == 200
    assert posted.json() == record.hub.request("GET", path).json() == record.hub.request("POST", path).json()


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([{"name": "from", "valueInteger": 1}, {"name": "to", "valueInteger": 2}], id="numbers"),
        pytest.param([{"name": "from", "valueString": "1"}, {"name": "to", "valueString": "2"}], id="text"),
        pytest.param([{"name": "fromVersion", "valueInteger": 1}], id="the name that others have for it"),
        pytest.param([], id="nothing: the last two"),
    ],
)
def test_two_versions_are_compared_by_post_as_by_get(record: Record, values: list[dict[str, Any]]) -> None:
    change(record, "meta-add", {"tag": [TAG]})
    path = f"/fhir/{record.patient}/$diff"
    posted = record.hub.request("POST", path, json={"resourceType": "Parameters", "parameter": values})
    assert posted.status_code == 200, posted.text
    assert posted.json() == record.hub.request("GET", f"{path}?from=1&to=2").json()
    assert posted.json()["parameter"]


@pytest.mark.parametrize("value", [0, -1, True, 1.5], ids=str)
def test_a_version_by_post_is_a_number(record: Record, value: object) -> None:
    body = {"resourceType": "Parameters", "parameter": [{"name": "from", "valueInteger": value}]}
    assert record.hub.request("POST", f"/fhir/{record.patient}/$diff", json=body).status_code in (400, 422)


@pytest.mark.parametrize(
    ("meta", "status"),
    [
        pytest.param({"tag": {"code": "a"}}, 400, id="tags that are no list"),
        pytest.param({"tag": [{"nonsense": 1}]}, 422, id="a tag that is no Coding"),
    ],
)
def test_labels_that_are_none_are_refused(record: Record, meta: dict[str, Any], status: int) -> None:
    assert change(record, "meta-add", meta).status_code == status
    assert read(record)["meta"]["versionId"] == "1"


def test_labels_are_changed_by_those_who_may(record: Record) -> None:
    assert change(record, "meta-add", {"tag": [TAG]}, token=record.hub.token("system/*.rs")).status_code == 403
    assert change(record, "meta-add", {"tag": [TAG]}, token=stranger(record.hub)).status_code == 404
    assert record.hub.request("POST", f"/fhir/{record.patient}/$meta-add").status_code == 400


# --- $diff ------------------------------------------------------------------------------------------------


def put(record: Record, **more: Any) -> dict[str, Any]:
    resource = {name: value for name, value in (read(record) | more).items() if value is not None}
    answer = record.hub.request("PUT", f"/fhir/{record.patient}", json=resource)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def paths(patch: dict[str, Any]) -> list[str]:
    return [part["valueString"] for o in patch["parameter"] for part in o["part"] if part["name"] == "path"]


@pytest.mark.every_store
def test_versions_differ_by_a_patch_that_leads_from_one_to_the_other(record: Record) -> None:
    put(record, birthDate="1951-04-24")
    last = put(record, name=[{"family": "Autre"}], managingOrganization=None)
    assert paths(read(record, "/$diff?from=1&to=2")) == ["Patient.birthDate"]
    changed = ["Patient.managingOrganization", "Patient.name[0].given[0]", "Patient.name[0].family"]
    assert paths(read(record, "/$diff")) == changed
    patch = read(record, "/$diff?from=1&to=3")
    first = read(record, "/_history/1")
    copy = record.hub.create({name: value for name, value in first.items() if name not in ("id", "meta")})
    applied = record.hub.request(
        "PATCH", f"/fhir/Patient/{copy['id']}", content=gate.write(patch), Content_Type="application/fhir+json"
    ).json()
    assert {**applied, "id": 0, "meta": 0} == {**last, "id": 0, "meta": 0}


def test_labels_are_left_out_where_that_is_asked_for(record: Record) -> None:
    change(record, "meta-add", {"tag": [TAG]})
    assert paths(read(record, "/$diff?from=1&to=2")) == ["Patient.meta"]
    assert "parameter" not in read(record, "/$diff?fromVersion=1&includeMeta=false")


def test_two_resources_differ_too(record: Record) -> None:
    other = make_record(record.hub, 1)
    query = f"/fhir/$diff?from={record.patient}&to={other.patient}/_history/1"
    assert paths(record.hub.request("GET", query).json()) == ["Patient.managingOrganization.reference"]
    sent = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "from", "resource": {"resourceType": "Patient", "active": True}},
            {"name": "to", "resource": {"resourceType": "Patient", "active": False}},
        ],
    }
    assert paths(record.hub.request("POST", "/fhir/$diff", json=sent).json()) == ["Patient.active"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        pytest.param("from=0", 400, id="a version that is none"),
        pytest.param("from=7", 404, id="a version that is not there"),
        pytest.param("since=1", 400, id="an unknown parameter"),
    ],
)
def test_a_difference_with_nothing_is_refused(record: Record, query: str, status: int) -> None:
    assert record.hub.request("GET", f"/fhir/{record.patient}/$diff?{query}").status_code == status


def test_a_stranger_learns_no_difference(record: Record) -> None:
    token = stranger(record.hub)
    assert record.hub.request("GET", f"/fhir/{record.patient}/$diff", token=token).status_code == 404
    query = f"/fhir/$diff?from={record.patient}&to={record.patient}"
    assert record.hub.request("GET", query, token=token).status_code == 404


# --- $convert ---------------------------------------------------------------------------------------------

OBSERVATION = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.10}}'


def convert(hub: RunningHub, body: bytes, sent: str, wanted: str, **options: Any) -> Any:
    return hub.request("POST", "/fhir/$convert", content=body, Content_Type=sent, Accept=wanted, **options)


def test_a_resource_is_converted_to_xml_and_back(hub: RunningHub) -> None:
    xml = convert(hub, OBSERVATION, "application/fhir+json", "application/fhir+xml")
    assert xml.status_code == 200 and b'<value value="1.10"/>' in xml.content
    back = convert(hub, xml.content, "application/fhir+xml", "application/fhir+json")
    assert back.content == OBSERVATION
    formatted = hub.request(
        "POST", "/fhir/$convert?_format=xml", content=OBSERVATION, Content_Type="application/fhir+json"
    )
    assert formatted.content == xml.content


def test_the_resource_may_come_as_a_parameter(hub: RunningHub) -> None:
    body = b'{"resourceType":"Parameters","parameter":[{"name":"input","resource":' + OBSERVATION + b"}]}"
    assert convert(hub, body, "application/fhir+json", "application/fhir+json").content == OBSERVATION
    assert convert(hub, b"", "application/fhir+json", "application/fhir+json").status_code == 400
    strange = hub.request("POST", "/fhir/$convert?to=xml", content=OBSERVATION)
    assert (strange.status_code, strange.json()["issue"][0]["code"]) == (400, "not-supported")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"resourceType":"Nothing"}', id="of a type that R4 has not"),
        pytest.param(b'{"resourceType":"Patient","colour":"red"}', id="with an element that R4 has not"),
        pytest.param(b'{"resourceType":"Patient","name":{"family":"Un"}}', id="with one value where R4 has a list"),
    ],
)
@pytest.mark.parametrize("wanted", ["application/fhir+json", "application/fhir+xml"])
def test_what_is_no_resource_of_r4_is_not_converted(hub: RunningHub, body: bytes, wanted: str) -> None:
    answer = convert(hub, body, "application/fhir+json", wanted)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (422, wanted)
