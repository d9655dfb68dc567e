"""Jobs over HTTP: `/fhir/_jobs/ID` says how far one is and what it came to, `/fhir/_jobs/ID/FILE` gives its files.

Source: Bulk Data Access 2.0, https://hl7.org/fhir/uv/bulkdata/STU2/export.html#sequence-overview, and FHIR R4 4.0.1,
https://hl7.org/fhir/R4/async.html
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import Issue, MethodNotAllowed, NotFound
from fhir_server.http import compression
from fhir_server.http.message import Request, Response
from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import http_date
from fhir_server.interactions.steps import forbidden
from fhir_server.jobs import Job
from fhir_server.jobs.job import FAILED, RUNNING
from fhir_server.jobs.pieces import unpack
from fhir_server.outcome import outcome

PATH = "_jobs"
_POLL_S = 1  # what Retry-After says
_TRANSIENT: Final = frozenset(
    {"transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"}
)
"""Codes by which the answer of a status url says that it is to be asked again, whatever the job came to.

Source: https://hl7.org/fhir/uv/bulkdata/STU2/export.html#response---error-status-1 and
https://hl7.org/fhir/R4/valueset-issue-type.html
"""


def accepted(hub: Hub, id: str) -> Response:
    """Return the answer to what started a job."""
    text = "The request runs as a job; its Content-Location says where its state is to be had."
    body = gate.write(outcome([Issue("informational", text, severity="information")]))
    return Response(202, body, (("content-location", f"{hub.base_url}/{PATH}/{id}"),))


async def serve_job(hub: Hub, request: Request) -> Response:
    """Serve the state of a job, its end by DELETE, or one of its files."""
    actor = request.actor
    job = await hub.jobs.find(request.segments[1], actor) if len(request.segments) in (2, 3) else None
    if job is None:
        raise NotFound("There is no such job.")
    if len(request.segments) == 3:
        return _file(hub, request, job)
    if request.method == "DELETE":
        await hub.jobs.cancel(job.id, actor)
        return Response(202, gate.write(outcome([Issue("informational", "Cancelled.", severity="information")])))
    if request.method not in ("GET", "HEAD"):
        raise _not_allowed("DELETE, GET, HEAD")
    if job.is_open:
        return Response(202, headers=(("x-progress", progress(job)), ("retry-after", str(_POLL_S))))
    if job.state == FAILED:
        return failed(job)
    return await _done(hub, request, job)


def progress(job: Job) -> str:
    """Say how far a job is, in at most 100 characters."""
    if job.state != RUNNING:
        return "waiting"
    return f"{job.done} done" if job.total is None else f"{job.done} of {job.total} done"


def failed(job: Job) -> Response:
    """Answer why a job failed, by no code that would have a client ask again: it has ended."""
    failure = job.failure
    status, code = (failure.status, failure.code) if failure is not None else (500, "exception")
    text = failure.text if failure is not None else "The job failed."
    if code in _TRANSIENT:
        status, code = 500, "processing"
    return Response(status, gate.write(outcome([Issue(code, text)])), (("expires", http_date(job.expires)),))


async def _done(hub: Hub, request: Request, job: Job) -> Response:
    expires = ("expires", http_date(job.expires))
    result: dict[str, Any] = gate.load(job.result) if job.result else {}
    kind = hub.jobs.kind(job.kind)
    if kind is not None and kind.is_bulk:
        return Response(200, gate.write(_manifest(hub, job, result)), (expires,), "application/json")
    if not job.is_open_to(request.actor):
        raise forbidden()
    answers = [output for output in job.outputs if output.group == "answer"]
    if "status" in result:
        body = b"".join([unpack(piece) for o in answers[:1] async for piece in hub.jobs.read_output(job, o)])
        headers = tuple((name, value) for name, value in result["headers"])
        return Response(result["status"], body, (*headers, expires), result["media_type"])
    if not result:
        result = outcome([Issue("informational", "Done.", severity="information")])
    return Response(200, gate.write(result), (expires,))


def _manifest(hub: Hub, job: Job, result: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest: what the job says of itself, and where its files are."""
    made: dict[str, Any] = {"request": job.request, "requiresAccessToken": True, "output": [], "error": []} | result
    for output in job.outputs:
        made.setdefault(output.group, [])
        url = f"{hub.base_url}/{PATH}/{job.id}/{output.name}"
        made[output.group].append({"type": output.type, "url": url, "count": output.count})
    return made


def _file(hub: Hub, request: Request, job: Job) -> Response:
    if request.method not in ("GET", "HEAD"):
        raise _not_allowed("GET, HEAD")
    found = [o for o in job.outputs if o.name == request.segments[2] and o.group != "answer"]
    if not found or job.is_open:
        raise NotFound("There is no such file.")
    if not job.is_open_to(request.actor):
        raise forbidden()
    hub.audit(request.actor, "R", f"{job.kind}-file", found[0].type, (), 0, request.id, f"job={job.id}")
    pieces = hub.jobs.read_output(job, found[0])
    headers = [("expires", http_date(job.expires))]
    if compression.wanted(request.headers.get("accept-encoding", "")) == "gzip":
        headers.append(("content-encoding", "gzip"))  # as it is kept
    else:
        pieces = _unpacked(pieces)
    return Response(200, b"", tuple(headers), "application/fhir+ndjson", chunks=pieces)


async def _unpacked(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield unpack(piece)


def _not_allowed(methods: str) -> MethodNotAllowed:
    error = MethodNotAllowed("This path does not take this method.")
    error.headers["Allow"] = methods
    return error
