"""$export and $import over HTTP: Bulk Data Access 2.0, and the import proposal beside it."""

from __future__ import annotations

import gzip
import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from fhir_server import gate
from tests.http.test_jobs_http import ended, where
from tests.http.test_triage_http import CALM, GRAVE, new_patient, observation
from tests.running import PATIENCE_S, RunningHub

NDJSON = "application/fhir+ndjson"
pytestmark = pytest.mark.durable_stores

ASYNC = "respond-async"


def export(hub: RunningHub, path: str, *, token: str = "", body: Any = None) -> dict[str, Any]:
    """Run an export and return its manifest."""
    method = "GET" if body is None else "POST"
    kicked = hub.request(method, f"/fhir/{path}", json=body, token=token, Prefer=ASYNC)
    answer = ended(hub, where(kicked), token=token)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    manifest: dict[str, Any] = answer.json()
    return manifest


def lines(hub: RunningHub, manifest: dict[str, Any], *, token: str = "", group: str = "output") -> list[dict[str, Any]]:
    """Return the resources of the files of a manifest."""
    found = []
    for item in manifest[group]:
        answer = hub.request("GET", item["url"], token=token, Accept=NDJSON)
        assert answer.headers["content-type"] == NDJSON
        rows = [json.loads(line) for line in answer.text.splitlines()]
        assert len(rows) == item["count"]
        found += rows
    return found


def ids(resources: list[dict[str, Any]], type: str) -> set[str]:
    return {resource["id"] for resource in resources if resource["resourceType"] == type}


@pytest.fixture(scope="module")
def world(store_engine: str) -> Iterator[tuple[RunningHub, dict[str, str]]]:
    """A hub of this module: two patients, a group of the first, an organization; files of 4 kB."""
    with RunningHub("--jobs-file", "4000", engine=store_engine) as hub:
        one = hub.create({"resourceType": "Patient", "name": [{"family": "Un"}], "gender": "male"})["id"]
        two = hub.create({"resourceType": "Patient", "name": [{"family": "Deux"}]})["id"]
        organization = hub.create({"resourceType": "Organization", "name": "o"})["id"]
        member = [
            {"entity": {"reference": f"Patient/{one}"}},
            {"entity": {"reference": f"Patient/{two}"}, "inactive": True},
        ]
        group = hub.create({"resourceType": "Group", "type": "person", "actual": True, "member": member})["id"]
        for n in range(30):
            subject = {"reference": f"Patient/{one if n % 3 else two}"}
            status = "final" if n % 2 else "preliminary"
            hub.create({"resourceType": "Observation", "status": status, "code": {"text": f"x{n}"}, "subject": subject})
        yield hub, {"one": one, "two": two, "organization": organization, "group": group}


def test_the_system_is_exported_in_files_of_bounded_size(world: tuple[RunningHub, dict[str, str]]) -> None:
    hub, known = world
    manifest = export(hub, "$export")
    assert manifest["requiresAccessToken"] is True and manifest["error"] == []
    assert manifest["request"].endswith("/fhir/$export") and manifest["transactionTime"].endswith("Z")
    assert len([item for item in manifest["output"] if item["type"] == "Observation"]) > 1
    found = lines(hub, manifest)
    assert ids(found, "Patient") == {known["one"], known["two"]}
    assert len(ids(found, "Observation")) == 30 and known["organization"] in ids(found, "Organization")
    assert all(resource["meta"]["versionId"] for resource in found)


def test_a_file_comes_packed_where_that_is_asked_for(world: tuple[RunningHub, dict[str, str]]) -> None:
    hub, _ = world
    url = export(hub, "$export?_type=Patient")["output"][0]["url"]
    with hub.http.stream(
        "GET", url, headers={"Authorization": f"Bearer {hub.operator}", "Accept-Encoding": "gzip"}
    ) as a:
        raw = b"".join(a.iter_raw())
    assert a.headers["content-encoding"] == "gzip"
    assert len(gzip.decompress(raw).splitlines()) == 2
    plain = hub.request("GET", url, Accept_Encoding="identity")
    assert "content-encoding" not in plain.headers and plain.content == gzip.decompress(raw)
    assert hub.request("HEAD", url).content == b""


