"""Binary over HTTP: content in and out under its own media type, and as FHIR (https://hl7.org/fhir/R4/binary.html#rest)."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from tests.running import RunningHub

pytestmark = pytest.mark.every_store
PDF = b"%PDF-1.7\n\x00\xff\xfe not text"


def stored(hub: RunningHub, content: bytes, kind: str, **headers: str) -> str:
    answer = hub.request("POST", "/fhir/Binary", content=content, Content_Type=kind, **headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def read(hub: RunningHub, id: str, accept: str = "*/*", query: str = "") -> httpx.Response:
    return hub.request("GET", f"/fhir/Binary/{id}{query}", Accept=accept)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        pytest.param(PDF, "application/pdf", id="a document"),
        pytest.param("é".encode("latin-1"), "text/plain; charset=iso-8859-1", id="text that is no UTF-8"),
        pytest.param(b'{"a": 1, "a": 2}', "application/json", id="JSON that is no FHIR"),
        pytest.param(b"<!DOCTYPE a><ClinicalDocument/>", "text/xml", id="XML that is no FHIR"),
        pytest.param(b"a=b", "application/x-www-form-urlencoded", id="a form"),
        pytest.param(bytes(range(256)) * 8_000, "image/dicom", id="two megabytes"),
    ],
)
def test_content_comes_back_byte_by_byte(hub: RunningHub, content: bytes, kind: str) -> None:
    id = stored(hub, content, kind, Accept="application/fhir+json")
    answer = read(hub, id)
    assert answer.content == content
    assert answer.headers["content-type"].startswith(kind)
    as_fhir = read(hub, id, "application/fhir+json").json()
    assert (as_fhir["contentType"], base64.b64decode(as_fhir["data"])) == (kind, content)


@pytest.mark.parametrize(
    ("accept", "query", "is_content"),
    [
        pytest.param("*/*", "", True, id="anything"),
        pytest.param("text/plain", "", True, id="its own type"),
        pytest.param("image/png", "", True, id="a type that it is not"),
        pytest.param("application/fhir+json", "", False, id="FHIR JSON"),
        pytest.param("application/fhir+xml", "", False, id="FHIR XML"),
        pytest.param("text/plain, application/fhir+json;q=0.1", "", False, id="FHIR among others"),
        pytest.param("*/*", "?_format=json", False, id="FHIR by _format"),
    ],
)
def test_content_is_for_who_names_no_fhir_format(hub: RunningHub, accept: str, query: str, is_content: bool) -> None:
    answer = read(hub, stored(hub, b"hello", "text/plain"), accept, query)
    assert (answer.content == b"hello") is is_content
    assert answer.headers["content-type"].startswith("application/fhir+") is not is_content


def test_every_way_to_a_version_knows_both_forms(hub: RunningHub) -> None:
    path = f"/fhir/Binary/{stored(hub, b'one', 'text/plain')}"
    assert hub.request("PUT", path, content=PDF, Content_Type="application/pdf").status_code == 200
    assert hub.request("GET", path).content == PDF
    assert hub.request("GET", f"{path}/_history/1").content == b"one"
    head = hub.request("HEAD", path)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(PDF)))
    assert hub.request("GET", path, If_None_Match='W/"2"').status_code == 304
    resource = {"resourceType": "Binary", "id": path[13:], "contentType": "text/plain", "data": "aGk="}
    assert hub.request("PUT", path, json=resource, Content_Type="application/json").status_code == 200
    assert hub.request("GET", path).content == b"hi"
    entry = {"request": {"method": "GET", "url": path[6:]}}
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    assert hub.request("POST", "/fhir", json=bundle, Accept="*/*").json()["entry"][0]["resource"]["data"] == "aGk="


def test_what_was_stored_does_not_run_as_a_page_of_the_server(hub: RunningHub) -> None:
    answer = read(hub, stored(hub, b"<script>alert(1)</script>", "text/html"), "text/html")
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")


def test_content_is_seen_by_who_sees_its_patient(hub: RunningHub) -> None:
    patients = [hub.create({"resourceType": "Patient"})["id"] for _ in range(2)]
    id = stored(hub, PDF, "application/pdf", X_Security_Context=f"Patient/{patients[0]}")
    assert read(hub, id).headers["x-security-context"] == f"Patient/{patients[0]}"
    for patient, status in zip(patients, (200, 404), strict=True):
        token = hub.token("patient/*.rs", patient=patient)
        assert hub.request("GET", f"/fhir/Binary/{id}", token=token).status_code == status


def test_failures_are_told_in_fhir(hub: RunningHub) -> None:
    answer = read(hub, "never-there", "application/pdf")
    assert (answer.status_code, answer.json()["resourceType"]) == (404, "OperationOutcome")
    refused = hub.request("POST", "/fhir/Patient", content=PDF, Content_Type="application/pdf")
    assert refused.status_code == 415, "only a Binary is any content"
