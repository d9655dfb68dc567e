"""The worklist's pages: the list, its part that updates by itself, one alert, and what people do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from hashlib import sha256
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server import gate
from fhir_server.errors import BadRequest, Conflict, Forbidden, NotFound, VersionConflict
from fhir_server.interface import Core
from fhir_server.model import Actor, Entry, Resource
from triage_hooks import state, worklist
from triage_hooks.codes import ALERT_REVIEW, ENGINE_FAILURE, OPEN, TASK
from triage_hooks.ranks import RANKS
from triage_hooks.worklist import Known, Row

PATH: Final = "/worklist"
MOST: Final = 100  # alerts on one page; the most urgent
BATCH: Final = 100  # Observations asked for at once
MAX_COMMENT: Final = 1000  # characters
_CODES: Final = quote(f"{TASK}|{ALERT_REVIEW},{TASK}|{ENGINE_FAILURE}")


class Filter(NamedTuple):
    """What the person wants to see."""

    rank: str = ""
    mine: bool = False
    patient: str = ""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Filter:
        """Read it from a query string or a form; what means nothing is left out."""
        rank = given.get("rank", "")
        known = rank if rank in {item.code for item in RANKS} else ""
        return cls(known, given.get("mine", "") == "1", given.get("patient", "").strip()[:100])

    @property
    def query(self) -> str:
        """The same as a query string, "" for everything."""
        given = {"rank": self.rank, "mine": "1" if self.mine else "", "patient": self.patient}
        return urlencode({key: value for key, value in given.items() if value})


class Worklist:
    """Serves the pages; everything is asked as the person who looks."""

    def __init__(self, core: Core, zone: tzinfo) -> None:
        self._core, self._zone = core, zone

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route(PATH, self.show, methods=["GET"], response_class=Response)
        router.add_api_route(PATH + "/rows", self.update, methods=["GET"], response_class=Response)
        router.add_api_route(PATH + "/{id}", self.one, methods=["GET"], response_class=Response)
        router.add_api_route(PATH + "/{id}", self.act, methods=["POST"], response_class=Response)
        return router

    async def show(self, request: Request) -> Response:
        """Show the list."""
        actor = await self._core.pages.actor(request)
        return await self._list(request, actor, Filter.read(request.query_params))

    async def update(self, request: Request) -> Response:
        """Answer the list's table alone; 204 where it is as the page has it already."""
        actor = await self._core.pages.actor(request)
        asked = Filter.read(request.query_params)
        context = await self._context(request, actor, asked)
        if request.query_params.get("state") == context["state"]:
            return Response(status_code=204, headers={"Cache-Control": "no-store"})
        answer: Response = self._core.pages.render(
            request, "triage_hooks/worklist_rows.html", actor=actor, updating=True, **context
        )
        return answer

    async def one(self, request: Request, id: str) -> Response:
        """Show one alert, with what led to it."""
        actor = await self._core.pages.actor(request)
        return await self._alert(request, actor, id)

    async def act(self, request: Request, id: str) -> Response:
        """Do what a button says, unless somebody else was faster."""
        actor = await self._core.pages.actor(request)
        if actor.patient:
            raise Forbidden("Who is looked after sees the alert, and does not answer it.")
        form = await self._core.pages.form(request)
        action, outcome = form.get("action", ""), form.get("outcome", "")
        comment = form.get("comment", "").strip()
        if action not in worklist.ACTIONS or len(comment) > MAX_COMMENT:
            raise BadRequest("This is no action of the worklist.")
        if action == "close" and outcome not in worklist.OUTCOMES:
            return await self._alert(request, actor, id, problem="outcome", status=422)
        task = await self._task(id, actor)
        made = worklist.stepped(
            task,
            action,
            actor=actor.reference,
            name=actor.subject,
            now=self._core.now(),
            outcome=outcome,
            comment=comment,
        )
        version = form.get("version", "")
        try:
            await self._core.submit(
                [Entry("PUT", f"Task/{id}", made, if_match=f'W/"{version}"')], actor=actor, interaction="update"
            )
        except (VersionConflict, Conflict) as error:
            return await self._alert(request, actor, id, problem="conflict", status=error.status)
        query = Filter.read(form).query
        return RedirectResponse(f"{PATH}?{query}" if query else PATH, 303, {"Cache-Control": "no-store"})

    async def _list(self, request: Request, actor: Actor, asked: Filter) -> Response:
        context = await self._context(request, actor, asked)
        answer: Response = self._core.pages.render(
            request, "triage_hooks/worklist.html", actor=actor, updating=False, ranks=RANKS, **context
        )
        return answer

    async def _context(self, request: Request, actor: Actor, asked: Filter) -> dict[str, Any]:
        tasks, known, more = await self._asked(actor, asked)
        now = self._core.now()
        found = worklist.rows(tasks, known, viewer=actor.reference, now=now, zone=self._zone)
        shown = [row for row in found if not asked.rank or row.rank.code == asked.rank]
        return {
            "rows": shown,
            "more": more,
            "filter": asked,
            "actions": worklist.ACTIONS,
            "statuses": worklist.STATUSES,
            "may_act": _may_act(actor),
            "state": _state(shown, self._core.pages.language(request)),
        }

    async def _asked(self, actor: Actor, asked: Filter) -> tuple[list[Resource], Known, bool]:
        """Ask for open alerts, the most urgent priorities first, and for what they refer to."""
        priorities = dict.fromkeys(rank.priority for rank in RANKS if asked.rank in ("", rank.code))
        tasks: list[Resource] = []
        others: list[Resource] = []
        more = False
        for priority in priorities:
            query = f"Task?code={_CODES}&status={','.join(OPEN)}&priority={priority}&_sort=authored-on&_count={MOST}"
            query += "&_include=Task:patient&_include=Task:focus"
            if asked.mine:
                query += f"&owner={quote(actor.reference or 'Practitioner/-')}"
            if asked.patient:
                query += f"&patient.name={quote(_escaped(asked.patient))}"
            page = await self._core.search(query, actor=actor)
            tasks += page.resources
            others += page.included
            more = more or page.next is not None
            if len(tasks) >= MOST:
                more = more or len(tasks) > MOST
                break
        return tasks, Known.of([*others, *await self._observations(tasks, actor)]), more

    async def _observations(self, tasks: Sequence[Resource], actor: Actor) -> list[Resource]:
        ids = worklist.references(tasks)
        found: list[Resource] = []
        for first in range(0, len(ids), BATCH):
            batch = ",".join(ids[first : first + BATCH])
            found += (await self._core.search(f"Observation?_id={batch}&_count={BATCH}", actor=actor)).resources
        return found

    async def _task(self, id: str, actor: Actor) -> Resource:
        task = gate.load((await self._core.read(f"Task/{id}", actor=actor)).body)
        if not state.is_alert(task):
            raise NotFound("There is no such alert.")
        return task

    async def _alert(
        self, request: Request, actor: Actor, id: str, *, problem: str = "", status: int = 200
    ) -> Response:
        task = await self._task(id, actor)
        page = await self._core.search(f"Task?_id={id}&_include=Task:patient&_include=Task:focus", actor=actor)
        known = Known.of([*page.included, *await self._observations([task], actor)])
        answer: Response = self._core.pages.render(
            request,
            "triage_hooks/alert.html",
            actor=actor,
            status=status,
            row=worklist.row(task, known, viewer=actor.reference, now=self._core.now(), zone=self._zone),
            notes=task.get("note", ()),
            problem=problem,
            actions=worklist.ACTIONS,
            statuses=worklist.STATUSES,
            outcomes=worklist.OUTCOMES,
            may_act=_may_act(actor),
        )
        return answer


def _may_act(actor: Actor) -> bool:
    """Return whether the pages offer what to do; a patient sees the alerts of their record and answers none."""
    return actor.may("u", "Task") and not actor.patient


def _escaped(text: str) -> str:
    """Return a text in which search finds no separators of its own."""
    for sign in ("\\", ",", "|", "$"):
        text = text.replace(sign, "\\" + sign)
    return text


def _state(shown: Sequence[Row], language: str) -> str:
    """Return a short text that changes when what the list shows changes."""
    return sha256(repr((language, shown)).encode()).hexdigest()[:16]
