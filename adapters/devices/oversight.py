"""What the operator sees of the ways in: accounts at vendors, and what is online; and how an account is ended."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.devices import account, presence
from adapters.devices.instant import written
from adapters.devices.reading_json import is_text
from adapters.devices.webhook import KIND as NOTIFICATION
from adapters.devices.webhook import WAITING, Webhooks
from fhir_server import gate
from fhir_server.errors import BadParameter, BadRequest, Forbidden, NotFound
from fhir_server.interface import Asking, Core
from fhir_server.model import Actor, Record
from fhir_server.pages.form import read_body

PAGE = 100  # rows of one answer
MOST_WAITING = 1_000  # notifications that are looked at for whom nobody has linked
_LONGEST = 4_096  # bytes of a body


def make_router(core: Core, webhooks: Webhooks) -> APIRouter:
    """Return the operator's routes."""
    router = APIRouter(tags=["Devices"])

    async def get_accounts(request: Request) -> Response:
        """List accounts at vendors, 100 at a time; for the operator. `after` is the `seq` of the last one.

        The first page has the users too of whom a vendor told something, and whose account was never linked.
        """
        actor, after = await _operator(core, request), _after(request)

        async def work(asking: Asking) -> dict[str, Any]:
            rows = await asking.records(account.KIND, after=after, limit=PAGE)
            listed = [await _shown(asking, row) for row in rows]
            return {"accounts": listed} if after else {"accounts": listed, "unlinked": await _unlinked(asking)}

        listed = await core.ask(actor.tenant, work)
        _seen(core, actor, account.KIND, request)
        return _json(listed)

    async def get_presence(request: Request) -> Response:
        """List what said whether it is online, 100 at a time; for the operator. `after` is the last one's `seq`."""
        actor, after = await _operator(core, request), _after(request)

        async def work(asking: Asking) -> list[Record]:
            return await asking.records(presence.KIND, after=after, limit=PAGE)

        rows: list[Record] = await core.ask(actor.tenant, work)
        _seen(core, actor, presence.KIND, request)
        return _json({"presence": [_present(row) for row in rows]})

    async def end_account(request: Request) -> Response:
        """End an account: its tokens go, nothing is asked for any more; for the operator."""
        actor = await core.authenticate(request.headers.get("authorization", ""))
        webhooks.check(actor)
        body = gate.parse(await read_body(request, _LONGEST, "The body is longer than what names an account."))
        if not isinstance(body, dict) or body.keys() != {"vendor", "user"} or not all(map(is_text, body.values())):
            raise BadRequest("The body has vendor and user, and nothing else.")
        if not await webhooks.end(webhooks.vendor_for(actor, body["vendor"]), body["user"]):
            raise NotFound("There is no such account.")
        _seen(core, actor, account.KIND, request, "U")
        return Response(status_code=204, headers={"Cache-Control": "no-store"})

    router.add_api_route("/devices/accounts", get_accounts, methods=["GET"], response_class=Response)
    router.add_api_route("/devices/accounts/end", end_account, methods=["POST"], response_class=Response)
    router.add_api_route("/devices/presence", get_presence, methods=["GET"], response_class=Response)
    return router


async def _operator(core: Core, request: Request) -> Actor:
    actor = await core.authenticate(request.headers.get("authorization", ""))
    if not actor.is_operator or not actor.may("r", "Observation"):
        raise Forbidden("Only the operator sees how feeds come in.")
    return actor


def _seen(core: Core, actor: Actor, kind: str, request: Request, action: str = "R") -> None:
    """Have it audited that somebody looked at rows, or changed one: what stands in them leads to a person."""
    core.audit(actor, action, kind, "", (), 0, str(getattr(request.state, "request_id", "")))


async def _shown(asking: Asking, row: Record) -> dict[str, Any]:
    """Return an account without its tokens; `waiting` are notifications that came before it was linked."""
    body = gate.load(row.body)
    waiting = await asking.records(NOTIFICATION, state=WAITING, lane=row.key, limit=PAGE)
    return {
        "seq": row.seq,
        "vendor": body["vendor"],
        "user": body["user"],
        "state": row.state,
        "polled": written(body["polled"]) if body["polled"] else None,
        "failures": body["tries"],
        "waiting": len(waiting),
    }


async def _unlinked(asking: Asking) -> list[dict[str, Any]]:
    """Return whom the oldest notifications that wait are about, where no account says so."""
    found: dict[str, list[Record]] = {}
    for row in await asking.records(NOTIFICATION, state=WAITING, limit=MOST_WAITING):
        found.setdefault(row.lane, []).append(row)
    made: list[dict[str, Any]] = []
    for lane, rows in found.items():
        if len(made) < PAGE and await account.find(asking, lane) is None:
            body = gate.load(rows[0].body)
            since = written(min(row.at for row in rows))
            made.append({"vendor": body["vendor"], "user": body["user"], "waiting": len(rows), "since": since})
    return made


def _present(row: Record) -> dict[str, Any]:
    body = gate.load(row.body)
    shown = {"gateway": body["gateway"], "device": body["device"], "status": row.state}
    return {"seq": row.seq, **shown, "since": written(body["since"])}


def _after(request: Request) -> int:
    text = request.query_params.get("after", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadParameter("after is a number that a row was listed with.")
    return int(text)


def _json(value: Any) -> Response:
    return Response(gate.write(value), media_type="application/json", headers={"Cache-Control": "no-store"})
