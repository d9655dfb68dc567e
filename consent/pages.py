"""The pages of the room: who may see my record, who looked, allow, object, end.

A patient acts on their own record; the operator on any, at the patient's side (paper, telephone); a professional
sees only whether and why they see a record. Nothing needs JavaScript.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.requests import Request
from starlette.responses import Response

from consent.acts import ALLOW, END, OBJECT, Acts, is_day, receipt
from consent.guard import ConsentGuard
from consent.overview import KINDS, Overview, Reader
from consent.people import name_in, names_of_all
from consent.words import LANGUAGES, reason_in_words
from fhir_server import gate
from fhir_server.errors import BadRequest, Forbidden, NotFound
from fhir_server.interface import Asking, Core
from fhir_server.model import Actor

PATH: Final = "/consent"
LINES: Final = 50  # of the journal, on one page
MOST_PAGES: Final = 200  # of the journal
FOUND: Final = 10  # people and organisations of one search

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_REFERENCE = re.compile(
    r"(?:Practitioner|PractitionerRole|Organization|CareTeam|RelatedPerson|Device)/[A-Za-z0-9.-]{1,64}"
)
_SEARCHED = ("Organization", "Practitioner")


@dataclass(frozen=True, slots=True)
class Deed:
    """What a confirmation page asks, and its form posts."""

    act: str  # allow object end
    patient: str  # id
    who: str = ""  # reference, of allow and object
    consents: tuple[str, ...] = ()  # ids, of end
    until: str = ""


class ConsentPages:
    """The room's routes."""

    def __init__(self, core: Core, guard: ConsentGuard) -> None:
        self._core, self._guard = core, guard
        self._acts = Acts(core, guard.gathering)

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
        router.add_api_route(PATH, self.show, methods=["GET"])
        router.add_api_route(f"{PATH}/confirm", self.confirm, methods=["GET"])
        router.add_api_route(f"{PATH}/decisions", self.decide, methods=["POST"])
        router.add_api_route(f"{PATH}/receipt", self.receipt, methods=["GET"])
        return router

    async def show(self, request: Request) -> Response:
        """Show the page of the patient who is signed in, or the field in which others name one."""
        actor = await self._core.pages.actor(request)
        asked = request.query_params.get("patient", "").strip().removeprefix("Patient/")
        if actor.patient and not actor.reference:
            return await self._record(request, actor, actor.patient)
        if not asked:
            return self._page(request, "consent/lookup.html", actor=actor, asked="", answer=None)
        if actor.is_operator and _ID.fullmatch(asked):
            return await self._record(request, actor, asked)
        return await self._look_up(request, actor, asked)

    async def confirm(self, request: Request) -> Response:
        """Show what would be decided, with yes and no side by side."""
        actor = await self._core.pages.actor(request)
        deed = self._deed(request.query_params, actor)
        return await self._confirmation(request, actor, deed)

    async def decide(self, request: Request) -> Response:
        """Do what was confirmed and lead to its receipt."""
        actor = await self._core.pages.actor(request)
        form = await self._core.pages.form(request)
        deed = self._deed(form, actor)
        if deed.act == ALLOW and deed.until and not is_day(deed.until, self._guard.gathering.zone, self._core.now()):
            return await self._confirmation(request, actor, deed, problem=True)
        if deed.act == END:
            done = await self._acts.end(deed.consents, deed.patient, actor)
        else:
            done = await self._acts.decide(deed.act, deed.patient, deed.who, actor, until=deed.until)
        return RedirectResponse(f"{PATH}/receipt?consent={done.id}", 303)

    async def receipt(self, request: Request) -> Response:
        """Show the receipt of a decision: made from what is stored, so it can be shown again at any time."""
        actor = await self._core.pages.actor(request)
        if actor.reference:
            raise Forbidden("A receipt is for the patient and the operator.")
        id = request.query_params.get("consent", "")
        if not _ID.fullmatch(id):
            raise NotFound("There is no such consent.")
        version = await self._core.read(f"Consent/{id}", actor=actor)
        consent = gate.load(version.body)
        patient = version.owners[0] if version.owners else ""

        async def work(asking: Asking) -> Overview | None:
            return await self._reader(request, actor).overview(asking, patient, self._core.now())

        overview: Overview | None = await self._core.ask(actor.tenant, work)
        choices = (*overview.choices, *overview.ended) if overview else ()
        words = next((choice.words for choice in choices if choice.id == id), "")
        return self._page(
            request,
            "consent/receipt.html",
            actor=actor,
            receipt=receipt(version),
            words=words,
            state=consent["status"],
            back=self._back(actor, patient),
        )

    def _page(self, request: Request, template: str, *, actor: Actor, status: int = 200, **context: Any) -> Response:
        answer: Response = self._core.pages.render(request, template, actor=actor, status=status, **context)
        return answer

    # --- parts -----------------------------------------------------------------
    async def _record(self, request: Request, actor: Actor, patient: str) -> Response:
        reader, now = self._reader(request, actor), self._core.now()
        await self._core.read(f"Patient/{patient}", actor=actor)  # authorised and audited like any other look
        page = _page_of(request.query_params.get("page", ""))
        found = await self._core.journal(patient, actor=actor, limit=page * LINES + 1)
        lines = found[(page - 1) * LINES : page * LINES]

        async def work(asking: Asking) -> tuple[Overview | None, list[Any]]:
            return await reader.overview(asking, patient, now), await reader.accesses(asking, lines, patient)

        overview, accesses = await self._core.ask(actor.tenant, work)
        if overview is None:
            raise NotFound("There is no such patient.")
        sought = request.query_params.get("find", "").strip()[:100]
        return self._page(
            request,
            "consent/record.html",
            actor=actor,
            overview=overview,
            accesses=accesses,
            is_first=page == 1,
            next=page + 1 if len(found) > page * LINES and page < MOST_PAGES else 0,
            first=f"{self._back(actor, patient)}#journal",
            older=f"{PATH}?{urlencode({**self._named(actor, patient), 'page': page + 1})}#journal",
            own=not actor.is_operator,
            may_decide=actor.may("c", "Consent") and actor.may("u", "Consent"),
            sought=sought,
            found=await self._found(request, actor, sought) if sought else [],
            link=self._link(actor, patient),
        )

    async def _look_up(self, request: Request, actor: Actor, asked: str) -> Response:
        """Tell a professional whether and why they see a record; what is hidden looks like what is not there."""
        say, answer = LANGUAGES[self._core.pages.language(request)], None
        try:
            if not _ID.fullmatch(asked):
                raise NotFound("There is no such patient.")
            version = await self._core.read(f"Patient/{asked}", actor=actor)
        except NotFound:
            status = 404
        else:
            status = 200

            async def work(asking: Asking) -> Any:
                return await self._guard.decision(asking, actor.reference, actor.purpose, asked, self._core.now())

            decision = await self._core.ask(actor.tenant, work)
            answer = {"name": name_in(gate.load(version.body)), "why": reason_in_words(decision, say)}
        return self._page(request, "consent/lookup.html", actor=actor, status=status, asked=asked, answer=answer)

    async def _confirmation(self, request: Request, actor: Actor, deed: Deed, *, problem: bool = False) -> Response:
        reader = self._reader(request, actor)

        async def work(asking: Asking) -> tuple[Overview | None, dict[str, str]]:
            return await reader.overview(asking, deed.patient, self._core.now()), await names_of_all(asking, [deed.who])

        overview, names = await self._core.ask(actor.tenant, work)
        if overview is None or (deed.who and names[deed.who] == deed.who):
            raise NotFound("There is no such person or organisation.")
        ending = [choice for choice in (*overview.choices, *overview.ended) if choice.id in deed.consents]
        if deed.act == END and len(ending) != len(deed.consents):
            raise NotFound("There is no such consent.")
        return self._page(
            request,
            "consent/confirm.html",
            actor=actor,
            status=422 if problem else 200,
            deed=deed,
            name=names.get(deed.who, ""),
            ending=ending,
            own=not actor.is_operator,
            problem=problem,
            back=self._back(actor, deed.patient),
        )

    async def _found(self, request: Request, actor: Actor, sought: str) -> list[dict[str, str]]:
        """Return people and organisations whose name contains what is sought."""
        say, made = LANGUAGES[self._core.pages.language(request)], []
        for type in _SEARCHED:
            page = await self._core.search(
                f"{type}?name:contains={quote_plus(_escaped(sought))}&_count={FOUND}", actor=actor
            )
            made += [
                {"reference": f"{type}/{one['id']}", "name": name_in(one), "kind": say(*KINDS[type])}
                for one in page.resources
                if name_in(one)
            ]
        return made

    def _deed(self, fields: Mapping[str, str], actor: Actor) -> Deed:
        """Read what is asked; raise Forbidden for one who may not decide, BadRequest for what makes no sense."""
        if actor.reference or not (actor.is_operator or actor.patient):
            raise Forbidden("The patient and the operator decide here.")
        if not (actor.may("c", "Consent") and actor.may("u", "Consent")):
            raise Forbidden("The token's scopes do not allow this.")
        patient = actor.patient or fields.get("patient", "")
        deed = Deed(
            act=fields.get("act", ""),
            patient=patient,
            who=fields.get("who", ""),
            consents=tuple(dict.fromkeys(fields.get("consent", "").split())),
            until=fields.get("until", "").strip(),
        )
        if deed.act == END:
            sound = bool(deed.consents) and all(_ID.fullmatch(id) for id in deed.consents) and not deed.who
        else:
            sound = deed.act in (ALLOW, OBJECT) and bool(_REFERENCE.fullmatch(deed.who)) and not deed.consents
        if not sound or not _ID.fullmatch(patient):
            raise BadRequest("The page does not know what to decide.")
        return deed

    def _reader(self, request: Request, actor: Actor) -> Reader:
        say = LANGUAGES[self._core.pages.language(request)]
        return Reader(self._guard, say, own=not actor.is_operator)

    def _back(self, actor: Actor, patient: str) -> str:
        named = self._named(actor, patient)
        return f"{PATH}?{urlencode(named)}" if named else PATH

    def _named(self, actor: Actor, patient: str) -> dict[str, str]:
        """Return what names the record in an address; the patient's own page needs nothing."""
        return {"patient": patient} if actor.is_operator else {}

    def _link(self, actor: Actor, patient: str) -> Any:
        """Return a function that writes the address of a confirmation page."""
        fixed = self._named(actor, patient)
        return lambda **fields: f"{PATH}/confirm?{urlencode({**fixed, **fields})}"


def _page_of(text: str) -> int:
    """Return which page of the journal is asked for; the first where that is no number."""
    return min(max(int(text), 1), MOST_PAGES) if text.isascii() and text.isdigit() and len(text) < 6 else 1


def _escaped(text: str) -> str:
    """Write a text as one value of a search parameter (R4 search.html#escaping)."""
    return re.sub(r"([\\$,|])", r"\\\1", text)
