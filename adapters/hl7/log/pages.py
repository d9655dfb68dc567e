"""The pages of the message log: `/admin/messages` and below; for the operator, each look at content audited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from adapters.hl7.log import collector, coverage, search, silence, words
from adapters.hl7.log.details import detail_in
from adapters.hl7.log.entry import Entry
from adapters.hl7.log.search import LAST, Wanted
from adapters.hl7.log.session import AUDIT
from adapters.hl7.log.shown import local_time, rows_of
from adapters.hl7.record import QUARANTINED, STATES
from adapters.hl7.replay import Channels
from fhir_server.errors import BadParameter, Forbidden, NotFound
from fhir_server.interface import Asking, Core
from fhir_server.model import Actor

PAGE: Final = 50  # messages on one page
GROUPED: Final = 1_000  # messages in quarantine that are grouped by their fault
MOST_ACCOUNTS: Final = 60  # senders and types on one page
MOST_LANES: Final = 20  # identifiers of one patient that are looked for

FILTERS: Final = ("control_id", "state", "type", "sender", "fault", "rule", "parent", "since", "until")
ChannelsOf = Callable[[str], Awaitable[Channels]]


class Pages:
    """What the pages share.

    Args:
        core: The door.
        channels: Gives the channels of a tenant.
        zone: In which times are shown.
    """

    def __init__(self, core: Core, channels: ChannelsOf, zone: ZoneInfo) -> None:
        self.core, self.channels, self.zone = core, channels, zone

    async def operator(self, request: Request, *, acts: bool = False) -> Actor:
        """Return the operator who is signed in; raise Forbidden for anybody else, SignInNeeded for nobody."""
        actor = await self.core.pages.actor(request)
        needed = "ru" if acts else "r"
        if not actor.is_operator or not all(actor.may(action, "*") for action in needed):
            raise Forbidden("Only the operator sees the message log.")
        return actor

    def saw(self, actor: Actor, entry: Entry, request: Request, action: str = "R") -> None:
        """Keep in the audit chain that a message's content was seen or that something was done with it."""
        id = str(getattr(request.state, "request_id", ""))
        self.core.audit(actor, action, AUDIT, "", entry.patients, 0, id, f"message={entry.seq}")

    async def entry(self, actor: Actor, request: Request) -> Entry:
        """Return the message that the address names; raise NotFound."""
        text = request.path_params["seq"]
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise NotFound("There is no such message.")
        found = await search.by_place(self.core, actor.tenant, int(text))
        if found is None:
            raise NotFound("There is no such message.")
        return found

    def render(self, request: Request, template: str, actor: Actor, *, status: int = 200, **context: Any) -> Any:
        """Fill a template of this room, with the words of its language."""
        language = self.core.pages.language(request)
        return self.core.pages.render(
            request,
            f"hl7/{template}",
            actor=actor,
            status=status,
            say=lambda known, key: words.in_words(getattr(words, known), key, language),
            detailed=lambda text: detail_in(text, language),
            who=lambda sender: "–" if sender == "|" else sender,  # a message without MSH names none
            tone=lambda state: words.TONES.get(state, ""),
            clock=lambda text: local_time(text, self.zone),
            **context,
        )


