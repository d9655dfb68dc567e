"""A merge of more than the caller should wait for becomes a job; so does its undoing, and what it would do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fhir_server import gate
from fhir_server.app import Composed, opened
from fhir_server.errors import Unavailable
from fhir_server.interface import OperationCall
from fhir_server.jobs import JobContext
from fhir_server.jobs.job import Job
from fhir_server.model import Entry, Resource
from fhir_server.operations import merge
from fhir_server.settings import Settings
from fhir_server.store.protocol import HistoryQuery


def parameters(**named: str) -> Resource:
    items: list[dict[str, Any]] = [
        {"name": f"{name}-patient", "valueReference": {"reference": f"Patient/{id}"}} for name, id in named.items()
    ]
    return {"resourceType": "Parameters", "parameter": items}


def previewed(asked: Resource) -> Resource:
    return asked | {"parameter": [*asked["parameter"], {"name": "preview", "valueBoolean": True}]}


async def fill(composed: Composed, flags: int = 9) -> None:
    """Store two patients, a and b, and flags of a."""
    entries = [Entry("PUT", f"Patient/{id}", {"resourceType": "Patient", "id": id}) for id in ("a", "b")]
    for n in range(flags):
        flag: dict[str, Any] = {"resourceType": "Flag", "status": "active", "code": {"text": "x"}}
        entries.append(Entry("PUT", f"Flag/{n}", {**flag, "id": str(n), "subject": {"reference": "Patient/a"}}))
    await composed.hub.submit(entries, actor=composed.hub.internal("default", "operator"))


async def run(
    composed: Composed, name: str, asked: Resource, preferences: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Run an operation that answers with a job; return the parameters of the job's result."""
    hub = composed.hub
    actor = hub.internal("default", "operator")
    operation = next(o for o in hub.operations if o.name == name)
    call = OperationCall(actor, "Patient", "", "POST", {}, asked, "", "en", preferences=preferences or {})
    answer = await operation.run(call)
    assert answer.status == 202
    id = answer.headers["Content-Location"].rpartition("/")[2]
    running = asyncio.create_task(hub.jobs.run())
    try:
        async with asyncio.timeout(120):
            while (job := await hub.jobs.find(id, actor)) is None or job.is_open:
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert job.state == "done", job.failure
    given: list[dict[str, Any]] = gate.load(job.result)["parameter"]
    assert given[0] == {"name": "input", "resource": asked}
    return given[1:]


async def subject(composed: Composed, reference: str) -> str:
    version = await composed.hub.read(reference, actor=composed.hub.internal("default", "operator"))
    assert version is not None
    return str(gate.load(version.body)["subject"]["reference"])


def said(given: list[dict[str, Any]]) -> str:
    return str(given[0]["resource"]["issue"][0]["diagnostics"])


async def test_a_long_merge_its_preview_and_its_undoing_run_as_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "MOST", 5)
    async with opened(Settings(store="memory:", rooms=())) as composed:
        await fill(composed)
        asked = parameters(source="a", target="b")
        assert said(await run(composed, "merge", previewed(asked))).startswith("Would change: 9 Flag")
        assert await subject(composed, "Flag/3") == "Patient/a"
        assert said(await run(composed, "merge", asked)).startswith("Changed: 9 Flag")
        assert await subject(composed, "Flag/3") == "Patient/b"
        undone = parameters(source="a")
        assert said(await run(composed, "unmerge", previewed(undone))).startswith("Would change: 9 Flag")
        assert await subject(composed, "Flag/3") == "Patient/b"
        assert said(await run(composed, "unmerge", undone)).startswith("Changed: 9 Flag")
        assert await subject(composed, "Flag/3") == "Patient/a"


async def test_a_short_merge_is_a_job_where_the_caller_does_not_wait() -> None:
    async with opened(Settings(store="memory:", rooms=())) as composed:
        await fill(composed, 1)
        await run(composed, "merge", parameters(source="a", target="b"), {"respond-async": ""})
        assert await subject(composed, "Flag/0") == "Patient/b"


async def test_a_merge_whose_job_broke_off_before_its_end_is_not_done_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_server.jobs.jobs._RETRY_S", 0.01)
    ended = JobContext.end
    broken: list[str] = []

    async def end(context: JobContext, change: Callable[[Job], None]) -> None:
        if not broken:
            broken.append(context.id)
            raise Unavailable("The store cannot be reached now.")
        await ended(context, change)

    monkeypatch.setattr(JobContext, "end", end)
    async with opened(Settings(store="memory:", rooms=())) as composed:
        await fill(composed)
        asked = parameters(source="a", target="b")
        given = await run(composed, "merge", asked, {"respond-async": ""})
        assert broken and said(given).startswith("Changed: 9 Flag")
        assert await subject(composed, "Flag/3") == "Patient/b"
        actor = composed.hub.internal("default", "operator")
        async with composed.hub.store.view(actor.tenant) as view:
            found, _ = await view.history(HistoryQuery("Flag", "3"))
        assert [version.version for version in found] == [2, 1]
