"""FHIR XML over real HTTP: asked for, sent, refused; the same resources as in JSON."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from fhir_server import gate, xmlformat
from tests.running import RunningHub

pytestmark = pytest.mark.every_store

XML = "application/fhir+xml"
JSON = "application/fhir+json"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">Zoé &amp; <b>co</b></div>'


def patient(inside: str = "") -> bytes:
    text = f'<text><status value="generated"/>{DIV}</text>'
    name = '<name><family value="Exemple"/><given value="Zoé"/></name>'
    return f'<Patient xmlns="http://hl7.org/fhir">{text}{inside}{name}</Patient>'.encode()


def identified(value: str) -> bytes:
    return patient(f'<identifier><system value="urn:x"/><value value="{value}"/></identifier>')


def send(hub: RunningHub, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
    """Send XML and ask for XML, unless the headers say otherwise."""
    sent = {"Accept": XML, "Content_Type": XML, "Accept_Encoding": "identity", **headers}
    return hub.request(method, f"/fhir{path}", content=body, **sent)


def tree(answer: httpx.Response) -> Any:
    assert answer.headers["content-type"] == "application/fhir+xml; charset=utf-8"
    assert int(answer.headers["content-length"]) == len(answer.content)
    return xmlformat.read(answer.content)


def test_what_is_created_in_xml_is_the_same_in_json(hub: RunningHub) -> None:
    made = send(hub, "POST", "/Patient", patient())
    assert (made.status_code, made.headers["etag"]) == (201, 'W/"1"')
    resource = tree(made)
    path = f"/fhir/Patient/{resource['id']}"
    as_json = hub.request("GET", path)
    assert as_json.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert as_json.json() == resource
    assert as_json.json()["text"]["div"] == DIV
    assert tree(hub.request("GET", path, Accept=XML)) == as_json.json()
    assert tree(hub.request("GET", f"{path}/_history/1", Accept=XML)) == as_json.json()


def test_an_update_in_xml_makes_a_version_and_the_same_again_none(hub: RunningHub) -> None:
    made = send(hub, "POST", "/Patient", patient())
    path = f"/Patient/{tree(made)['id']}"
    changed = xmlformat.write({**tree(made), "gender": "female"})
    assert send(hub, "PUT", path, changed, If_Match='W/"1"').headers["etag"] == 'W/"2"'
    assert send(hub, "PUT", path, changed).headers["etag"] == 'W/"2"'
    assert hub.request("GET", f"/fhir{path}").json()["gender"] == "female"


def test_a_decimal_comes_back_to_the_digit(hub: RunningHub) -> None:
    body = (
        '<Observation xmlns="http://hl7.org/fhir"><status value="final"/><code><text value="x"/></code>'
        '<subject><reference value="Patient/x"/></subject><valueQuantity><value value="1.10"/></valueQuantity>'
        "</Observation>"
    )
    made = send(hub, "POST", "/Observation", body.encode())
    assert made.status_code == 201
    path = f"/fhir/Observation/{tree(made)['id']}"
    assert '"value":1.10' in hub.request("GET", path).text
    assert '<value value="1.10"/>' in hub.request("GET", path, Accept=XML).text


@pytest.mark.parametrize(
    ("query", "headers", "format"),
    [
        pytest.param("", {"Accept": XML}, XML, id="the media type of FHIR XML"),
        pytest.param("", {"Accept": "application/xml"}, XML, id="plain XML"),
        pytest.param("", {"Accept": "text/xml; charset=utf-8"}, XML, id="XML as text"),
        pytest.param("", {"Accept": f"{XML};q=0.5, {JSON}"}, JSON, id="JSON rather than XML"),
        pytest.param("", {"Accept": f"{JSON};q=0.5, {XML}"}, XML, id="XML rather than JSON"),
        pytest.param("", {"Accept": f"{XML};q=0, */*;q=0.1"}, JSON, id="anything but XML"),
        pytest.param("", {"Accept": f"*/*, {XML}"}, XML, id="XML by name, or anything"),
        pytest.param("", {"Accept": "*/*"}, JSON, id="anything"),
        pytest.param("&_format=xml", {"Accept": JSON}, XML, id="_format before Accept"),
        pytest.param("&_format=application/fhir%2Bxml", {}, XML, id="_format in full"),
        pytest.param("&_format=application/fhir+xml", {}, XML, id="_format with a plus not encoded"),
        pytest.param("&_format=json", {"Accept": XML}, JSON, id="_format that says JSON"),
    ],
)
def test_the_format_is_the_one_asked_for(hub: RunningHub, query: str, headers: dict[str, Any], format: str) -> None:
    answer = hub.request("GET", f"/fhir/Patient?_count=1{query}", **headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{format}; charset=utf-8")


def test_without_a_wish_the_answer_is_in_the_format_of_the_body(hub: RunningHub) -> None:
    request = hub.http.build_request(
        "POST",
        "/fhir/Patient",
        content=patient(),
        headers={"Content-Type": "text/xml", "Authorization": f"Bearer {hub.operator}"},
    )
    del request.headers["accept"]
    assert tree(hub.http.send(request))["resourceType"] == "Patient"


def test_a_body_in_xml_may_be_answered_in_json(hub: RunningHub) -> None:
    made = send(hub, "POST", "/Patient", patient(), Accept=JSON)
    assert made.json()["name"] == [{"family": "Exemple", "given": ["Zoé"]}]


def test_a_search_and_its_pages_are_bundles_in_xml(hub: RunningHub) -> None:
    value = uuid.uuid4().hex
    for _ in range(3):
        assert send(hub, "POST", "/Patient", identified(value)).status_code == 201
    found = tree(send(hub, "GET", f"/Patient?identifier=urn:x|{value}&_count=2&_format=xml"))
    following = next(link["url"] for link in found["link"] if link["relation"] == "next")
    path = following.removeprefix(str(hub.http.base_url))
    rest = tree(hub.request("GET", path, Accept=XML, Accept_Encoding="identity"))
    ids = [entry["resource"]["id"] for bundle in (found, rest) for entry in bundle["entry"]]
    assert (len(ids), len(set(ids)), found["total"]) == (3, 3, 3)


def test_a_large_page_is_the_same_in_both_formats(hub: RunningHub) -> None:
    value, long = uuid.uuid4().hex, "x" * 2_000
    entry = {
        "resource": {
            "resourceType": "Patient",
            "identifier": [{"system": "urn:x", "value": value}],
            "name": [{"text": long}],
        },
        "request": {"method": "POST", "url": "Patient"},
    }
    bundle = xmlformat.write({"resourceType": "Bundle", "type": "transaction", "entry": [entry] * 60})
    made = tree(send(hub, "POST", "", bundle))
    assert [e["response"]["status"] for e in made["entry"]] == ["201 Created"] * 60
    path = f"/fhir/Patient?identifier=urn:x|{value}&_count=100"
    as_json = hub.search(path.removeprefix("/fhir/"))
    assert tree(hub.request("GET", path, Accept=XML, Accept_Encoding="identity"))["entry"] == as_json["entry"]


def test_a_batch_in_xml_has_outcomes_inside(hub: RunningHub) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [
            {"request": {"method": "GET", "url": "Patient/never-there"}},
            {"request": {"method": "GET", "url": "Patient?_count=1"}},
        ],
    }
    made = tree(send(hub, "POST", "", xmlformat.write(bundle)))
    assert [entry["response"]["status"][:3] for entry in made["entry"]] == ["404", "200"]
    assert made["entry"][0]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert made["entry"][1]["resource"]["type"] == "searchset"


def test_history_is_a_bundle_in_xml(hub: RunningHub) -> None:
    path = f"/Patient/{tree(send(hub, 'POST', '/Patient', patient()))['id']}"
    deleted = send(hub, "DELETE", path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert [e["request"]["method"] for e in tree(send(hub, "GET", f"{path}/_history"))["entry"]] == ["DELETE", "POST"]


def test_a_conditional_create_in_xml_makes_one(hub: RunningHub) -> None:
    value = uuid.uuid4().hex
    answers = [
        send(hub, "POST", "/Patient", identified(value), If_None_Exist=f"identifier=urn:x|{value}") for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert tree(answers[0]) == tree(answers[1])


def test_the_capability_statement_is_there_in_xml_and_says_so(hub: RunningHub) -> None:
    statement = tree(hub.request("GET", "/fhir/metadata?_format=xml", token=None, Accept_Encoding="identity"))
    assert statement["format"] == [JSON, XML, "json", "xml"]
    assert statement == hub.request("GET", "/fhir/metadata", token=None).json()


def test_a_tag_and_a_head_work_as_in_json(hub: RunningHub) -> None:
    path = f"/Patient/{tree(send(hub, 'POST', '/Patient', patient()))['id']}"
    same = send(hub, "GET", path, If_None_Match='W/"1"')
    assert (same.status_code, same.content) == (304, b"")
    head = hub.request("HEAD", f"/fhir{path}", Accept=XML)
    assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", f"{XML}; charset=utf-8")
    assert int(head.headers["content-length"]) == len(send(hub, "GET", path).content)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        pytest.param("GET", "/Patient/never-there", b"", 404, "not-found", id="an unknown id"),
        pytest.param("GET", "/Patient?nonsense=1", b"", 400, "not-supported", id="an unknown parameter"),
        pytest.param("POST", "/Patient", b"<Patient/>", 400, "structure", id="no namespace"),
        pytest.param("POST", "/Patient", b"{}", 400, "structure", id="JSON that says it is XML"),
        pytest.param("POST", "/Patient", b"", 400, "structure", id="nothing"),
        pytest.param("POST", "/Patient", b"<!DOCTYPE x>" + patient(), 400, "structure", id="a document type"),
        pytest.param("POST", "/Patient", b"<a>" * 200_000, 400, "structure", id="200,000 nested tags"),
        pytest.param("POST", "/Patient", patient('<active value="1"/>'), 400, "structure", id="a boolean in digits"),
    ],
)
def test_a_failure_is_an_outcome_in_xml(
    hub: RunningHub, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    answer = send(hub, method, path, body)
    assert (answer.status_code, tree(answer)["issue"][0]["code"]) == (status, code)


def test_what_xml_says_is_validated_as_in_json(hub: RunningHub) -> None:
    body = patient().replace(b"</name>", b'</name><gender value="red"/><birthDate value="2020-13-45"/>')
    answer = send(hub, "POST", "/Patient", body)
    assert answer.status_code == 422
    found = {issue["expression"][0] for issue in tree(answer)["issue"]}
    assert found == {"Patient.gender", "Patient.birthDate"}


def test_a_call_without_token_is_told_so_in_xml(hub: RunningHub) -> None:
    answer = hub.request("GET", "/fhir/Patient", token=None, Accept=XML)
    assert (answer.status_code, tree(answer)["issue"][0]["code"]) == (401, "login")


@pytest.mark.parametrize("kind", ["application/xml; charset=iso-8859-1", "application/xhtml+xml", "image/svg+xml"])
def test_xml_of_another_kind_is_refused(hub: RunningHub, kind: str) -> None:
    assert send(hub, "POST", "/Patient", patient(), Content_Type=kind).status_code == 415


@pytest.mark.parametrize("accept", ["application/cda+xml", f"{XML};q=0", f"{XML};q=x", "text/html"])
def test_a_format_that_cannot_be_written_is_said_in_json(hub: RunningHub, accept: str) -> None:
    answer = hub.request("GET", "/fhir/Patient?_count=1", Accept=accept)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (406, "not-supported")


def test_what_xml_cannot_carry_is_stored_and_read_in_json_only(hub: RunningHub) -> None:
    body = gate.write({"resourceType": "Patient", "name": [{"text": "a\x01"}]})
    made = send(hub, "POST", "/Patient", body, Content_Type=JSON)
    assert (made.status_code, made.headers["content-type"]) == (201, f"{JSON}; charset=utf-8")
    read = send(hub, "GET", f"/Patient/{made.json()['id']}")
    assert (read.status_code, tree(read)["issue"][0]["code"]) == (406, "not-supported")
