"""Four server processes on one store, a SQLite file or a MongoDB: they race on one key, see each other at once, and tell events once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.running import PATIENCE_S, RunningHub

PROCESSES, REQUESTS = 4, 200


@pytest.fixture(scope="module", params=["sqlite", "mongo"])
def hubs(request: pytest.FixtureRequest) -> Iterator[list[RunningHub]]:
    """Hubs on the store of the first."""
    made = [RunningHub(engine=request.param), *(RunningHub() for _ in range(PROCESSES - 1))]
    try:
        for hub in made:
            hub.store = made[0].store
            hub.start()
        for hub in made[1:]:
            hub._operator = made[0].operator
        yield made
    finally:
        for hub in reversed(made):
            hub.__exit__(None, None, None)


Ask = Callable[[httpx.AsyncClient, int], Awaitable[httpx.Response]]


async def race(hubs: list[RunningHub], ask: Ask, count: int = REQUESTS) -> list[httpx.Response]:
    """Send requests at once, spread over the processes; none may fail on our side."""
    headers = {"Authorization": f"Bearer {hubs[0].operator}", "Content-Type": "application/fhir+json"}
    clients = [
        httpx.AsyncClient(base_url=hub.http.base_url, headers=headers, timeout=PATIENCE_S, trust_env=False)
        for hub in hubs
    ]
    try:
        answers = await asyncio.gather(*(ask(clients[n % len(clients)], n) for n in range(count)))
    finally:
        for client in clients:
            await client.aclose()
    failed = [(answer.status_code, answer.text[:300]) for answer in answers if answer.status_code >= 500]
    assert not failed, failed[:3]
    return answers


def patient(value: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": "urn:race", "value": value}], **more}


def total(hub: RunningHub, query: str) -> int:
    found: int = hub.search(f"{query}&_summary=count")["total"]
    return found


async def test_200_conditional_creates_of_one_key_make_one(hubs: list[RunningHub]) -> None:
    async def create(client: httpx.AsyncClient, n: int) -> httpx.Response:
        return await client.post(
            "/fhir/Patient", json=patient("create"), headers={"If-None-Exist": "identifier=urn:race|create"}
        )

    answers = await race(hubs, create)
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: REQUESTS - 1}
    assert len({answer.headers["location"].split("/_history")[0].rsplit("/", 1)[1] for answer in answers}) == 1
    assert [total(hub, "Patient?identifier=urn:race|create") for hub in hubs] == [1] * PROCESSES


async def test_200_conditional_updates_of_one_key_make_one_with_as_many_versions(hubs: list[RunningHub]) -> None:
    async def update(client: httpx.AsyncClient, n: int) -> httpx.Response:
        body = patient("update", birthDate=f"{1800 + n}-01-01")
        return await client.put("/fhir/Patient?identifier=urn:race|update", json=body)

    answers = await race(hubs, update)
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: REQUESTS - 1}
    versions = sorted(int(answer.headers["etag"].strip('W/"')) for answer in answers)
    assert versions == list(range(1, REQUESTS + 1)), "each update is a version of its own"
    assert [total(hub, "Patient?identifier=urn:race|update") for hub in hubs] == [1] * PROCESSES
    (entry,) = hubs[1].search("Patient?identifier=urn:race|update")["entry"]
    last = next(answer for answer in answers if answer.headers["etag"] == f'W/"{REQUESTS}"')
    assert entry["resource"]["birthDate"] == last.json()["birthDate"]


async def test_200_conditional_patches_of_one_key_lose_none(hubs: list[RunningHub]) -> None:
    id = hubs[0].create(patient("patch"))["id"]
    kind = {"Content-Type": "application/json-patch+json"}

    async def patch(client: httpx.AsyncClient, n: int) -> httpx.Response:
        change = {"op": "add", "path": "/identifier/-", "value": {"system": "urn:patch", "value": str(n)}}
        url = "/fhir/Patient?identifier=urn:race|patch"
        return await client.patch(url, content=json.dumps([change]), headers=kind)

    answers = await race(hubs, patch)
    assert {answer.status_code for answer in answers} == {200}
    read = hubs[1].request("GET", f"/fhir/Patient/{id}").json()
    assert {one["value"] for one in read["identifier"][1:]} == {str(n) for n in range(REQUESTS)}
    assert read["meta"]["versionId"] == str(REQUESTS + 1)


async def test_of_updates_patches_and_deletes_of_one_version_one_is_done(hubs: list[RunningHub]) -> None:
    id = hubs[0].create(patient("version"))["id"]

    async def change(client: httpx.AsyncClient, n: int) -> httpx.Response:
        match, url = {"If-Match": 'W/"1"'}, f"/fhir/Patient/{id}"
        if n % 3 == 0:
            return await client.delete(url, headers=match)
        if n % 3 == 1:
            return await client.put(url, json=patient("version", id=id, active=True), headers=match)
        merge = {**match, "Content-Type": "application/merge-patch+json"}
        return await client.patch(url, content=b'{"active":false}', headers=merge)

    answers = await race(hubs, change, 60)
    assert sum(answer.status_code in (200, 204) for answer in answers) == 1
    refused = {answer.status_code for answer in answers if answer.status_code not in (200, 204)}
    assert refused <= {404, 412}, "404: a patch of what the deletion that was done has left nothing of"
    assert hubs[1].search(f"Patient/{id}/_history")["total"] == 2


async def test_transactions_that_meet_on_the_same_conditions_crosswise_are_all_done(hubs: list[RunningHub]) -> None:
    """Each names two Patients by conditions, in either order, and links each to the other."""
    urls = ("urn:uuid:00000000-0000-4000-8000-00000000000a", "urn:uuid:00000000-0000-4000-8000-00000000000b")

    async def both(client: httpx.AsyncClient, n: int) -> httpx.Response:
        entries: list[dict[str, Any]] = []
        for place, key in enumerate(("left", "right") if n % 2 else ("right", "left")):
            link = [{"other": {"reference": urls[1 - place]}, "type": "seealso"}]
            resource = patient(key, link=link, birthDate=f"{1800 + n}-01-01")
            request = {"method": "PUT", "url": f"Patient?identifier=urn:race|{key}"}
            entries.append({"fullUrl": urls[place], "resource": resource, "request": request})
        return await client.post("/fhir", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})

    answers = await race(hubs, both, 80)
    assert {answer.status_code for answer in answers} == {200}
    (left,), (right,) = (hubs[1].search(f"Patient?identifier=urn:race|{key}")["entry"] for key in ("left", "right"))
    for one, other in ((left["resource"], right["resource"]), (right["resource"], left["resource"])):
        assert one["link"][0]["other"]["reference"] == f"Patient/{other['id']}"
        assert one["meta"]["versionId"] == "80" and one["birthDate"] == other["birthDate"]
        versions = hubs[2].search(f"Patient/{one['id']}/_history?_count=100")["entry"]
        assert [entry["resource"]["meta"]["versionId"] for entry in versions] == [str(n) for n in range(80, 0, -1)]


async def test_counts_by_version_aware_updates_lose_none(hubs: list[RunningHub]) -> None:
    id = hubs[0].create(patient("count", multipleBirthInteger=0))["id"]

    async def count(client: httpx.AsyncClient, n: int) -> httpx.Response:
        while True:
            now = await client.get(f"/fhir/Patient/{id}")
            body = {**now.json(), "multipleBirthInteger": now.json()["multipleBirthInteger"] + 1}
            answer = await client.put(f"/fhir/Patient/{id}", json=body, headers={"If-Match": now.headers["etag"]})
            if answer.status_code not in (409, 412):
                return answer

    # As many at a time as there are processes, so that the loop ends in bounded time.
    rounds = (REQUESTS if hubs[0].store.startswith("sqlite") else 40) // (2 * PROCESSES)
    for _ in range(rounds):
        answers = await race(hubs, count, 2 * PROCESSES)
        assert {answer.status_code for answer in answers} == {200}
    counted = rounds * 2 * PROCESSES
    for hub in hubs:
        read = hub.request("GET", f"/fhir/Patient/{id}").json()
        assert (read["multipleBirthInteger"], read["meta"]["versionId"]) == (counted, str(counted + 1))


async def test_200_conditional_deletes_of_one_key_delete_once(hubs: list[RunningHub]) -> None:
    id = hubs[0].create(patient("delete"))["id"]

    async def delete(client: httpx.AsyncClient, n: int) -> httpx.Response:
        return await client.delete("/fhir/Patient?identifier=urn:race|delete")

    answers = await race(hubs, delete)
    assert {answer.status_code for answer in answers} <= {200, 204, 404}
    for hub in hubs:
        assert hub.request("GET", f"/fhir/Patient/{id}").status_code == 410
        assert hub.search(f"Patient/{id}/_history")["total"] == 2, "one deletion"


async def test_creates_updates_and_deletes_of_one_key_at_once_leave_one_at_most(hubs: list[RunningHub]) -> None:
    async def mixed(client: httpx.AsyncClient, n: int) -> httpx.Response:
        url = "/fhir/Patient?identifier=urn:race|mixed"
        if n % 3 == 0:
            return await client.post(
                "/fhir/Patient", json=patient("mixed"), headers={"If-None-Exist": "identifier=urn:race|mixed"}
            )
        if n % 3 == 1:
            return await client.put(url, json=patient("mixed", birthDate=f"{1800 + n}-01-01"))
        return await client.delete(url)

    answers = await race(hubs, mixed)
    assert 412 not in {answer.status_code for answer in answers}, "there were never two"
    totals = {total(hub, "Patient?identifier=urn:race|mixed") for hub in hubs}
    assert totals in ({0}, {1})
    history = hubs[0].search("Patient/_history?_count=1000")["entry"]
    made = sum(answer.status_code == 201 for answer in answers)
    assert made == len({e["resource"]["id"] for e in history if "mixed" in json.dumps(e.get("resource", {}))})


def test_each_process_sees_at_once_what_another_wrote(hubs: list[RunningHub]) -> None:
    for n in range(12):
        writer = hubs[n % PROCESSES]
        # A new type and a new system: what is known of terms must follow too.
        type = ("Location", "Organization", "Group", "Library")[n // 3]
        body: dict[str, Any] = {"resourceType": type, "identifier": [{"system": f"urn:seen:{n}", "value": str(n)}]}
        if type == "Group":
            body |= {"type": "person", "actual": True}
        if type == "Library":
            body |= {"status": "draft", "type": {"text": "x"}}
        id = writer.create(body)["id"]
        for hub in hubs:
            assert hub.request("GET", f"/fhir/{type}/{id}").status_code == 200
            assert total(hub, f"{type}?identifier=urn:seen:{n}|{n}") == 1
        assert writer.request("DELETE", f"/fhir/{type}/{id}").status_code in (200, 204)
        for hub in hubs:
            assert hub.request("GET", f"/fhir/{type}/{id}").status_code == 410
            assert total(hub, f"{type}?identifier=urn:seen:{n}|{n}") == 0


def test_a_consent_given_in_one_process_counts_in_all_at_once(hubs: list[RunningHub]) -> None:
    person = hubs[0].create(patient("consent"))["id"]
    doctor = hubs[1].create({"resourceType": "Practitioner", "name": [{"family": "Martin"}]})["id"]
    token = hubs[0].token("user/*.rs", actor=f"Practitioner/{doctor}")
    assert [hub.request("GET", f"/fhir/Patient/{person}", token=token).status_code for hub in hubs] == [404] * PROCESSES
    team = {
        "resourceType": "CareTeam",
        "status": "active",
        "subject": {"reference": f"Patient/{person}"},
        "participant": [{"member": {"reference": f"Practitioner/{doctor}"}}],
    }
    for n, writer in enumerate(hubs):
        made = writer.create(team)["id"]
        seen = [hub.request("GET", f"/fhir/Patient/{person}", token=token).status_code for hub in hubs]
        assert seen == [200] * PROCESSES, n
        assert writer.request("DELETE", f"/fhir/CareTeam/{made}").status_code in (200, 204)
        seen = [hub.request("GET", f"/fhir/Patient/{person}", token=token).status_code for hub in hubs]
        assert seen == [404] * PROCESSES, n


class Receiver:
    """A subscriber that remembers what it was told; `refuses` so many times before it takes anything."""

    def __init__(self, refuses: int = 0) -> None:
        self.told: list[tuple[str, str]] = []  # event number, path
        refused = [refuses]
        lock = threading.Lock()
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                with lock:
                    refused[0] -= 1
                    taken = refused[0] < 0
                    if taken:
                        told.append((self.headers["x-event-number"], self.path))
                self.send_response(200 if taken else 503)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


async def settled(receiver: Receiver, count: int) -> None:
    """Wait until so many events came, and a little longer for those that should not come."""
    for _ in range(20 * PATIENCE_S):
        if len(receiver.told) >= count:
            break
        await asyncio.sleep(0.05)
    await asyncio.sleep(1.5)


@pytest.mark.parametrize("refuses", [0, 3], ids=["a subscriber that takes all", "one that refuses at first"])
async def test_events_of_all_processes_are_told_once_and_in_order(hubs: list[RunningHub], refuses: int) -> None:
    receiver = Receiver(refuses)
    try:
        subscription = {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "test",
            "criteria": f"Encounter?identifier=urn:told|{refuses}",
            "channel": {"type": "rest-hook", "endpoint": receiver.url, "payload": "application/fhir+json"},
        }
        id = hubs[0].create(subscription)["id"]

        async def create(client: httpx.AsyncClient, n: int) -> httpx.Response:
            return await client.post(
                "/fhir/Encounter",
                json={
                    "resourceType": "Encounter",
                    "status": "finished",
                    "class": {"code": "AMB"},
                    "identifier": [{"system": "urn:told", "value": str(refuses)}],
                },
            )

        answers = await race(hubs, create, 60)
        assert {answer.status_code for answer in answers} == {201}
        await settled(receiver, 60)
        numbers = [int(number) for number, _ in receiver.told]
        assert numbers == list(range(1, 61)), "each once, in the order of their numbers"
        made = {answer.headers["location"].split("/_history")[0].rsplit("/", 1)[1] for answer in answers}
        assert {path.rsplit("/", 1)[1] for _, path in receiver.told} == made
        assert hubs[0].request("DELETE", f"/fhir/Subscription/{id}").status_code in (200, 204)
    finally:
        receiver.close()


def test_the_audit_chain_of_all_processes_is_whole(hubs: list[RunningHub]) -> None:
    for n in range(40):
        hubs[n % PROCESSES].search(f"Patient?identifier=urn:race|audit{n}")
    done = hubs[0].run("audit", "verify", "--store", hubs[0].store)
    assert done.returncode == 0, done.stdout + done.stderr
