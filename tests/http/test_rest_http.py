"""R4's RESTful API, one test for each row of the comparison of servers that docs/reference/features.md shows."""

from __future__ import annotations

import base64
import gzip
import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import zstandard

from tests.running import RunningHub

pytestmark = pytest.mark.every_store

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


@pytest.fixture(scope="module")
def strict_hub(store_engine: str) -> Iterator[RunningHub]:
    """A hub that gives all ids itself and deletes many by condition."""
    env = {"PREDMP_UPDATE_CREATE": "off", "PREDMP_CONDITIONAL_DELETE": "multiple"}
    with RunningHub(env=env, engine=store_engine) as running:
        yield running


def patient(mark: str = "", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": "Exemple"}], "gender": "female", **more}
    return made | ({"identifier": [{"system": "urn:mark", "value": mark}]} if mark else {})


def mark() -> str:
    return uuid.uuid4().hex


def issue_codes(answer: httpx.Response) -> list[str]:
    return [issue["code"] for issue in answer.json()["issue"]]


def test_read_and_vread(hub: RunningHub) -> None:
    made = hub.create(patient())
    path = f"/fhir/Patient/{made['id']}"
    assert hub.request("PUT", path, json={**made, "gender": "other"}).status_code == 200
    assert hub.request("GET", path).json()["gender"] == "other"
    assert hub.request("GET", f"{path}/_history/1").json() == made
    assert hub.request("GET", f"{path}/_history/9").status_code == 404


@pytest.mark.parametrize(
    "path", ["/fhir/Patient/{id}", "/fhir/Patient?_id={id}", "/fhir/Patient/{id}/_history", "/fhir/metadata"]
)
def test_head(hub: RunningHub, path: str) -> None:
    path = path.format(id=hub.create(patient())["id"])
    head, full = (
        hub.request("HEAD", path, Accept_Encoding="identity"),
        hub.request("GET", path, Accept_Encoding="identity"),
    )
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(full.content))


def test_head_in_a_batch(hub: RunningHub) -> None:
    id = hub.create(patient())["id"]
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "HEAD", "url": f"Patient/{id}"}}],
    }
    entry = hub.request("POST", "/fhir", json=bundle).json()["entry"][0]
    assert entry["response"]["status"] == "200 OK"
    assert "resource" not in entry


def test_update_as_create(hub: RunningHub) -> None:
    id = mark()
    assert hub.request("PUT", f"/fhir/Patient/{id}", json=patient(id=id)).status_code == 201


def test_update_as_create_can_be_turned_off(strict_hub: RunningHub) -> None:
    id = mark()
    answer = strict_hub.request("PUT", f"/fhir/Patient/{id}", json=patient(id=id))
    assert answer.status_code == 405
    one = {"resource": patient(id=id), "request": {"method": "PUT", "url": f"Patient/{id}"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [one]}
    assert strict_hub.request("POST", "/fhir", json=bundle).status_code == 405
    made = strict_hub.create(patient())
    assert strict_hub.request("PUT", f"/fhir/Patient/{made['id']}", json={**made, "gender": "male"}).status_code == 200
    by_condition = strict_hub.request("PUT", f"/fhir/Patient?identifier=urn:mark|{id}", json=patient(id))
    assert by_condition.status_code == 201
    statement = strict_hub.request("GET", "/fhir/metadata", token=None).json()["rest"][0]["resource"][0]
    assert (statement["updateCreate"], statement["conditionalDelete"]) == (False, "multiple")


def test_an_identical_update_makes_no_new_version(hub: RunningHub) -> None:
    made = hub.create(patient())
    path = f"/fhir/Patient/{made['id']}"
    again = hub.request("PUT", path, json=made)
    assert (again.status_code, again.headers["etag"]) == (200, 'W/"1"')
    nothing = hub.request("PATCH", path, json={"gender": "female"}, Content_Type=MERGE_PATCH)
    assert (nothing.status_code, nothing.headers["etag"]) == (200, 'W/"1"')
    assert hub.search(f"Patient/{made['id']}/_history")["total"] == 1


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(JSON_PATCH, [{"op": "replace", "path": "/gender", "value": "other"}], id="JSON Patch"),
        pytest.param(MERGE_PATCH, {"gender": "other"}, id="merge-patch"),
        pytest.param(
            "application/fhir+json",
            {
                "resourceType": "Parameters",
                "parameter": [
                    {
                        "name": "operation",
                        "part": [
                            {"name": "type", "valueCode": "replace"},
                            {"name": "path", "valueString": "Patient.gender"},
                            {"name": "value", "valueCode": "other"},
                        ],
                    }
                ],
            },
            id="FHIRPath Patch",
        ),
    ],
)
def test_patch_and_conditional_patch(hub: RunningHub, kind: str, body: Any) -> None:
    value = mark()
    id = hub.create(patient(value))["id"]
    content = json.dumps(body).encode()
    answer = hub.request("PATCH", f"/fhir/Patient?identifier=urn:mark|{value}", content=content, Content_Type=kind)
    assert (answer.status_code, answer.json()["gender"]) == (200, "other")
    entry = {
        "resource": {"resourceType": "Binary", "contentType": kind, "data": base64.b64encode(content).decode()},
        "request": {"method": "PATCH", "url": f"Patient/{id}"},
    }
    if kind == "application/fhir+json":
        entry["resource"] = body
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert hub.request("POST", "/fhir", json=bundle).json()["entry"][0]["response"]["etag"] == 'W/"2"'
    nobody = hub.request("PATCH", f"/fhir/Patient?identifier=urn:mark|{mark()}", content=content, Content_Type=kind)
    assert nobody.status_code == 404


