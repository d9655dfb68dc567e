"""A merge of more than the caller should wait for becomes a job."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fhir_server import gate
from fhir_server.app import opened
from fhir_server.interface import OperationCall
from fhir_server.model import Entry, Resource
from fhir_server.operations import merge
from fhir_server.settings import Settings


def parameters(source: str, target: str) -> Resource:
    names = {"source-patient": source, "target-patient": target}
    items = [{"name": name, "valueReference": {"reference": f"Patient/{id}"}} for name, id in names.items()]
    return {"resourceType": "Parameters", "parameter": items}


async def test_a_long_merge_runs_as_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "MOST", 5)
    async with opened(Settings(store="memory:", rooms=())) as composed:
        hub = composed.hub
        actor = hub.internal("default", "operator")
        entries = [Entry("PUT", f"Patient/{id}", {"resourceType": "Patient", "id": id}) for id in ("a", "b")]
        for n in range(9):
            flag: dict[str, Any] = {"resourceType": "Flag", "status": "active", "code": {"text": "x"}}
            entries.append(Entry("PUT", f"Flag/{n}", {**flag, "id": str(n), "subject": {"reference": "Patient/a"}}))
        await hub.submit(entries, actor=actor)
        operation = next(o for o in hub.operations if o.name == "merge")
        call = OperationCall(actor, "Patient", "", "POST", {}, parameters("a", "b"), "", "en")
        answer = await operation.run(call)
        assert answer.status == 202
        id = answer.headers["Content-Location"].rpartition("/")[2]
        running = asyncio.create_task(hub.jobs.run())
        try:
            async with asyncio.timeout(20):
                while (job := await hub.jobs.find(id, actor)) is None or job.is_open:
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert job.state == "done", job.failure
        result = gate.load(job.result)["parameter"]
        assert "9 Flag" in result[0]["resource"]["issue"][0]["diagnostics"]
        version = await hub.read("Flag/3", actor=actor)
        assert gate.load(version.body)["subject"]["reference"] == "Patient/b"