class LogPages:
    """The list and the accounts."""

    def __init__(self, pages: Pages) -> None:
        self._pages, self._core = pages, pages.core

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.add_api_route("/admin/messages", self.show_list, methods=["GET"], response_class=Response)
        router.add_api_route("/admin/messages", self.search_list, methods=["POST"], response_class=Response)
        router.add_api_route("/admin/messages/coverage", self.show_coverage, methods=["GET"], response_class=Response)

    async def show_list(self, request: Request) -> Any:
        """Show messages, newest first."""
        actor = await self._pages.operator(request)
        given = {name: request.query_params.get(name, "").strip()[:200] for name in FILTERS}
        return await self._list(request, actor, given, _before(request.query_params.get("before", "")), "")

    async def search_list(self, request: Request) -> Any:
        """Show messages of a patient; other searches are sent on to an address that can be kept."""
        actor = await self._pages.operator(request)
        form = await self._core.pages.form(request)
        given = {name: form.get(name, "").strip()[:200] for name in FILTERS}
        patient = form.get("patient", "").strip()[:200]
        if not patient:
            query = urlencode({name: text for name, text in given.items() if text})
            return RedirectResponse("/admin/messages" + (f"?{query}" if query else ""), 303)
        return await self._list(request, actor, given, _before(form.get("before", "")), patient)

    async def _list(self, request: Request, actor: Actor, given: Mapping[str, str], before: int, patient: str) -> Any:
        lanes, text = await self._patient(actor, patient) if patient else ((), b"")
        if patient:
            id = str(getattr(request.state, "request_id", ""))
            reference = patient if patient.startswith("Patient/") else ""
            owners = (reference.removeprefix("Patient/"),) if reference else ()
            self._core.audit(actor, "E", "hl7-message-search", reference, owners, 0, id, f"patient={patient}")
        since, until = (search.moment(given[name], self._pages.zone) for name in ("since", "until"))
        wanted = Wanted(**{**given, "since": since, "until": until}, lanes=lanes, text=text)
        if given["state"] and given["state"] not in STATES:
            raise BadParameter("There is no such state.")

        page = await search.page(self._core, actor.tenant, wanted, before=before, limit=PAGE)
        faults = await _faults(self._core, actor.tenant)
        quiet = await collector.silent(self._core, actor.tenant, self._pages.zone)
        query = urlencode({name: value for name, value in given.items() if value})
        return self._pages.render(
            request,
            "messages.html",
            actor,
            rows=rows_of(page.entries),
            given=given,
            patient=patient,
            states=STATES,
            query=query,
            next=page.next,
            is_cut=page.is_cut,
            is_first=before == LAST,
            faults=faults,
            silent=quiet,
            may_act=actor.may("u", "*"),
        )

    async def _patient(self, actor: Actor, text: str) -> tuple[tuple[str, ...], bytes]:
        """Return the lanes of a patient, by reference or by system|value; else the bytes to look for."""

        async def work(asking: Asking) -> list[str]:
            resource = await asking.resource(text)
            found = (resource or {}).get("identifier", ())
            return [f"{i['system']}|{i['value']}" for i in found if "system" in i and "value" in i]

        if text.startswith("Patient/"):
            known = await self._core.ask(actor.tenant, work)
            if not known:
                raise NotFound("There is no such patient.")
            return tuple(f"{actor.tenant}|{name}" for name in known[:MOST_LANES]), b""
        if "|" in text:
            return (f"{actor.tenant}|{text}",), b""
        return (), text.encode()

    async def show_coverage(self, request: Request) -> Any:
        """Show accounts by sender, and how quiet each feed is."""
        actor = await self._pages.operator(request)
        sender = request.query_params.get("sender", "").strip()[:200]
        since = request.query_params.get("since", "").strip()[:10]
        day = search.moment(since)
        found = await coverage.report(self._core, actor.tenant, sender=sender, since=day)

        async def work(asking: Asking) -> list[silence.Feed]:
            return await silence.feeds(asking)

        feeds = await self._core.ask(actor.tenant, work)
        now = self._core.now() / 1_000_000
        known = (await self._pages.channels(actor.tenant))("mllp").local
        return self._pages.render(
            request,
            "coverage.html",
            actor,
            accounts=[coverage.shown(who, type, account) for (who, type), account in found.items()][:MOST_ACCOUNTS],
            may_act=actor.may("u", "*"),
            hidden=max(0, len(found) - MOST_ACCOUNTS),
            sender=sender,
            since=since,
            feeds=[(feed, feed.is_silent(now, self._pages.zone), now - feed.last) for feed in feeds],
            rest=silence.REST,
            profiles=known.profiles,
            unused_maps=known.codes.unused,
            maps=len({mapped.map for rows in known.codes.rows.values() for _, mapped in rows}),
        )


async def _faults(core: Core, tenant: str) -> list[tuple[str, str, int]]:
    """Return (code, place, how many) of the newest messages in quarantine, the most frequent first."""
    found: Counter[tuple[str, str]] = Counter()
    async for entry in search.back(core, tenant, Wanted(state=QUARANTINED)):
        error = entry.body.get("error", {})
        found[error.get("code", ""), error.get("path", "")] += 1
        if found.total() == GROUPED:
            break
    return [(code, path, count) for (code, path), count in found.most_common(10)]


def _before(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else LAST
