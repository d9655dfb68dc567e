"""`/admin/devices`: what was kept aside, why, and what a person does about it: try again, or leave it out for good."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from adapters.devices import quarantine, reason
from adapters.devices.instant import written
from adapters.devices.release import Release
from fhir_server import gate
from fhir_server.errors import BadRequest, Forbidden
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Actor, Record

PATH: Final = "/admin/devices"
PAGE: Final = 50
_REASONS: Final = {item.code: item for item in reason.ALL}


class Row(NamedTuple):
    """One reading that was kept aside, as the page shows it."""

    key: str
    at: str
    why: str
    detail: str
    device: str
    source: str
    times: int
    reading: str


class QuarantinePages:
    """The page. Only the operator sees it: what nobody is assigned to is nobody's to be shown."""

    def __init__(self, core: Core, release: Release) -> None:
        self._core, self._release = core, release

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route(PATH, self.show, methods=["GET"], response_class=Response)
        router.add_api_route(PATH, self.act, methods=["POST"], response_class=Response)
        return router

    async def show(self, request: Request) -> Any:
        """Show the oldest rows, or those after one."""
        actor = await self._operator(request)
        after = request.query_params.get("after", "0")
        number = int(after) if after.isascii() and after.isdigit() and len(after) < 19 else 0
        return await self._page(request, actor, after=number)

    async def act(self, request: Request) -> Any:
        """Try a row again, or dismiss it."""
        actor = await self._operator(request)
        if not actor.may("c", "Observation"):
            raise Forbidden("Whoever files or leaves out a reading may create an Observation.")
        form = await self._core.pages.form(request)
        key, action = form.get("key", ""), form.get("action", "")

        async def look(asking: Asking) -> Record | None:
            return await asking.record(quarantine.KIND, key)

        row: Record | None = await self._core.ask(actor.tenant, look) if key else None
        if row is None or action not in ("again", "dismiss"):
            raise BadRequest("The form names no reading, or no action.")
        quarantine.shown_to(self._core, actor, "U", getattr(request.state, "request_id", ""))
        if action == "again":
            await self._release.again(actor.tenant, row)
        else:
            await self._core.transact(actor.tenant, lambda writing: _dismiss(writing, key))
        return RedirectResponse(PATH, 303)

    async def _operator(self, request: Request) -> Actor:
        actor = await self._core.pages.actor(request)
        if not actor.is_operator or not actor.may("r", "Observation"):
            raise Forbidden("Only the operator sees what was kept aside.")
        return actor

    async def _page(self, request: Request, actor: Actor, *, after: int) -> Any:
        async def work(asking: Asking) -> tuple[list[Record], bool]:
            rows = await quarantine.kept(asking, after=after, limit=PAGE)
            return rows, bool(rows and await quarantine.kept(asking, after=rows[-1].seq, limit=1))

        found, is_more = await self._core.ask(actor.tenant, work)
        quarantine.shown_to(self._core, actor, "R", getattr(request.state, "request_id", ""))
        language = self._core.pages.language(request)
        return self._core.pages.render(
            request,
            "devices/quarantine.html",
            actor=actor,
            rows=[row_of(record, language) for record in found],
            next=found[-1].seq if is_more else 0,
            is_first=not after,
            action=PATH,
        )


def row_of(record: Record, language: str) -> Row:
    """Return a row in the page's language."""
    body = quarantine.shown(record)
    known = _REASONS.get(body["reason"])
    return Row(
        record.key,
        written(record.at)[:16].replace("T", " "),
        known.text(language) if known else body["reason"],
        body.get("detail", ""),
        body["device"]["value"],
        body.get("source", ""),
        body["times"],
        gate.write(body["reading"]).decode(),
    )


async def _dismiss(writing: Writing, key: str) -> None:
    await quarantine.settle(writing, key, quarantine.DISMISSED)