def test_delete(hub: RunningHub) -> None:
    path = f"/fhir/Patient/{hub.create(patient())['id']}"
    assert hub.request("DELETE", path).status_code == 204
    assert hub.request("GET", path).status_code == 410
    assert hub.request("DELETE", path).status_code == 204
    told = hub.request("DELETE", path, Prefer="return=OperationOutcome")
    assert (told.status_code, issue_codes(told)) == (200, ["informational"])


def test_delete_history(hub: RunningHub) -> None:
    made = hub.create(patient())
    path = f"/fhir/Patient/{made['id']}"
    hub.request("PUT", path, json={**made, "gender": "other"})
    vendor = hub.token("system/*.cruds", actor="Organization/vendor")
    assert hub.request("DELETE", f"{path}/_history", token=vendor).status_code == 403
    assert hub.request("DELETE", f"{path}/_history").status_code == 204
    assert hub.request("GET", f"{path}/_history/1").status_code == 404
    assert [e["resource"]["gender"] for e in hub.search(f"Patient/{made['id']}/_history")["entry"]] == ["other"]
    assert hub.request("DELETE", "/fhir/Patient/never-there/_history").status_code == 404


def test_conditional_create(hub: RunningHub) -> None:
    value = mark()
    condition = f"identifier=urn:mark|{value}"
    first = hub.request("POST", "/fhir/Patient", json=patient(value), If_None_Exist=condition)
    again = hub.request("POST", "/fhir/Patient", json=patient(value), If_None_Exist=condition)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["location"] == again.headers["location"]
    hub.create(patient(value))
    assert hub.request("POST", "/fhir/Patient", json=patient(value), If_None_Exist=condition).status_code == 412


def test_conditional_update(hub: RunningHub) -> None:
    value = mark()
    url = f"/fhir/Patient?identifier=urn:mark|{value}"
    assert [hub.request("PUT", url, json=patient(value, gender=g)).status_code for g in ("male", "other")] == [201, 200]
    hub.create(patient(value))
    assert hub.request("PUT", url, json=patient(value)).status_code == 412


def test_conditional_delete_single(hub: RunningHub) -> None:
    value = mark()
    url = f"/fhir/Patient?identifier=urn:mark|{value}"
    assert hub.request("DELETE", url).status_code == 204
    hub.create(patient(value))
    hub.create(patient(value))
    refused = hub.request("DELETE", url)
    assert (refused.status_code, issue_codes(refused)) == (412, ["multiple-matches"])
    assert hub.search(f"Patient?identifier=urn:mark|{value}")["total"] == 2


def test_conditional_delete_multiple(hub: RunningHub, strict_hub: RunningHub) -> None:
    value = mark()
    query = f"Patient?identifier=urn:mark|{value}"
    for running, url in ((hub, f"/fhir/{query}&_count=3"), (strict_hub, f"/fhir/{query}")):
        for _ in range(3):
            running.create(patient(value))
        told = running.request("DELETE", url, Prefer="return=OperationOutcome")
        assert told.json()["issue"][0]["diagnostics"] == "Deleted: 3.", told.text
        assert running.search(query)["total"] == 0
    assert hub.request("DELETE", "/fhir/Patient?_count=3").status_code == 400
    assert hub.request("DELETE", f"/fhir/{query}&_count=2000").status_code == 400
    assert hub.request("DELETE", f"/fhir/{query}&nonsense=1").status_code == 400


