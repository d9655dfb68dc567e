"""Acknowledged writes survive, whole; concurrent conditional writes make one."""

from __future__ import annotations

import concurrent.futures
import signal
import threading
import uuid
from typing import Any

import httpx

from tests.running import PATIENCE_S, RunningHub

LINK = "urn:uuid:0b6f9a5e-6f0b-4a6d-9c1e-000000000001"


def pair(mark: str) -> dict[str, Any]:
    """Return a transaction of a Patient and its Observation."""
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:k", "value": mark}]}
    observation = {
        "resourceType": "Observation", "status": "final", "code": {"text": "k"}, "subject": {"reference": LINK},
    }  # fmt: skip
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": LINK, "resource": patient, "request": {"method": "POST", "url": "Patient"}},
            {"resource": observation, "request": {"method": "POST", "url": "Observation"}},
        ],
    }


def test_kill_9_amid_64_writers_loses_nothing_acknowledged(own_hub: RunningHub) -> None:
    hub, acknowledged, ending = own_hub, [], threading.Event()
    headers = {"Authorization": f"Bearer {hub.operator}"}

    def write(number: int) -> None:
        with httpx.Client(base_url=hub.http.base_url, headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
            turn = 0
            while not ending.is_set():
                turn += 1
                try:
                    if client.post("/fhir", json=pair(f"{number}-{turn}")).status_code == 200:
                        acknowledged.append(f"{number}-{turn}")
                except httpx.TransportError:
                    return

    writers = [threading.Thread(target=write, args=(number,)) for number in range(64)]
    for writer in writers:
        writer.start()
    while len(acknowledged) < 300:
        ending.wait(0.05)
    hub.stop(signal.SIGKILL)
    ending.set()
    for writer in writers:
        writer.join()
    hub.start()
    stored = {i["value"] for p in every(hub, "Patient") for i in p["identifier"]}
    assert [mark for mark in acknowledged if mark not in stored] == []
    assert len(every(hub, "Observation")) == len(stored)


def every(hub: RunningHub, type: str) -> list[dict[str, Any]]:
    """Return all resources of a type, page by page."""
    found: list[dict[str, Any]] = []
    path = f"{type}?_count=500"
    while True:
        bundle = hub.search(path)
        found += [entry["resource"] for entry in bundle.get("entry", [])]
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        if not following:
            return found
        path = following[0].partition("/fhir/")[2]


def test_100_parallel_conditional_creates_make_one(hub: RunningHub) -> None:
    value = uuid.uuid4().hex
    body = {"resourceType": "Patient", "identifier": [{"system": "urn:race", "value": value}]}
    headers = {"Authorization": f"Bearer {hub.operator}", "If-None-Exist": f"identifier=urn:race|{value}"}
    limits = httpx.Limits(max_connections=50)
    with (
        httpx.Client(
            base_url=hub.http.base_url, headers=headers, limits=limits, timeout=PATIENCE_S, trust_env=False
        ) as client,
        concurrent.futures.ThreadPoolExecutor(50) as pool,
    ):
        statuses = list(pool.map(lambda _: client.post("/fhir/Patient", json=body).status_code, range(100)))
    assert (statuses.count(201), statuses.count(200)) == (1, 99)
    assert hub.search(f"Patient?identifier=urn:race|{value}")["total"] == 1


def test_parallel_updates_from_one_version_have_one_winner(hub: RunningHub) -> None:
    made = hub.create({"resourceType": "Patient"})
    headers = {"Authorization": f"Bearer {hub.operator}", "If-Match": 'W/"1"'}

    def update(number: int) -> int:
        body = {**made, "identifier": [{"system": "urn:n", "value": str(number)}]}
        with httpx.Client(base_url=hub.http.base_url, headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
            return client.put(f"/fhir/Patient/{made['id']}", json=body).status_code

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(update, range(20)))
    assert (statuses.count(200), statuses.count(412)) == (1, 19)
