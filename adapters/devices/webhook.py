"""Webhooks of vendors: the signature is looked at, the notification stored, then answered; measurements come later.

A notification under way is a durable row: what the vendor was told 200 for is asked for until it was got.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.devices import account, reason, signature
from adapters.devices.account import Account, Tokens, account_key
from adapters.devices.quarantine import keep
from adapters.devices.reading import DeviceName
from adapters.devices.reading_json import is_text
from adapters.devices.vendor import Vendor
from adapters.devices.withings import ENDING, MEASURED, Notification, read_notification
from fhir_server import gate
from fhir_server.errors import BadRequest, Forbidden, NotSupported, Unauthorized, Unavailable
from fhir_server.interface import Core, Erasure, Writing
from fhir_server.model import Actor, Record
from fhir_server.pages.form import read_body

KIND: Final = "device-webhook"
PENDING: Final = "pending"  # to be asked for
WAITING: Final = "waiting"  # of a user whose account is not linked yet
DONE: Final = "done"
ENDED: Final = "ended"  # never asked for: the user ended the link before
MAX_BODY: Final = 65_536  # bytes
_LONGEST_TOKEN: Final = 4_096  # characters
SENDER: Final = "adapters.devices.webhook"

log = logging.getLogger("predmp.devices")


class Webhooks:
    """Takes notifications, and the operator's links of accounts.

    Args:
        core: The door.
        vendors: By name; filled at the start.
        wake: Called when there is something to ask for.
    """

    def __init__(self, core: Core, vendors: Mapping[str, Vendor], wake: Callable[[], None]) -> None:
        self._core, self._vendors, self._wake = core, vendors, wake
        self.counts: Counter[tuple[str, str]] = Counter()  # (vendor, outcome) -> notifications

    def tenant(self, vendor: Vendor) -> str:
        """Return whose territory a vendor's measurements are of."""
        return vendor.tenant or self._core.tenants()[0]

    def vendor(self, name: str) -> Vendor:
        """Return a vendor; raise NotSupported for one that is not set."""
        found = self._vendors.get(name)
        if found is None:
            raise NotSupported("No vendor of this name is set here.")
        return found

    def check(self, actor: Actor) -> None:
        """Raise Forbidden unless a caller may link and end accounts: the operator, who may write measurements."""
        if not actor.is_operator or not actor.may("c", "Observation"):
            raise Forbidden("Only the operator links and ends accounts.")

    def vendor_for(self, actor: Actor, name: str) -> Vendor:
        """Return a vendor whose measurements are of a caller's tenant; raise NotSupported for any other."""
        found = self.vendor(name)
        if self.tenant(found) != actor.tenant:
            raise NotSupported("No vendor of this name is set here.")
        return found

    async def take(self, vendor: Vendor, headers: Mapping[str, str], body: bytes, *, key: str) -> None:
        """Store a notification; returns after the commit.

        Raises:
            Unauthorized: It is not the vendor's; nothing is stored.
            Unavailable: The store cannot answer: the vendor sends it again.
        """
        fault = signature.fault(vendor, headers, body, key=key, now_s=self._core.now() // 1_000_000)
        if fault:
            self.counts[vendor.name, f"refused-{fault}"] += 1
            raise Unauthorized("The notification has no signature that holds.")
        timestamp = headers.get(vendor.timestamp_header, "") if vendor.timestamp_header else ""
        id = hashlib.sha256(b"\n".join((vendor.name.encode(), timestamp.encode(), body))).hexdigest()[:40]
        try:
            said = read_notification(body)
        except BadRequest as error:
            await self._keep(vendor, body, error.text)
            self.counts[vendor.name, "unreadable"] += 1
            return
        is_new = await self._store(vendor, id, said, is_timed=timestamp != "")
        self.counts[vendor.name, "stored" if is_new else "known"] += 1
        self.counts[vendor.name, "other-kind"] += is_new and said.action not in ENDING and said.kind not in MEASURED
        if is_new:
            self._wake()

    async def _store(self, vendor: Vendor, id: str, said: Notification, *, is_timed: bool = True) -> bool:
        """Store a notification; whether there is something to ask for.

        One that has no time of its own looks like any other of its content: it is asked for again, since a measure
        asked for twice is known by its group, and one that is not asked for is lost.
        """

        async def work(writing: Writing) -> bool:
            found = await writing.record(KIND, id)
            if found is not None and is_timed:
                return False  # a replay, or sent again after an answer that was lost
            times = 1 if found is None or found.state != PENDING else gate.load(found.body).get("times", 1) + 1
            lane = account_key(vendor.name, said.user)
            known = await account.find(writing, lane)
            state = PENDING
            if said.action in ENDING:
                state = DONE
                await account.put(writing, account.ended(known or Account(vendor.name, said.user, account.ENDED)))
                await self._end(writing, lane)
            elif known is None or known.state != account.LINKED:
                state = WAITING
            body = {"vendor": vendor.name, **said._asdict(), "times": times}
            await writing.put_record(KIND, id, state, gate.write(body), lane=lane)
            return True

        is_new: bool = await self._core.transact(self.tenant(vendor), work)
        if is_new and said.action in ENDING:
            log.warning("webhook %s: an account was ended (%s); its tokens are gone", vendor.name, said.action)
        return is_new

    async def _end(self, writing: Writing, lane: str) -> None:
        """Mark what can no more be asked for: its account was ended before."""
        for state in (PENDING, WAITING):
            await _put_all(writing, lane, state, ENDED)

    async def _keep(self, vendor: Vendor, body: bytes, detail: str) -> None:
        async def work(writing: Writing) -> bool:
            name, raw = DeviceName(vendor.account_system, "?"), {"payload": body.decode("utf-8", "replace")}
            return await keep(writing, name, raw, reason.PAYLOAD_MALFORMED, sender=SENDER, detail=detail)

        if not await self._core.transact(self.tenant(vendor), work):
            raise Unavailable("The notification cannot be read, and there is no room to keep it aside.")

    async def link(self, vendor: Vendor, user: str, tokens: Tokens) -> None:
        """Link an account, or give it new tokens; what waited for it is asked for."""

        async def work(writing: Writing) -> None:
            key = account_key(vendor.name, user)
            known = await account.find(writing, key)
            polled = known.polled if known is not None else writing.now
            made = Account(vendor.name, user, account.LINKED, account.seal(vendor, user, tokens), polled=polled)
            await account.put(writing, made)
            await _put_all(writing, key, WAITING, PENDING)

        await self._core.transact(self.tenant(vendor), work)
        self._wake()

    async def end(self, vendor: Vendor, user: str) -> bool:
        """End an account: its tokens go; return whether there was one."""

        async def work(writing: Writing) -> bool:
            known = await account.find(writing, account_key(vendor.name, user))
            if known is None:
                return False
            await account.put(writing, account.ended(known))
            await self._end(writing, known.key)
            return True

        was_there: bool = await self._core.transact(self.tenant(vendor), work)
        return was_there


def make_router(core: Core, webhooks: Webhooks) -> APIRouter:
    """Return the routes of webhooks."""
    router = APIRouter(tags=["Devices"])

    async def notify(request: Request) -> Response:
        """Take a vendor's notification: 200 once it is stored; 401 where its signature does not hold."""
        vendor = webhooks.vendor(request.path_params["vendor"])
        key = request.path_params.get("key", "")
        await webhooks.take(
            vendor,
            request.headers,
            await _body(request),
            key=key,
        )
        return Response(headers={"Cache-Control": "no-store"})

    async def answer_check(request: Request) -> Response:
        """Say that the address is there, as vendors ask before they use it."""
        webhooks.vendor(request.path_params["vendor"])
        return Response(headers={"Cache-Control": "no-store"})

    async def link_account(request: Request) -> Response:
        """Link a user's account at a vendor; for the operator. The Device with its identifier says whose it is."""
        actor = await core.authenticate(request.headers.get("authorization", ""))
        webhooks.check(actor)
        vendor, user, tokens = _link(gate.parse(await _body(request)), core.now())
        await webhooks.link(webhooks.vendor_for(actor, vendor), user, tokens)
        core.audit(actor, "U", account.KIND, "", (), 0, str(getattr(request.state, "request_id", "")))
        return Response(status_code=204, headers={"Cache-Control": "no-store"})

    for path in ("/devices/webhooks/{vendor}", "/devices/webhooks/{vendor}/{key}"):
        router.add_api_route(path, notify, methods=["POST"], response_class=Response)
        router.add_api_route(path, answer_check, methods=["GET"], response_class=Response)
        router.add_api_route(path, answer_check, methods=["HEAD"], response_class=Response, include_in_schema=False)
    router.add_api_route("/devices/accounts", link_account, methods=["POST"], response_class=Response)
    return router


async def _put_all(writing: Writing, lane: str, state: str, following: str) -> None:
    """Give all notifications of an account that are in a state the following one."""
    while rows := await writing.records(KIND, state=state, lane=lane, limit=1_000):
        for row in rows:
            await writing.put_record(KIND, row.key, following, row.body, lane=lane)


def holds(record: Record, erasure: Erasure) -> bool:
    """Whether a notification names a user whose identifier is erased (`interface.Eraser`)."""
    return gate.load(record.body).get("user") in erasure.identifiers


def _link(body: Any, now: int) -> tuple[str, str, Tokens]:
    fields = {"vendor", "user", "access_token", "refresh_token", "expires_in"}
    if not isinstance(body, dict) or not body.keys() >= {"vendor", "user", "access_token"} or body.keys() - fields:
        raise BadRequest("The body has vendor, user and access_token, and may have refresh_token and expires_in.")
    refresh, lasting = body.get("refresh_token", ""), body.get("expires_in", 0)
    access = body["access_token"]
    are_tokens = all(isinstance(token, str) and len(token) <= _LONGEST_TOKEN for token in (access, refresh))
    if not (is_text(body["vendor"]) and is_text(body["user"]) and access and are_tokens):
        raise BadRequest("vendor, user and the tokens are texts.")
    if isinstance(lasting, bool) or not isinstance(lasting, int) or not 0 <= lasting < 10**9:
        raise BadRequest("expires_in is a number of seconds.")
    return body["vendor"], body["user"], Tokens(access, refresh, now + lasting * 1_000_000 if lasting else 0)


async def _body(request: Request) -> bytes:
    return await read_body(request, MAX_BODY, "A notification has at most 65,536 bytes.")