def test_conditional_read(hub: RunningHub) -> None:
    path = f"/fhir/Patient/{hub.create(patient())['id']}"
    first = hub.request("GET", path)
    assert hub.request("GET", path, If_None_Match=first.headers["etag"]).status_code == 304
    assert hub.request("GET", path, If_None_Match='W/"7"').status_code == 200
    assert hub.request("GET", path, If_Modified_Since=first.headers["last-modified"]).status_code == 304
    assert hub.request("GET", path, If_Modified_Since="Thu, 01 Jan 2026 00:00:00 GMT").status_code == 200
    assert hub.request("GET", path, If_Modified_Since="yesterday").status_code == 200


def test_if_match_and_if_none_match(hub: RunningHub) -> None:
    made = hub.create(patient())
    path = f"/fhir/Patient/{made['id']}"
    assert hub.request("PUT", path, json={**made, "gender": "male"}, If_Match='W/"2"').status_code == 412
    assert hub.request("DELETE", path, If_Match='W/"2"').status_code == 412
    assert hub.request("PUT", path, json={**made, "gender": "male"}, If_None_Match="*").status_code == 412
    assert hub.request("PUT", path, json={**made, "gender": "male"}, If_None_Match='W/"1"').status_code == 412
    assert hub.request("PUT", path, json={**made, "gender": "male"}, If_Match='W/"1"').status_code == 200
    id = mark()
    assert hub.request("PUT", f"/fhir/Patient/{id}", json=patient(id=id), If_None_Match="*").status_code == 201


def test_history_of_instance_type_and_system(hub: RunningHub) -> None:
    made = hub.create(patient())
    id = made["id"]
    second = hub.request("PUT", f"/fhir/Patient/{id}", json={**made, "gender": "other"}).json()
    hub.request("DELETE", f"/fhir/Patient/{id}")
    entries = hub.search(f"Patient/{id}/_history")["entry"]
    assert [entry["request"]["method"] for entry in entries] == ["DELETE", "PUT", "POST"]
    assert [entry["response"]["status"][:3] for entry in entries] == ["204", "200", "201"]
    for level in ("Patient/_history", "_history"):
        urls = [entry["fullUrl"] for entry in hub.search(f"{level}?_count=50")["entry"]]
        assert sum(url.endswith(f"Patient/{id}") for url in urls) == 3, level
    at = second["meta"]["lastUpdated"]
    one = hub.search(f"Patient/{id}/_history?_at={at}")["entry"]
    assert [entry["resource"]["gender"] for entry in one] == ["other"]
    since = hub.search(f"Patient/{id}/_history?_since={at}")["entry"]
    assert [entry["request"]["method"] for entry in since] == ["DELETE", "PUT"]
    counted = hub.search(f"Patient/{id}/_history?_summary=count")
    assert (counted["total"], "entry" in counted) == (3, False)
    part = hub.search(f"Patient/{id}/_history?_elements=gender")["entry"][1]["resource"]
    assert ("gender" in part, "name" in part) == (True, False)
    pages = [hub.search(f"Patient/{id}/_history?_count=2")]
    following = next(link["url"] for link in pages[0]["link"] if link["relation"] == "next")
    assert len(hub.request("GET", following).json()["entry"]) == 1


def test_batch_and_transaction(hub: RunningHub) -> None:
    value = mark()
    entries = [
        {
            "fullUrl": "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a",
            "resource": patient(value),
            "request": {"method": "POST", "url": "Patient"},
        },
        {
            "resource": {
                "resourceType": "Encounter",
                "status": "planned",
                "class": {"code": "VR"},
                "subject": {"reference": "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"},
            },
            "request": {"method": "POST", "url": "Encounter"},
        },
        {"request": {"method": "GET", "url": f"Patient?identifier=urn:mark|{value}"}},
    ]
    made = hub.request("POST", "/fhir", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}).json()
    assert [entry["response"]["status"][:3] for entry in made["entry"]] == ["201", "201", "200"]
    assert made["entry"][2]["resource"]["total"] == 1
    id = made["entry"][0]["response"]["location"].split("/")[-3]
    assert hub.search(f"Encounter?subject=Patient/{id}")["total"] == 1
    bad = [entries[0], {"resource": patient(gender="nonsense"), "request": {"method": "POST", "url": "Patient"}}]
    assert (
        hub.request("POST", "/fhir", json={"resourceType": "Bundle", "type": "transaction", "entry": bad}).status_code
        == 422
    )
    assert hub.search(f"Patient?identifier=urn:mark|{value}")["total"] == 1
    batch = hub.request("POST", "/fhir", json={"resourceType": "Bundle", "type": "batch", "entry": bad}).json()
    assert [entry["response"]["status"][:3] for entry in batch["entry"]] == ["201", "422"]


