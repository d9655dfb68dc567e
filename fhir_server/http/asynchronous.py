"""`Prefer: respond-async`: the request becomes a job, and its answer the answer of the job's status url.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/async.html, and RFC 7240 §4.1 (a server that does not honour the
preference answers as ever, which is what happens to single reads and writes: they take no time).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import FhirError, Unavailable
from fhir_server.http.jobs import accepted
from fhir_server.http.message import Request, Response
from fhir_server.http.operations import find_operation
from fhir_server.http.routes import find, serve
from fhir_server.interactions.core import Hub
from fhir_server.jobs import JobContext, Kind
from fhir_server.outcome import to_outcome

REPEATABLE: Final = "request"  # the kind of requests that only read: begun again after a crash
ONCE: Final = "request-once"  # of those that may write: after a crash nobody knows whether they did
_LONG: Final = frozenset({"search-type", "search-system", "history-type", "history-system", "transaction"})
_KEPT: Final = ("accept", "accept-language", "content-type", "if-match", "prefer")


async def kick_off(hub: Hub, request: Request) -> Response | None:
    """Start a job for a request that may be long; None where it is answered as ever."""
    if request.segments and request.segments[-1].startswith("$"):
        if find_operation(hub, request).is_job:
            return None
    elif find(request, hub.types).interaction not in _LONG:
        return None
    reads = request.method in ("GET", "HEAD") or request.segments[-1:] == ("_search",)
    asked = {
        "method": request.method,
        "segments": list(request.segments),
        "query": request.query,
        "headers": {name: request.headers[name] for name in _KEPT if name in request.headers},
        "id": request.id,
    }
    url = f"{hub.base_url}/{'/'.join(request.segments)}"
    id = await hub.jobs.start(
        REPEATABLE if reads else ONCE,
        asked,
        request.actor,
        payload=_whole(request.body) if request.body else None,
        request=f"{url}?{request.query}" if request.query else url,
    )
    return accepted(hub, id)


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


def kinds(hub: Hub, metadata: Callable[[Request], Response]) -> tuple[Kind, Kind]:
    """Return the kinds of requests that only read, and of those that may write.

    Args:
        hub: The core.
        metadata: Answers what the server can do, which an entry of a Bundle may ask for.
    """
    run = _runner(hub, metadata)
    return Kind(REPEATABLE, run), Kind(ONCE, run, tries=1)


def _runner(hub: Hub, metadata: Callable[[Request], Response]) -> Callable[[JobContext], Awaitable[None]]:
    async def run(context: JobContext) -> None:
        asked: dict[str, Any] = context.input
        body = b"".join([part async for part in context.payload()])
        request = Request(
            asked["method"],
            tuple(asked["segments"]),
            asked["query"],
            asked["headers"],
            body,
            asked["id"],
            context.actor,
            metadata=metadata,
        )
        try:
            response = await serve(hub, request)
        except Unavailable:
            raise  # tried again where nothing was written; kept, it would be answered as if the job still ran
        except FhirError as error:
            status, resource = to_outcome(error, request_id=request.id)
            response = Response(status, gate.write(resource), tuple(error.headers.items()))
        body = response.body
        if response.chunks is not None:
            body = b"".join([chunk async for chunk in response.chunks])
        context.write_answer(body)
        context.result = {
            "status": response.status,
            "headers": [list(header) for header in response.headers],
            "media_type": response.media_type,
        }

    return run
