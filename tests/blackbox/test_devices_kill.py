"""A hub that is killed in the middle of readings: what it answered is there, once, and sending again mends the rest."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import httpx

from tests.bedside import Bedside, ago
from tests.running import RunningHub

COUNT = 200


def test_readings_survive_a_kill_and_are_stored_once(own_hub: RunningHub) -> None:
    bed = Bedside(own_hub)
    messages: list[list[dict[str, Any]]] = [
        [{"code": "59408-5", "value": 96 + n % 3, "unit": "%", "at": ago(10_000 + n)} for n in range(start, start + 20)]
        for start in range(0, COUNT, 20)
    ]
    answered: list[str] = []

    def send(begin: int) -> None:
        for readings in messages[begin::4]:
            try:
                answered.extend(result["reference"] for result in bed.send(*readings))
            except httpx.TransportError:
                return

    threads = [threading.Thread(target=send, args=(begin,)) for begin in range(4)]
    own_hub.operator  # noqa: B018  # made before threads ask for it
    for thread in threads:
        thread.start()
    while not answered:
        time.sleep(0.01)
    own_hub.stop(signal.SIGKILL)
    for thread in threads:
        thread.join()
    own_hub.start()
    found = {f"Observation/{one['id']}" for one in bed.found(f"Observation?patient={bed.patient}&_count=1000")}
    assert answered and set(answered) <= found, "what was answered is there"
    again = [result for readings in messages for result in bed.send(*readings)]
    assert {result["status"] for result in again} <= {"stored", "duplicate"}
    assert len({result["reference"] for result in again}) == COUNT
    counted = own_hub.search(f"Observation?patient={bed.patient}&code=59408-5&_summary=count")["total"]
    assert counted == COUNT, "each is there once"