@pytest.mark.parametrize(
    ("path", "patients"),
    [
        pytest.param("Patient/$export", {"one", "two"}, id="all patients, and nothing of nobody"),
        pytest.param("Group/{group}/$export", {"one"}, id="the active members of a group"),
    ],
)
def test_records_are_exported(world: tuple[RunningHub, dict[str, str]], path: str, patients: set[str]) -> None:
    hub, known = world
    found = lines(hub, export(hub, path.format(**known)))
    assert ids(found, "Patient") == {known[name] for name in patients}
    assert {r["resourceType"] for r in found} <= {"Patient", "Observation", "Group"}, "nothing that is nobody's"
    subjects = {r["subject"]["reference"] for r in found if r["resourceType"] == "Observation"}
    assert subjects == {f"Patient/{known[name]}" for name in patients}


def test_a_post_names_patients(world: tuple[RunningHub, dict[str, str]]) -> None:
    hub, known = world
    parameter: list[dict[str, Any]] = [
        {"name": "patient", "valueReference": {"reference": f"Patient/{known['two']}"}},
        {"name": "_type", "valueString": "Patient,Observation"},
    ]
    found = lines(hub, export(hub, "Patient/$export", body={"resourceType": "Parameters", "parameter": parameter}))
    assert ids(found, "Patient") == {known["two"]} and len(ids(found, "Observation")) == 10
    parameter[0]["valueReference"] = {"reference": f"http://127.0.0.1:{hub.port}/fhir/Patient/{known['two']}"}
    again = lines(hub, export(hub, "Patient/$export", body={"resourceType": "Parameters", "parameter": parameter}))
    assert ids(again, "Patient") == {known["two"]}, "by its url"
    parameter[0]["valueReference"] = {"reference": "Patient/nobody"}
    body = {"resourceType": "Parameters", "parameter": parameter}
    assert hub.request("POST", "/fhir/Patient/$export", json=body, Prefer=ASYNC).status_code == 404


@pytest.mark.parametrize(
    ("reference", "there"),
    [
        pytest.param("{base}/fhir/Patient/{one}", True, id="a url of this server"),
        pytest.param("Patient/{one}/_history/1", True, id="a version"),
        pytest.param("https://elsewhere.example/fhir/Patient/{one}", False, id="another server's patient of that id"),
        pytest.param("urn:uuid:{one}", False, id="a name"),
    ],
)
def test_a_member_of_a_group_is(world: tuple[RunningHub, dict[str, str]], reference: str, there: bool) -> None:
    hub, known = world
    entity = {"reference": reference.format(base=f"http://127.0.0.1:{hub.port}", **known)}
    group = hub.create({"resourceType": "Group", "type": "person", "actual": True, "member": [{"entity": entity}]})
    path = f"Group/{group['id']}/$export?_type=Patient"
    assert ids(lines(hub, export(hub, path)), "Patient") == ({known["one"]} if there else set())
    hub.request("DELETE", f"/fhir/Group/{group['id']}")


def test_a_manifest_repeats_the_request_as_it_was_sent(world: tuple[RunningHub, dict[str, str]]) -> None:
    hub, _ = world
    asked = "$export?_type=Patient,Organization&_typeFilter=Patient%3Fgender%3Dmale&_since=2026-01-01T00:00:00%2B01:00"
    assert export(hub, asked)["request"] == f"http://127.0.0.1:{hub.port}/fhir/{asked}"


def test_filters_and_elements_narrow_an_export(world: tuple[RunningHub, dict[str, str]]) -> None:
    hub, _ = world
    query = "_typeFilter=Observation%3Fstatus%3Dfinal%26code%3Ax%3D1"
    assert hub.request("GET", f"/fhir/$export?{query}", Prefer=ASYNC).status_code == 400
    query = (
        "_type=Observation,Patient&_typeFilter=Observation%3Fstatus%3Dfinal&_elements=Observation.status,Patient.gender"
    )
    found = lines(hub, export(hub, f"$export?{query}"))
    observations = [r for r in found if r["resourceType"] == "Observation"]
    assert len(observations) == 15 and {r["status"] for r in observations} == {"final"}
    assert all("subject" not in r and "code" in r for r in observations), "mandatory elements stay"
    assert all("name" not in r for r in found)
    assert found[0]["meta"]["tag"][0]["code"] == "SUBSETTED"


