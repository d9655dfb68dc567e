"""The routes of CDS Hooks: discovery for everyone, calls and feedback with a token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from fhir_server import gate
from fhir_server.errors import BadRequest, Forbidden, Gone, Issue, NotFound, TooLarge
from fhir_server.interface import Core, Writing
from fhir_server.model import Actor, Resource
from triage_hooks import cards, feedback
from triage_hooks.cards import Call, MissingData, Service

PREFIX = "/cds-services"
MAX_BODY = 4_194_304  # bytes; a prefetch of three searches is far below


class Hooks:
    """Answers CDS Hooks calls out of their prefetch, else out of this hub's own store as the caller."""

    def __init__(self, core: Core, zone: tzinfo) -> None:
        self._core, self._zone = core, zone
        parts = urlsplit(core.base_url)
        self._root = f"{parts.scheme}://{parts.netloc}"

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(tags=["CDS Hooks"])
        router.add_api_route(
            PREFIX, self.discover, methods=["GET"], response_class=Response, summary="Discovery", name="cds_discovery"
        )
        router.add_api_route(
            PREFIX + "/{service}",
            self.call,
            methods=["POST"],
            response_class=Response,
            summary="Call a service",
            name="cds_call",
            openapi_extra=_BODY,
        )
        router.add_api_route(
            PREFIX + "/{service}/feedback",
            self.keep,
            methods=["POST"],
            response_class=Response,
            summary="Tell what became of a card",
            name="cds_feedback",
            openapi_extra=_BODY,
        )
        return router

    async def discover(self) -> Response:
        """List the services."""
        return _json(cards.discovery())

    async def call(self, service: str, request: Request) -> Response:
        """Answer a call with cards."""
        actor = await self._actor(request)
        asked = cards.service(service)
        call = cards.read_call(gate.parse(await _body(request)), asked)
        alerts = await self._data(asked, call, "alerts", actor)
        if alerts is None:
            raise _missing(cards.NEEDED)
        risks = await self._data(asked, call, "risks", actor) or []
        return _json({"cards": cards.cards(asked, call.patient, alerts, risks, root=self._root, zone=self._zone)})

    async def keep(self, service: str, request: Request) -> Response:
        """Keep feedback; the same one sent again changes nothing."""
        actor = await self._actor(request)
        asked = cards.service(service)
        items = feedback.read_feedback(gate.parse(await _body(request)))

        async def work(writing: Writing) -> None:
            for item in items:
                body = gate.write(item.kept(asked.id, actor.subject))
                await writing.put_record(feedback.KIND, item.key(asked.id, actor.subject), item.outcome, body)

        await self._core.transact(actor.tenant, work)
        return Response(status_code=200)

    async def _actor(self, request: Request) -> Actor:
        return await self._core.authenticate(request.headers.get("authorization", ""))

    async def _data(self, asked: Service, call: Call, key: str, actor: Actor) -> list[Resource] | None:
        """Return the data of a prefetch key: what the client gave, else what the caller may see here; else None."""
        if (found := cards.given(call, key)) is not None:
            return self._checked(found, key)
        if call.fhir_server not in ("", self._core.base_url):
            return None
        try:
            await self._core.read(f"Patient/{call.patient}", actor=actor)
            return (await self._core.search(cards.query(asked, key, call.patient), actor=actor)).resources
        except (NotFound, Gone, Forbidden):
            return None

    def _checked(self, found: list[Resource], key: str) -> list[Resource]:
        """Return the resources of use; what a client sends has not gone through this hub's validation."""
        used = [resource for resource in found if resource.get("resourceType") in ("Task", "RiskAssessment")]
        for resource in used:
            if any(issue.severity in ("error", "fatal") for issue in self._core.validate(resource)):
                raise BadRequest("A prefetched resource is no valid R4.", expression=f"prefetch.{key}")
        return used


def _missing(keys: Sequence[str]) -> MissingData:
    text = "The prefetch is missing and this hub has no such patient for the caller."
    return MissingData(text, issues=[Issue("required", text, f"prefetch.{key}") for key in keys])


async def _body(request: Request) -> bytes:
    """Read a body up to a bound, without keeping more than that."""
    made = bytearray()
    async for chunk in request.stream():
        made += chunk
        if len(made) > MAX_BODY:
            raise TooLarge("A CDS Hooks call is at most 4 MiB.")
    return bytes(made)


def _json(value: Any) -> Response:
    return Response(gate.write(value), media_type="application/json")


_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}