def test_conditional_references_in_a_transaction(hub: RunningHub) -> None:
    value = mark()
    id = hub.create(patient(value))["id"]
    encounter = {
        "resourceType": "Encounter",
        "status": "planned",
        "class": {"code": "VR"},
        "subject": {"reference": f"Patient?identifier=urn:mark|{value}"},
    }
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": encounter, "request": {"method": "POST", "url": "Encounter"}}],
    }
    made = hub.request("POST", "/fhir", json=bundle, Prefer="return=representation").json()
    assert made["entry"][0]["resource"]["subject"]["reference"] == f"Patient/{id}"


@pytest.mark.parametrize(
    "order",
    [
        pytest.param((0, 1, 2), id="the patient first"),
        pytest.param((2, 1, 0), id="the patient last, and between them what refers and is referred to"),
    ],
)
def test_conditional_references_to_what_the_transaction_itself_stores(hub: RunningHub, order: tuple[int, ...]) -> None:
    value = mark()
    visit: dict[str, Any] = {"resourceType": "Encounter", "status": "planned", "class": {"code": "VR"}}
    visit |= {
        "identifier": [{"system": "urn:mark", "value": value}],
        "subject": {"reference": f"Patient?identifier=urn:mark|{value}"},
    }
    reading = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    reading |= {"encounter": {"reference": f"Encounter?identifier=urn:mark|{value}"}}
    entries: list[dict[str, Any]] = [
        {"resource": {**patient(value), "id": value}, "request": {"method": "PUT", "url": f"Patient/{value}"}},
        {"resource": visit, "request": {"method": "POST", "url": "Encounter"}},
        {"resource": reading, "request": {"method": "POST", "url": "Observation"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entries[number] for number in order]}
    answer = hub.request("POST", "/fhir", json=bundle, Prefer="return=representation")
    assert answer.status_code == 200, answer.text
    stored = {entry["resource"]["resourceType"]: entry["resource"] for entry in answer.json()["entry"]}
    assert stored["Encounter"]["subject"]["reference"] == f"Patient/{value}"
    assert stored["Observation"]["encounter"]["reference"] == f"Encounter/{stored['Encounter']['id']}"
    assert [entry["resource"]["resourceType"] for entry in answer.json()["entry"]] == [
        entries[number]["resource"]["resourceType"] for number in order
    ]


def test_a_conditional_reference_that_nothing_answers_refuses_the_transaction(hub: RunningHub) -> None:
    value = mark()
    visit = {"resourceType": "Encounter", "status": "planned", "class": {"code": "VR"}}
    visit |= {"subject": {"reference": f"Patient?identifier=urn:mark|none-{value}"}}
    entries = [
        {"resource": visit, "request": {"method": "POST", "url": "Encounter"}},
        {"resource": patient(value), "request": {"method": "POST", "url": "Patient"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = hub.request("POST", "/fhir", json=bundle)
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (422, ["Bundle.entry[0]"])
    assert hub.search(f"Patient?identifier=urn:mark|{value}").get("total") == 0


def test_capabilities_and_mode(hub: RunningHub) -> None:
    full = hub.request("GET", "/fhir/metadata", token=None)
    assert (full.json()["resourceType"], full.json()["fhirVersion"]) == ("CapabilityStatement", "4.0.1")
    assert hub.request("GET", "/fhir/metadata?mode=normative", token=None).json()["fhirVersion"] == "4.0.1"
    assert hub.request("GET", "/fhir/metadata?mode=nonsense", token=None).status_code == 400
    assert hub.request("GET", "/fhir/metadata", token=None, If_None_Match=full.headers["etag"]).status_code == 304
    part = hub.request("GET", "/fhir/metadata?_elements=software", token=None).json()
    assert "rest" not in part
    assert part["software"] == full.json()["software"]


@pytest.mark.parametrize(
    ("summary", "has", "lacks"),
    [
        pytest.param("true", {"gender", "name"}, {"text", "communication"}, id="true"),
        pytest.param("text", {"text"}, {"gender"}, id="text"),
        pytest.param("data", {"gender", "communication"}, {"text"}, id="data"),
        pytest.param("false", {"text", "gender", "communication"}, set(), id="false"),
    ],
)
def test_summary(hub: RunningHub, summary: str, has: set[str], lacks: set[str]) -> None:
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Exemple</div>'}
    id = hub.create(
        patient(text=text, communication=[{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "fr"}]}}])
    )["id"]
    for path in (f"Patient/{id}?_summary={summary}", f"Patient?_id={id}&_summary={summary}"):
        got = hub.search(path)
        keys = (got["entry"][0]["resource"] if "entry" in got else got).keys()
        assert has <= keys, path
        assert not lacks & keys, path
    counted = hub.search(f"Patient?_id={id}&_summary=count")
    assert (counted["total"], "entry" in counted) == (1, False)


def test_elements(hub: RunningHub) -> None:
    id = hub.create(patient())["id"]
    got = hub.search(f"Patient/{id}?_elements=gender")
    assert got["gender"] == "female"
    assert "name" not in got
    assert [tag["code"] for tag in got["meta"]["tag"]] == ["SUBSETTED"]


def test_format_and_pretty(hub: RunningHub) -> None:
    path = f"/fhir/Patient/{hub.create(patient())['id']}"
    plain, pretty = hub.request("GET", path), hub.request("GET", f"{path}?_pretty=true")
    assert plain.text.count("\n") == 0
    assert pretty.text.count("\n") > 5
    assert pretty.json() == plain.json()
    as_xml, xml_pretty = (
        hub.request("GET", f"{path}?_format=xml"),
        hub.request("GET", f"{path}?_format=xml&_pretty=true"),
    )
    assert as_xml.headers["content-type"].startswith("application/fhir+xml")
    assert "".join(line.strip() for line in xml_pretty.text.splitlines()) == as_xml.text
    assert hub.request("GET", f"{path}?_format=ttl").status_code == 406


@pytest.mark.parametrize(
    ("prefer", "kind"),
    [
        pytest.param("return=minimal", None, id="minimal"),
        pytest.param("return=representation", "Patient", id="representation"),
        pytest.param("return=OperationOutcome", "OperationOutcome", id="OperationOutcome"),
    ],
)
def test_prefer_return(hub: RunningHub, prefer: str, kind: str | None) -> None:
    answer = hub.request("POST", "/fhir/Patient", json=patient(), Prefer=prefer)
    assert answer.status_code == 201
    assert (answer.json()["resourceType"] if answer.content else None) == kind


def test_unknown_parameter_and_prefer_handling(hub: RunningHub) -> None:
    assert hub.request("GET", "/fhir/Patient?nonsense=1").status_code == 400
    lenient = hub.request("GET", "/fhir/Patient?gender=female&nonsense=1&_count=1", Prefer="handling=lenient").json()
    notes = [entry["resource"] for entry in lenient["entry"] if entry["search"]["mode"] == "outcome"]
    assert "nonsense" in json.dumps(notes)
    assert "nonsense" not in next(link["url"] for link in lenient["link"] if link["relation"] == "self")


@pytest.mark.parametrize(
    ("coding", "pack", "unpack"),
    [
        pytest.param("gzip", gzip.compress, gzip.decompress, id="gzip"),
        pytest.param(
            "zstd",
            zstandard.ZstdCompressor().compress,
            lambda b: zstandard.ZstdDecompressor().decompressobj().decompress(b),
            id="zstd",
        ),
    ],
)
def test_compression_both_ways(hub: RunningHub, coding: str, pack: Any, unpack: Any) -> None:
    body = json.dumps(patient(name=[{"family": "x" * 4_000}])).encode()
    made = hub.request("POST", "/fhir/Patient", content=pack(body), Content_Encoding=coding)
    assert made.status_code == 201
    url = str(hub.http.base_url.join(f"/fhir/Patient/{made.json()['id']}"))
    headers = {"Authorization": f"Bearer {hub.operator}", "Accept-Encoding": coding}
    with httpx.stream("GET", url, headers=headers, trust_env=False) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == coding
    assert len(raw) < 1_000
    assert json.loads(unpack(raw))["id"] == made.json()["id"]
    assert hub.request("POST", "/fhir/Patient", content=body, Content_Encoding=coding).status_code == 400
    assert hub.request("POST", "/fhir/Patient", content=body, Content_Encoding="br").status_code == 415
