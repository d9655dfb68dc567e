"""The pages `/records` and `/records/{id}`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from adapters.dmp.line import Line, line_of, person
from adapters.dmp.moment import shown
from adapters.dmp.narrative import notes_of, say
from adapters.dmp.record import Record, fingerprint, read_record, reading
from adapters.dmp.sections import fill, rest, unread
from adapters.dmp.validation import has_validation, may_validate, standing, validate
from fhir_server.errors import BadRequest, Conflict
from fhir_server.interface import Asking, Core
from fhir_server.model import Actor, Resource

PAGE: Final = 25  # records on one page: a validated one costs the reading of it


class Row(NamedTuple):
    """One record in the list."""

    id: str
    name: str
    born: str
    is_validated: bool
    alerts: int | None  # None where the caller may not read alerts


class Part(NamedTuple):
    """One section on a record's page."""

    key: str
    title: str
    lines: Sequence[Line]
    notes: Sequence[str]


class RecordPages:
    """The pages of the room. Names and page links are posted, never in a URL: both may tell of a patient."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/records", self.show_list, methods=["GET"], response_class=Response)
        router.add_api_route("/records", self.search_list, methods=["POST"], response_class=Response)
        router.add_api_route("/records/{id}", self.show_record, methods=["GET"], response_class=Response)
        router.add_api_route("/records/{id}/validate", self.validate_record, methods=["POST"], response_class=Response)
        return router

    async def show_list(self, request: Request) -> Any:
        """Show the records that the caller may see."""
        actor = await self._core.pages.actor(request)
        return await self._list(request, actor, {})

    async def search_list(self, request: Request) -> Any:
        """Show those whose patient has a name, or the next page."""
        actor = await self._core.pages.actor(request)
        return await self._list(request, actor, await self._core.pages.form(request))

    async def _list(self, request: Request, actor: Actor, form: Mapping[str, str]) -> Any:
        name = form.get("name", "").strip()[:100]
        query = f"Patient?_count={PAGE}&_sort=family,given,_id" + (f"&name={_quoted(name)}" if name else "")
        if cursor := form.get("cursor", ""):
            query += f"&_cursor={_quoted(cursor)}"
        able = reading(actor)
        page = await self._core.search(query, actor=able)
        following = (page.next or "").partition("_cursor=")[2]
        rows = await self._rows(page.resources, able, self._core.pages.language(request))
        return self._core.pages.render(
            request,
            "dmp/records.html",
            actor=actor,
            rows=rows,
            total=page.total,
            name=name,
            next=following,
            is_first=not cursor,
        )

    async def _rows(self, patients: Sequence[Resource], actor: Actor, language: str) -> list[Row]:
        ids = [patient["id"] for patient in patients]

        async def work(asking: Asking) -> frozenset[str]:
            return frozenset([id for id in ids if await has_validation(asking, id)])

        candidates: frozenset[str] = await self._core.ask(actor.tenant, work)
        alerts = await self._alerts(ids, actor)
        rows = []
        for patient in patients:
            id = patient["id"]
            is_validated = id in candidates and await self._is_validated(id, actor)
            born = shown(str(patient.get("birthDate", "")), language)
            rows.append(Row(id, person(patient), born, is_validated, None if alerts is None else alerts[id]))
        return rows

    async def _is_validated(self, id: str, actor: Actor) -> bool:
        record = await read_record(self._core, id, actor=actor)
        return await standing(self._core, record, actor=actor) is not None

    async def _alerts(self, ids: Sequence[str], actor: Actor) -> Counter[str] | None:
        """Return how many flags are active for each patient."""
        if not actor.may("s", "Flag"):
            return None
        counts: Counter[str] = Counter()
        query: str | None = f"Flag?patient={','.join(ids)}&status=active&_count=1000" if ids else None
        while query is not None:
            page = await self._core.search(query, actor=actor)
            counts.update(flag["subject"]["reference"].partition("/")[2] for flag in page.resources)
            query = page.next
        return counts

    async def show_record(self, request: Request) -> Any:
        """Show one record's sections."""
        actor = await self._core.pages.actor(request)
        return await self._record(request, actor, request.path_params["id"])

    async def _record(self, request: Request, actor: Actor, id: str, *, is_stale: bool = False) -> Any:
        language = self._core.pages.language(request)
        record = await read_record(self._core, id, actor=actor)
        validated = await standing(self._core, record, actor=actor)
        return self._core.pages.render(
            request,
            "dmp/record.html",
            actor=actor,
            status=409 if is_stale else 200,
            id=id,
            name=person(record.patient),
            born=shown(str(record.patient.get("birthDate", "")), language),
            gender=_gender(record.patient, language),
            validated=_act(validated, record, language),
            parts=parts_of(record, language, is_final=validated is not None),
            others=_others(record),
            unread=unread(record),
            fingerprint=fingerprint(record),
            may_validate=may_validate(actor) and validated is None,
            is_stale=is_stale,
        )

    async def validate_record(self, request: Request) -> Any:
        """Validate the record that the form shows; one that changed since is shown again."""
        actor = await self._core.pages.actor(request)
        form = await self._core.pages.form(request)
        id = request.path_params["id"]
        if not form.get("fingerprint"):
            raise BadRequest("The form does not say which record was read.")
        try:
            await validate(self._core, id, actor=actor, seen=form["fingerprint"])
        except Conflict:
            return await self._record(request, actor, id, is_stale=True)
        return RedirectResponse(f"/records/{id}", 303)


def parts_of(record: Record, language: str, *, is_final: bool) -> list[Part]:
    """Return the sections of a record as the page shows them."""
    return [
        Part(
            section.kind.key,
            say(language, section.kind.fr, section.kind.en),
            [line_of(resource, language, record.names) for resource in section.shown],
            notes_of(section, language, is_final=is_final),
        )
        for section in fill(record)
    ]


def _act(validated: Resource | None, record: Record, language: str) -> tuple[str, str] | None:
    """Return who validated and when."""
    if validated is None:
        return None
    attester = validated["attester"][0]
    who = attester["party"]["reference"]
    return record.names.get(who, who), shown(attester["time"], language)


def _others(record: Record) -> list[tuple[str, int]]:
    return sorted(rest(record).items())


def _gender(patient: Resource, language: str) -> str:
    words = {"male": ("homme", "male"), "female": ("femme", "female"), "other": ("autre", "other")}
    known = words.get(str(patient.get("gender", "")))
    return say(language, *known) if known else ""


def _quoted(text: str) -> str:
    """Return a text as one value of a search: commas and their like escaped, then percent-encoded."""
    for character in "\\,|$":
        text = text.replace(character, "\\" + character)
    return "".join(f"%{byte:02X}" for byte in text.encode())