def test_an_export_since_the_last_one_has_what_changed_and_what_was_deleted(own_hub: RunningHub) -> None:
    hub = own_hub
    gone, kept = (hub.create({"resourceType": "Patient"})["id"] for _ in range(2))
    at = export(hub, "$export?_type=Patient")["transactionTime"]
    hub.request("DELETE", f"/fhir/Patient/{gone}")
    new = hub.create({"resourceType": "Patient"})["id"]
    manifest = export(hub, f"$export?_type=Patient&_since={at.replace('+', '%2B')}")
    assert ids(lines(hub, manifest), "Patient") == {new} != {kept}
    deleted = lines(hub, manifest, group="deleted")
    assert [d["entry"][0]["request"] for d in deleted] == [{"method": "DELETE", "url": f"Patient/{gone}"}]


def test_an_export_while_others_write_has_each_resource_once_as_it_was(own_hub: RunningHub) -> None:
    hub = own_hub
    before = [hub.create({"resourceType": "Basic", "code": {"text": "0"}})["id"] for _ in range(40)]
    doomed = before.pop()
    stop = threading.Event()
    headers = {"Authorization": f"Bearer {hub.operator}"}

    def write(own: list[str]) -> None:
        with httpx.Client(base_url=hub.http.base_url, headers=headers, timeout=PATIENCE_S, trust_env=False) as http:
            for n in range(1, 10_000):
                if stop.is_set():
                    return
                body = {"resourceType": "Basic", "id": own[n % len(own)], "code": {"text": str(n)}}
                http.put(f"/fhir/Basic/{body['id']}", json=body)
                http.post("/fhir/Basic", json={"resourceType": "Basic", "code": {"text": "new"}})

    writers = [threading.Thread(target=write, args=(before[start::3],)) for start in range(3)]
    for writer in writers:
        writer.start()
    try:
        manifests = []
        for _ in range(3):
            manifests.append(export(hub, "$export?_type=Basic"))
            if doomed:
                hub.request("DELETE", f"/fhir/Basic/{doomed}")
                doomed = ""
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    for manifest in manifests:
        found = lines(hub, manifest)
        every = [resource["id"] for resource in found]
        assert len(set(every)) == len(every) and set(before) <= set(every)
        assert all(resource["meta"]["lastUpdated"] <= manifest["transactionTime"] for resource in found)


def test_an_export_shows_only_what_its_caller_may_see(world: tuple[RunningHub, dict[str, str]]) -> None:
    hub, known = world
    hub.create({"resourceType": "Practitioner", "id": "vendor"})
    hub.request("PUT", "/fhir/Practitioner/vendor", json={"resourceType": "Practitioner", "id": "vendor"})
    token = hub.token("user/*.rs", actor="Practitioner/vendor", sub="vendor")
    assert ids(lines(hub, export(hub, "Patient/$export", token=token), token=token), "Patient") == set()
    team = {
        "resourceType": "CareTeam",
        "status": "active",
        "subject": {"reference": f"Patient/{known['one']}"},
        "participant": [{"member": {"reference": "Practitioner/vendor"}}],
    }
    hub.create(team)
    manifest = export(hub, "Patient/$export", token=token)
    found = lines(hub, manifest, token=token)
    assert ids(found, "Patient") == {known["one"]} and len(ids(found, "Observation")) == 20
    other = hub.token("user/*.rs", actor="Practitioner/other", sub="other")
    assert hub.request("GET", manifest["output"][0]["url"], token=other).status_code == 404
    mine = hub.token("patient/*.rs", patient=known["two"], sub="p")
    assert ids(lines(hub, export(hub, "Patient/$export", token=mine), token=mine), "Patient") == {known["two"]}


