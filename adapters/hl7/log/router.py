"""The routes of the message log: its pages, and the code tables as ConceptMap resources."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.hl7.log import shipped
from adapters.hl7.log.message_pages import MessagePages
from adapters.hl7.log.pages import LogPages, Pages
from adapters.hl7.log.replaying import Runs
from adapters.hl7.maps import tables
from fhir_server import gate
from fhir_server.interface import Core


def add_routes(router: APIRouter, pages: Pages, runs: Runs) -> None:
    """Add the pages and `/hl7v2/maps` to the room's router."""
    inner = APIRouter(include_in_schema=False)
    LogPages(pages).add_to(inner)
    MessagePages(pages, runs).add_to(inner)
    router.include_router(inner)
    _add_maps(router, pages.core)


def _add_maps(router: APIRouter, core: Core) -> None:
    async def list_maps(request: Request) -> Response:
        """List the code tables that apply to every sender, with their source."""
        await core.authenticate(request.headers.get("authorization", ""))
        return _json({"source": tables.source(), "tables": shipped.index()}, "application/json")

    async def read_map(request: Request) -> Response:
        """One code table as a ConceptMap: the guide's rows at its commit, and our decisions with their reasons."""
        await core.authenticate(request.headers.get("authorization", ""))
        return _json(shipped.concept_map(request.path_params["name"]), "application/fhir+json")

    router.add_api_route("/hl7v2/maps", list_maps, methods=["GET"], response_class=Response, tags=["HL7 v2"])
    router.add_api_route("/hl7v2/maps/{name}", read_map, methods=["GET"], response_class=Response, tags=["HL7 v2"])


def _json(value: object, media_type: str) -> Response:
    return Response(gate.write(value), media_type=media_type, headers={"Cache-Control": "no-store"})
