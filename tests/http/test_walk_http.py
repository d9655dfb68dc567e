"""Following `next` over HTTP while eight clients write: each match comes once, in every order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import httpx
import pytest

from tests.running import PATIENCE_S, RunningHub

pytestmark = pytest.mark.every_store

MATCHES, WRITERS, PAGE = 100, 8, 9
SORTS = ["", "date", "-date", "_id", "value-quantity,-date", "code", "-_lastUpdated", "patient.birthdate"]


def observation(random: Random, code: str, patient: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "urn:walk", "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": f"2026-0{random.randint(1, 3)}-0{random.randint(1, 9)}",
        "valueQuantity": {"value": random.randint(1, 5), "unit": "1"},
    }


@contextmanager
def writing(hub: RunningHub, patient: str) -> Iterator[list[int]]:
    """Have eight clients create, replace and delete others; gives the statuses of what they did."""
    ending = threading.Event()
    statuses: list[int] = []
    headers = {"Authorization": f"Bearer {hub.operator}"}

    def write(number: int) -> None:
        random = Random(number)
        with httpx.Client(base_url=hub.http.base_url, headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
            while not ending.is_set():
                made = client.post("/fhir/Observation", json=observation(random, "other", patient))
                id = made.json()["id"]
                body = {**observation(random, "other", patient), "id": id}
                put = client.put(f"/fhir/Observation/{id}", json=body)
                gone = client.delete(f"/fhir/Observation/{id}") if random.random() < 0.5 else put
                statuses.extend((made.status_code, put.status_code, gone.status_code))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def walk(hub: RunningHub, query: str) -> list[str]:
    """Return the ids on all pages."""
    ids: list[str] = []
    page = hub.search(query)
    while True:
        ids += [entry["resource"]["id"] for entry in page["entry"]]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
        if url is None:
            return ids
        answer = hub.http.get(url, headers={"Authorization": f"Bearer {hub.operator}"})
        assert answer.status_code == 200, answer.text
        page = answer.json()


@pytest.fixture(scope="module")
def world(store_engine: str) -> Iterator[tuple[RunningHub, str, set[str]]]:
    """A hub with a patient and its matches."""
    with RunningHub(engine=store_engine) as hub:
        patient = hub.create({"resourceType": "Patient", "birthDate": "1950-01-01"})["id"]
        random = Random(1)
        entries = [
            {"resource": observation(random, "match", patient), "request": {"method": "POST", "url": "Observation"}}
            for _ in range(MATCHES)
        ]
        answer = hub.request("POST", "/fhir", json={"resourceType": "Bundle", "type": "batch", "entry": entries})
        ids = {
            entry["response"]["location"].split("/Observation/")[-1].split("/")[0] for entry in answer.json()["entry"]
        }
        yield hub, patient, {id.removeprefix("Observation/") for id in ids}


def test_each_match_comes_once_in_every_order(world: tuple[RunningHub, str, set[str]]) -> None:
    hub, patient, matches = world
    assert len(matches) == MATCHES
    with writing(hub, patient) as statuses:
        for sort in SORTS:
            sorted_by = f"&_sort={sort}" if sort else ""
            ids = walk(hub, f"Observation?patient={patient}&code=match&_count={PAGE}{sorted_by}")
            assert len(ids) == MATCHES and set(ids) == matches, sort
    assert len(statuses) > WRITERS and set(statuses) <= {200, 201, 204}