@pytest.mark.parametrize(
    ("query", "status", "lenient"),
    [
        pytest.param("_outputFormat=text/csv", 400, 202, id="another format"),
        pytest.param("_type=Nothing", 400, 202, id="a type that R4 does not have"),
        pytest.param("_since=yesterday", 400, 202, id="a time that is none"),
        pytest.param("_type=", 400, 202, id="types that are left empty"),
        pytest.param("_since=&_type=Basic", 400, 202, id="a time that is left empty"),
        pytest.param("_typeFilter=Patient%3Fnonsense%3D1", 400, 202, id="a filter that cannot be run"),
        pytest.param("_typeFilter=Patient%3F_sort%3Dname", 400, 202, id="a filter with a parameter of results"),
        pytest.param("_elements=Patient.gendre", 400, 202, id="an element that the type does not have"),
        pytest.param("includeAssociatedData=LatestProvenanceResources", 400, 202, id="associated data"),
        pytest.param("organizeOutputBy=Patient", 400, 202, id="files by patient"),
        pytest.param("patient=Patient/1", 400, 202, id="patients in a GET"),
        pytest.param("unknown=1", 400, 202, id="a parameter that nobody knows"),
        pytest.param("_outputFormat=ndjson&_since=2020-01-01T00:00:00Z&_type=Basic", 202, 202, id="nothing at all"),
    ],
)
def test_a_kick_off_is_refused_for(hub: RunningHub, query: str, status: int, lenient: int) -> None:
    answer = hub.request("GET", f"/fhir/$export?{query}", Prefer=ASYNC)
    assert answer.status_code == status, answer.text
    answer_leniently = hub.request("GET", f"/fhir/$export?{query}", Prefer=f"{ASYNC}, handling=lenient")
    assert answer_leniently.status_code == lenient, answer_leniently.text
    for kicked in (answer, answer_leniently):
        if kicked.status_code == 202:
            hub.request("DELETE", where(kicked))


def test_lenient_handling_names_what_it_left_out(world: tuple[RunningHub, dict[str, str]]) -> None:
    hub, _ = world
    kicked = hub.request("GET", "/fhir/$export?_type=Group&unknown=1", Prefer=f"{ASYNC}; handling=lenient")
    manifest = ended(hub, where(kicked)).json()
    assert "unknown" in lines(hub, manifest, group="error")[0]["issue"][0]["diagnostics"]


def test_an_export_is_asked_for_asynchronously(hub: RunningHub) -> None:
    answer = hub.request("GET", "/fhir/$export")
    assert answer.status_code == 400 and "respond-async" in answer.text
    reads = hub.token("system/Group.rs")
    assert hub.request("GET", "/fhir/$export?_type=Patient", token=reads, Prefer=ASYNC).status_code == 403
    kicked = hub.request("GET", "/fhir/$export?_type=Group", token=reads, Prefer=ASYNC)
    assert kicked.status_code == 202
    hub.request("DELETE", where(kicked), token=reads)


# --- import ----------------------------------------------------------------------------------------------------------


def send(hub: RunningHub, body: bytes, query: str = "", **headers: str) -> dict[str, Any]:
    """Import lines and return the manifest."""
    headers.setdefault("Content_Type", NDJSON)
    answer = ended(hub, where(hub.request("POST", f"/fhir/$import{query}", content=body, **headers)))
    assert answer.status_code == 200, answer.text
    manifest: dict[str, Any] = answer.json()
    return manifest


def ndjson(*resources: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(resource).encode() + b"\n" for resource in resources)


def test_lines_are_stored_with_their_ids_and_bad_ones_are_told_by_number(hub: RunningHub) -> None:
    mark = uuid.uuid4().hex[:12]
    good = {"resourceType": "Patient", "id": f"a-{mark}", "name": [{"family": mark}], "gender": "female"}
    observation = {"resourceType": "Observation", "id": f"o-{mark}", "status": "final", "code": {"text": "x"}, "valueQuantity": {"value": 1.0}, "subject": {"reference": f"Patient/a-{mark}"}}  # fmt: skip
    new = {"resourceType": "Patient", "name": [{"family": mark}]}
    body = (
        ndjson(good) + b"\n{broken\n" + ndjson({**good, "gender": "x"}, observation, {"resourceType": "Nothing"}, new)
    )
    manifest = send(hub, body)
    assert {o["type"]: o["count"] for o in manifest["output"]} == {"Patient": 2, "Observation": 1}
    errors = lines(hub, manifest, group="error")
    assert [e["issue"][0]["diagnostics"].partition(":")[0] for e in errors] == ["Line 3", "Line 4", "Line 6"]
    assert errors[1]["issue"][0]["expression"] == ["Patient.gender"]
    assert mark not in json.dumps(errors)
    assert hub.search(f"Patient?family={mark}")["total"] == 2
    stored = hub.request("GET", f"/fhir/Observation/o-{mark}")
    assert stored.json()["meta"]["versionId"] == "1" and '"value":1.0' in stored.text


