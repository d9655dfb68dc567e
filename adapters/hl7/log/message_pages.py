"""The pages of one message: what it is, what would change, and what is done with it; replays of many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from adapters.hl7 import replay
from adapters.hl7.log import detail, search
from adapters.hl7.log.entry import Entry
from adapters.hl7.log.pages import Pages
from adapters.hl7.log.replaying import RUNNING, Runs
from adapters.hl7.log.search import Wanted
from adapters.hl7.log.session import AUDIT_MANY
from adapters.hl7.record import QUARANTINED
from adapters.hl7.replay import Mode, Report, Selection
from fhir_server import gate
from fhir_server.errors import BadRequest, TooLarge
from fhir_server.interface import Asking
from fhir_server.model import Actor, Resource

MOST_RESOURCES: Final = 50  # of one message that its page shows in full
SAME_BUDGET: Final = 2_000  # newest messages that are looked at for the same control id
SELECTED: Final = ("fault", "path", "rule", "code", "sender", "type", "since")  # what a replay of many is asked by
LONGEST_RESOURCE: Final = 20_000  # characters of one resource that a page shows; attachments are longer
LONGEST_EDIT: Final = 20_000  # characters of a message that a form can carry back
LONGEST_REASON: Final = 500


class MessagePages:
    """One message, and what is done with it."""

    def __init__(self, pages: Pages, runs: Runs) -> None:
        self._pages, self._core, self._runs = pages, pages.core, runs

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        one = "/admin/messages/{seq}"
        for path, handler, method in (
            ("/admin/messages/replays", self.start_run, "POST"),
            ("/admin/messages/replays/{id}", self.show_run, "GET"),
            (one, self.show, "GET"),
            (one + "/replay", self.replay, "POST"),
            (one + "/edit", self.edit, "GET"),
            (one + "/edit", self.replay_edited, "POST"),
            (one + "/leave-out", self.leave_out, "POST"),
        ):
            router.add_api_route(path, handler, methods=[method], response_class=Response)

    # --- looking ---------------------------------------------------------------------------------------------
    async def show(self, request: Request) -> Any:
        """Show one message."""
        actor = await self._pages.operator(request)
        return await self._show(request, actor, await self._pages.entry(actor, request))

    async def _show(self, request: Request, actor: Actor, entry: Entry, **more: Any) -> Any:
        self._pages.saw(actor, entry, request)
        channel = (await self._pages.channels(actor.tenant))(entry.body.get("channel", "mllp"))
        message, marks = detail.shown_of(entry.raw, channel.charset), detail.marks_of(entry.body)
        resources = await self._resources(actor, entry)
        drafted = [] if resources else detail.draft_of(channel, entry.raw)
        return self._pages.render(
            request,
            "message.html",
            actor,
            entry=entry,
            body=_whole(entry.body),
            lines=detail.lines_of(message, marks) if message else [],
            text="" if message else entry.raw[:4000].decode("latin-1"),
            tree=detail.tree_of(message, marks) if message else [],
            resources=[(_reference(one), _pretty(one)) for one in resources],
            drafted=[(one["resourceType"], _pretty(one)) for one in drafted],
            related=await self._related(actor, entry),
            may_act=actor.may("u", "*"),
            is_editable=len(entry.raw) <= LONGEST_EDIT,
            **{"report": None, "edited": "", **more},
        )

    async def _resources(self, actor: Actor, entry: Entry) -> list[Resource]:
        async def work(asking: Asking) -> list[Resource]:
            names = entry.body.get("resources", ())[:MOST_RESOURCES]
            found = [await asking.resource(name) for name in names]
            return [resource for resource in found if resource is not None]

        found: list[Resource] = await self._core.ask(actor.tenant, work)
        return found

    async def _related(self, actor: Actor, entry: Entry) -> list[tuple[str, Entry]]:
        """Return (how, message) of copies, originals, and others of the same number."""
        found: list[tuple[str, Entry]] = []
        body = entry.body
        names = [("original", body.get("replay_of")), *(("copy", key) for key in body.get("replays", ()))]
        if entry.key.endswith(f"|{body.get('sha256', '')}"):  # the same number with other content
            names.append(("same", entry.key.rpartition("|")[0]))
        for how, key in names:
            if key and (other := await search.by_key(self._core, actor.tenant, key)):
                found.append((how, other))
        known = {entry.key, *(other.key for _, other in found)}
        same = await self._same_number(actor, entry)
        return found + [("same", other) for other in same if other.key not in known]

    async def _same_number(self, actor: Actor, entry: Entry) -> Sequence[Entry]:
        """Return newer messages of this sender with the same control id, as far as a short look goes."""
        wanted = Wanted(control_id=entry.body.get("control_id", ""), sender=entry.sender)

        found = await search.page(self._core, actor.tenant, wanted, limit=5, budget=SAME_BUDGET)
        return found.entries

    # --- replaying -------------------------------------------------------------------------------------------
    async def replay(self, request: Request) -> Any:
        """Show what a replay would change, or do it and show what it did."""
        actor = await self._pages.operator(request, acts=True)
        entry, form = await self._pages.entry(actor, request), await self._core.pages.form(request)
        mode = _mode(form.get("mode", ""))
        known = await self._pages.channels(actor.tenant)
        if mode is Mode.DRY_RUN:
            report = await replay.dry_run(self._core, entry.key, channels=known, tenant=actor.tenant)
        else:
            self._pages.saw(actor, entry, request, "U")
            is_as_of = mode is Mode.AS_OF
            report = await replay.apply(self._core, entry.key, channels=known, tenant=actor.tenant, as_of=is_as_of)
            entry = await self._pages.entry(actor, request)
        return await self._show(request, actor, entry, report=_shown(report))

    async def edit(self, request: Request) -> Any:
        """Show a form with a copy of the message."""
        actor = await self._pages.operator(request, acts=True)
        entry = await self._pages.entry(actor, request)
        if len(entry.raw) > LONGEST_EDIT:
            raise TooLarge("This message is too long for a form: predmp hl7 replay KEY --edited FILE takes it.")
        self._pages.saw(actor, entry, request)
        return self._form(request, actor, entry, _as_lines(entry), None)

    async def replay_edited(self, request: Request) -> Any:
        """Show what the edited copy would change, or apply it."""
        actor = await self._pages.operator(request, acts=True)
        entry, form = await self._pages.entry(actor, request), await self._core.pages.form(request)
        text = form.get("text", "").replace("\r\n", "\r").replace("\n", "\r").strip("\r") + "\r"
        mode = _mode(form.get("mode", ""))
        try:
            raw = detail.bytes_of(text)
        except UnicodeEncodeError:
            raise BadRequest("A character of the copy is not in the character set of the message.") from None
        original, codec = detail.text_of(entry.raw, entry.body["charset"])
        if codec == entry.body["charset"] and text == _lines(original).replace("\n", "\r").strip("\r") + "\r":
            raise BadRequest("The copy is the same as the original: replay that.")
        known = await self._pages.channels(actor.tenant)
        self._pages.saw(actor, entry, request, "R" if mode is Mode.DRY_RUN else "U")
        report = await replay.edited(
            self._core, entry.key, raw, channels=known, tenant=actor.tenant, mode=mode, by=actor.subject
        )
        if mode is not Mode.DRY_RUN and (copy := await search.by_key(self._core, actor.tenant, report.key)):
            return await self._show(request, actor, copy, report=_shown(report))
        return self._form(request, actor, entry, text.replace("\r", "\n"), _shown(report))

    def _form(self, request: Request, actor: Actor, entry: Entry, text: str, report: Any) -> Any:
        error = entry.body.get("error", {})
        return self._pages.render(
            request, "edit.html", actor, entry=entry, text=text, report=report, error=error, rows=text.count("\n") + 3
        )

    async def leave_out(self, request: Request) -> Any:
        """Take a message in quarantine out of the work to do."""
        actor = await self._pages.operator(request, acts=True)
        entry, form = await self._pages.entry(actor, request), await self._core.pages.form(request)
        reason = form.get("reason", "").strip()[:LONGEST_REASON]
        if not reason:
            raise BadRequest("Say why the message is left out.")
        await replay.leave_out(self._core, entry.key, reason, by=actor.subject, tenant=actor.tenant)
        self._pages.saw(actor, entry, request, "U")
        return RedirectResponse(f"/admin/messages/{entry.seq}", 303)

    # --- many ------------------------------------------------------------------------------------------------
    async def start_run(self, request: Request) -> Any:
        """Begin a replay of all messages of a fault: first a dry run, whose report leads to the real one."""
        actor = await self._pages.operator(request, acts=True)
        form = await self._core.pages.form(request)
        given = {name: form.get(name, "").strip()[:200] for name in SELECTED}
        if not given["fault"] and not given["rule"] and not given["code"]:
            raise BadRequest("Say of which fault, of which problem or with which code the messages are replayed.")
        state = QUARANTINED if given["fault"] else ""
        mode = _mode(form.get("mode", ""))
        self._core.audit(actor, "R" if mode is Mode.DRY_RUN else "U", AUDIT_MANY, "", (), 0, "", "many")
        id = await self._runs.start(actor.tenant, Selection(state=state, **given), mode, by=actor.subject)
        return RedirectResponse(f"/admin/messages/replays/{id}", 303)

    async def show_run(self, request: Request) -> Any:
        """Show how far a replay of many is, and what it came to."""
        actor = await self._pages.operator(request)
        run = await self._runs.read(actor.tenant, request.path_params["id"])
        answer = self._pages.render(
            request,
            "run.html",
            actor,
            run=run,
            is_running=run["state"] == RUNNING,
            may_act=actor.may("u", "*"),
            selected=[(name, run["selection"].get(name, "")) for name in SELECTED],
        )
        if run["state"] == RUNNING:
            answer.headers["Refresh"] = "2"
        return answer


def _whole(body: dict[str, Any]) -> dict[str, Any]:
    """Return a message's body with all that the page asks of it."""
    usual: dict[str, Any] = {
        "settled": "",
        "left_out": None,
        "error": None,
        "version": "",
        "attempts": 0,
        "history": [],
        "parent": "",
    }
    made = {**usual, "issues": [], "unused": [], "unmapped": [], **body}
    if made["error"]:
        made["error"] = {"detail": "", "text": "", "issues": [], **made["error"]}
    return made


def _mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError:
        raise BadRequest("There is no such way to replay.") from None


def _reference(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _pretty(resource: Resource) -> str:
    text = json.dumps(json.loads(gate.write(resource)), ensure_ascii=False, indent=2)
    return text if len(text) <= LONGEST_RESOURCE else f"{text[:LONGEST_RESOURCE]}… ({len(text)})"


def _as_lines(entry: Entry) -> str:
    return _lines(detail.text_of(entry.raw, entry.body["charset"])[0])


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _shown(report: Report) -> dict[str, Any]:
    """Return a report as the page shows it."""
    touched = [
        {
            "reference": one.reference,
            "action": one.action,
            "differences": [
                {"path": d.path, "before": _value(d.before), "after": _value(d.after)} for d in one.differences
            ],
        }
        for one in report.touched
    ]
    return {
        "mode": report.mode.value,
        "is_dry": report.mode is Mode.DRY_RUN,
        "state": report.state,
        "touched": touched,
        "fault": report.fault,
        "reason": report.reason,
        "rules": [rule.partition(" ")[::2] for rule in report.rules],
    }


def _value(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return gate.write(value).decode() if isinstance(value, dict | list | bool) else str(value)
