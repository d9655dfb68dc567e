"""The one table of FHIR routes: it feeds the dispatcher and the CapabilityStatement.

A path is matched by its shape: `Type`, `id` and `inside` (a type, or `*` for all, of a compartment) stand for what
is there, other words for themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fhir_server.errors import MethodNotAllowed, NotSupported
from fhir_server.http import bundles, handlers, search
from fhir_server.http.message import Request, Response
from fhir_server.http.operations import serve_operation
from fhir_server.interactions.core import Hub
from fhir_server.interactions.ids import check_id

Handler = Callable[[Hub, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class FhirRoute:
    """One interaction at one shape of path."""

    method: str
    shape: str
    interaction: str  # code of http://hl7.org/fhir/ValueSet/type-restful-interaction or system-...; "": R4 has none
    handler: Handler


async def _bundle(hub: Hub, request: Request) -> Response:
    """Serve batch and transaction."""
    return await bundles.bundle(hub, request, serve)


ROUTES: Final = (
    FhirRoute("GET", "Type/id", "read", handlers.read),
    FhirRoute("GET", "Type/id/_history/id", "vread", handlers.vread),
    FhirRoute("PUT", "Type/id", "update", handlers.update),
    FhirRoute("PUT", "Type", "update", handlers.conditional_update),
    FhirRoute("PATCH", "Type/id", "patch", handlers.patch),
    FhirRoute("PATCH", "Type", "patch", handlers.conditional_patch),
    FhirRoute("DELETE", "Type/id", "delete", handlers.delete),
    FhirRoute("DELETE", "Type", "delete", handlers.conditional_delete),
    FhirRoute("GET", "Type/id/_history", "history-instance", handlers.history_instance),
    FhirRoute("DELETE", "Type/id/_history", "", handlers.delete_history),
    FhirRoute("GET", "Type/_history", "history-type", handlers.history_type),
    FhirRoute("POST", "Type", "create", handlers.create),
    FhirRoute("GET", "Type", "search-type", search.search_type),
    FhirRoute("POST", "Type/_search", "search-type", search.search_post),
    FhirRoute("GET", "Type/id/inside", "search-type", search.search_compartment),
    FhirRoute("POST", "Type/id/inside/_search", "search-type", search.search_post),
    FhirRoute("POST", "Type/id/_search", "search-type", search.search_post),
    FhirRoute("POST", "", "transaction", _bundle),
    FhirRoute("GET", "", "search-system", search.search_system),
    FhirRoute("POST", "_search", "search-system", search.search_post),
    FhirRoute("GET", "_history", "history-system", handlers.history_system),
)
_BY_SHAPE: Final[Mapping[str, Mapping[str, FhirRoute]]] = {
    shape: {route.method: route for route in ROUTES if route.shape == shape} for shape in {r.shape for r in ROUTES}
}
_WORDS: Final = frozenset({"_history", "_search"})


def shape_of(segments: Sequence[str], types: frozenset[str]) -> str:
    """Return the shape of a path; raise NotSupported when its type is none of R4's."""
    if not segments or segments[0] in _WORDS:
        return "/".join(segments)
    if len(segments) == 1 and segments[0] in types:
        return "Type"
    if segments[0] not in types:
        raise NotSupported("There is no such resource type or path.")
    names = ("id", "inside", "id")  # what a path may have behind a type where no word stands
    return "/".join(["Type", *(p if p in _WORDS else names[min(n, 2)] for n, p in enumerate(segments[1:]))])


def find(request: Request, types: frozenset[str]) -> FhirRoute:
    """Return the route of a request; raise NotSupported or MethodNotAllowed (which names what is allowed)."""
    found = _BY_SHAPE.get(shape_of(request.segments, types))
    if found is None:
        raise NotSupported("There is nothing at this path.")
    route = found.get("GET" if request.method == "HEAD" else request.method)
    if route is None:
        error = MethodNotAllowed("This path does not take this method.")
        error.headers["Allow"] = ", ".join(sorted([*found, "HEAD"] if "GET" in found else found))
        raise error
    return route


async def serve(hub: Hub, request: Request) -> Response:
    """Serve one request, or one entry of a batch."""
    segments = request.segments
    if segments and segments[-1].startswith("$"):
        return await serve_operation(hub, request)
    if segments == ("metadata",) and request.metadata is not None:
        return request.metadata(request)
    route = find(request, hub.types)
    if len(segments) > 1 and route.shape.startswith("Type/id"):
        check_id(segments[1])
    return await route.handler(hub, request)