def test_an_import_again_makes_no_version_and_a_change_makes_one(hub: RunningHub) -> None:
    one = {"resourceType": "Patient", "id": f"i-{uuid.uuid4().hex}", "gender": "male"}
    for wanted, resource in ((1, one), (1, one), (2, {**one, "gender": "female"})):
        send(hub, ndjson(resource))
        assert hub.request("GET", f"/fhir/Patient/{one['id']}").json()["meta"]["versionId"] == str(wanted)


def test_a_packed_body_is_unpacked_as_it_comes(hub: RunningHub) -> None:
    many = ndjson(*({"resourceType": "Basic", "id": f"g-{uuid.uuid4().hex}", "code": {"text": "x"}} for _ in range(50)))
    manifest = send(hub, gzip.compress(many[:900]) + gzip.compress(many[900:]), Content_Encoding="gzip")
    assert manifest["output"] == [{"type": "Basic", "count": 50}]


def test_conditional_references_are_resolved(hub: RunningHub) -> None:
    mark = uuid.uuid4().hex
    patient = hub.create({"resourceType": "Patient", "identifier": [{"system": "urn:x", "value": mark}]})["id"]
    body = ndjson(
        {"resourceType": "Flag", "id": f"f-{mark}", "status": "active", "code": {"text": "x"}, "subject": {"reference": f"Patient?identifier=urn:x|{mark}"}},
        {"resourceType": "Flag", "id": f"n-{mark}", "status": "active", "code": {"text": "x"}, "subject": {"reference": "Patient?identifier=urn:x|nobody"}},
    )  # fmt: skip
    manifest = send(hub, body)
    assert hub.request("GET", f"/fhir/Flag/f-{mark}").json()["subject"]["reference"] == f"Patient/{patient}"
    (refused,) = lines(hub, manifest, group="error")
    assert refused["issue"][0]["diagnostics"].startswith("Line 2: ") and "Bundle" not in json.dumps(refused)


def test_an_import_is_history_and_triage_looks_only_where_asked(hub: RunningHub) -> None:
    for query, alerts in (("", 0), ("?triage=true", 1)):
        patient = new_patient(hub)
        grave = [observation(name, value, patient) for name, value in {**CALM, **GRAVE}.items()]
        send(hub, b"\n".join(map(gate.write, grave)), query)
        assert hub.search(f"Task?patient=Patient/{patient}")["total"] == alerts


@pytest.fixture
def files() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A server of files, by name."""
    kept: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = kept.get(self.path.strip("/"))
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", kept
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "as_parameters", [pytest.param(False, id="a JSON manifest"), pytest.param(True, id="Parameters")]
)
def test_a_manifest_names_inputs(hub: RunningHub, files: tuple[str, dict[str, bytes]], as_parameters: bool) -> None:
    root, kept = files
    marks = [uuid.uuid4().hex, uuid.uuid4().hex]
    kept["a"] = ndjson({"resourceType": "Patient", "id": marks[0]})
    kept["b"] = ndjson({"resourceType": "Basic", "id": marks[1], "code": {"text": "x"}}) + b"broken"
    urls = [("Patient", f"{root}/a"), ("Basic", f"{root}/b")]
    body: dict[str, Any] = {
        "inputFormat": NDJSON,
        "inputSource": root,
        "storageDetail": {"type": "https"},
        "input": [{"type": type, "url": url} for type, url in urls],
    }
    if as_parameters:
        parts = [
            {"name": "input", "part": [{"name": "type", "valueCode": t}, {"name": "url", "valueUri": u}]}
            for t, u in urls
        ]
        body = {"resourceType": "Parameters", "parameter": [{"name": "inputFormat", "valueCode": NDJSON}, *parts]}
    kind = "application/fhir+json" if as_parameters else "application/json"
    manifest = send(hub, json.dumps(body).encode(), Content_Type=kind, Prefer=ASYNC)
    assert [(o["type"], o["count"], o["inputUrl"]) for o in manifest["output"]] == [
        ("Patient", 1, f"{root}/a"),
        ("Basic", 1, f"{root}/b"),
    ]
    assert lines(hub, manifest, group="error")[0]["issue"][0]["diagnostics"].startswith("Input 2, line 2:")


def test_a_packed_input_is_read_and_one_of_another_type_refused(
    hub: RunningHub, files: tuple[str, dict[str, bytes]]
) -> None:
    root, kept = files
    mark = uuid.uuid4().hex
    kept["a.ndjson.gz"] = gzip.compress(ndjson({"resourceType": "Patient", "id": mark}))
    kept["b"] = ndjson(*({"resourceType": type, "id": mark, "code": {"text": "x"}} for type in ("Basic", "Medication")))
    inputs = [{"type": "Patient", "url": f"{root}/a.ndjson.gz"}, {"type": "Basic", "url": f"{root}/b"}]
    manifest = send(hub, json.dumps({"input": inputs}).encode(), Content_Type="application/json", Prefer=ASYNC)
    assert [(o["type"], o["count"]) for o in manifest["output"]] == [("Patient", 1), ("Basic", 1)]
    (told,) = (outcome["issue"][0]["diagnostics"] for outcome in lines(hub, manifest, group="error"))
    assert told == "Input 2, line 2: The resource is not of the type that its input says (Basic)."
    assert hub.request("GET", f"/fhir/Medication/{mark}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(gzip.compress(b"{}")[:-4], id="that ends too early"),
        pytest.param(b"\x1f\x8bno", id="that is none further on"),
    ],
)
def test_a_packed_input_fails_the_job(hub: RunningHub, files: tuple[str, dict[str, bytes]], body: bytes) -> None:
    root, kept = files
    kept["a"] = body
    kicked = hub.request("POST", "/fhir/$import", json={"input": [{"url": f"{root}/a"}]})
    assert ended(hub, where(kicked)).status_code == 400


def test_an_input_that_is_not_there_fails_the_job(hub: RunningHub, files: tuple[str, dict[str, bytes]]) -> None:
    body = {"input": [{"type": "Patient", "url": f"{files[0]}/none"}]}
    kicked = hub.request("POST", "/fhir/$import", json=body, Content_Type="application/json")
    assert ended(hub, where(kicked)).status_code == 400


@pytest.mark.parametrize(
    ("body", "kind", "token", "status"),
    [
        pytest.param(b"{}", "application/json", {}, 400, id="a manifest without inputs"),
        pytest.param(b'{"input":[{"type":"Patient","url":"http://10.0.0.1/x"}]}', "application/json", {}, 422, id="an input at a private address"),
        pytest.param(b'{"input":[{"url":"https://example.org/x"}],"mode":"x"}', "application/json", {}, 400, id="a parameter that nobody knows"),
        pytest.param(b'{"input":[{"url":"https://example.org/x","type":"Person2"}]}', "application/json", {}, 400, id="a type that R4 does not have"),
        pytest.param(b'{"inputFormat":"text/csv","input":[{"url":"https://example.org/x"}]}', "application/json", {}, 400, id="another format"),
        pytest.param(b'{"resourceType":"Patient"}', NDJSON, {"actor": "Practitioner/1"}, 403, id="a caller who is not the operator"),
    ],
)  # fmt: skip
def test_an_import_is_refused_for(hub: RunningHub, body: bytes, kind: str, token: dict[str, str], status: int) -> None:
    actor = hub.token("system/*.cruds", **token) if token else ""
    answer = hub.request("POST", "/fhir/$import", content=body, Content_Type=kind, token=actor)
    assert answer.status_code == status, answer.text
