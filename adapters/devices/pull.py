"""Measurements asked for at vendors: what notifications told of, and now and then what they may not have told.

A notification stays pending until its answer was filed; a vendor that does not answer is asked again, later and later.
Each account has one pull at a time, in whichever process, and all its notifications are one question. Since vendors
lose notifications, what changed since the last poll, with an overlap, is asked for too; group ids make a copy known.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from adapters.devices import account, withings
from adapters.devices.account import Account, Tokens
from adapters.devices.intake import Intake
from adapters.devices.message import Message, Received
from adapters.devices.reading import DeviceName
from adapters.devices.vendor import Vendor
from adapters.devices.webhook import DONE, ENDED, KIND, PENDING
from fhir_server import gate
from fhir_server.errors import FhirError
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Record

LOOK_S: Final = 2.0  # how often the rows are looked at where nothing woke us
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 900.0
LEASE_US: Final = 60_000_000  # microseconds that one process may take for one pull
KEPT_US: Final = 7 * 86_400_000_000  # done notifications are known as copies that long
SWEEP_US: Final = 300_000_000  # microseconds between two looks for old rows
SWEPT: Final = 500  # rows of a state that one look reads: 144,000 a day
PART: Final = 250  # readings that are filed between two looks at the time a process has
EARLY_US: Final = 60_000_000  # a token that ends within it is renewed first
PARALLEL: Final = 4  # accounts at once
MAX_PAGES: Final = 100
MAX_ANSWER: Final = 4_194_304  # bytes
MARGIN_S: Final = 60  # seconds around the times that a notification names
ACTOR: Final = "adapters.devices.webhook"
_SECOND: Final = 1_000_000

log = logging.getLogger("predmp.devices")


@dataclass(frozen=True, slots=True)
class Work:
    """One account with what is to be asked for; without rows it is a poll."""

    account: Account
    vendor: Vendor
    rows: tuple[Record, ...]


class Lost(Exception):
    """The account was ended, or taken by another process, while it was asked for: what came is left to that one."""


class Puller:
    """Asks vendors.

    Args:
        core: The door.
        intake: What takes readings.
        vendors: By name; filled at the start.
        jitter: Returns a number in [0, 1).
    """

    def __init__(
        self,
        core: Core,
        intake: Intake,
        vendors: Mapping[str, Vendor],
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._core, self._intake, self._vendors, self._jitter = core, intake, vendors, jitter
        self._wake = asyncio.Event()
        self.counts: Counter[tuple[str, str]] = Counter()  # (vendor, outcome) -> pulls, readings, goals
        self._swept = 0  # when old rows were looked at
        self.pending = 0  # notifications that wait for an answer

    def wake(self) -> None:
        """Say that there may be something to ask for."""
        self._wake.set()

    async def run(self) -> None:
        """Ask as long as the hub runs."""
        while self._vendors:
            self._wake.clear()
            await self._round()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> None:
        """Do all that is due now."""
        room = asyncio.Semaphore(PARALLEL)

        async def one(tenant: str, work: Work) -> None:
            async with room:
                await self._do(tenant, work)

        tenants = {vendor.tenant or self._core.tenants()[0] for vendor in self._vendors.values()}
        for tenant in sorted(tenants):
            due: list[Work] = await self._core.ask(tenant, self._due)
            await asyncio.gather(*(one(tenant, work) for work in due))
            if self._core.now() - self._swept > SWEEP_US:
                await self._core.transact(tenant, self._sweep)
        if self._core.now() - self._swept > SWEEP_US:
            self._swept = self._core.now()

    async def _due(self, asking: Asking) -> list[Work]:
        """Return what is to be asked for now: by notifications first, then by the clock."""
        now, lanes = self._core.now(), dict[str, list[Record]]()
        after = self.pending = 0
        while rows := await asking.records(KIND, state=PENDING, after=after, limit=500):
            after, self.pending = rows[-1].seq, self.pending + len(rows)
            for row in rows:
                lanes.setdefault(row.lane, []).append(row)
        made: list[Work] = []
        for lane, held in lanes.items():
            found = await account.find(asking, lane)
            is_due = found is not None and found.state == account.LINKED and found.next_at <= now
            if found is not None and is_due and found.vendor in self._vendors:
                made.append(Work(found, self._vendors[found.vendor], tuple(held)))
        after = 0
        while page := await account.linked(asking, after=after):
            after = page[-1][0]
            made += [
                Work(found, self._vendors[found.vendor], ())
                for _, found in page
                if found.key not in lanes and found.vendor in self._vendors and self._is_poll_due(found, now)
            ]
        return made

    def _is_poll_due(self, found: Account, now: int) -> bool:
        every = self._vendors[found.vendor].poll_s * _SECOND
        return bool(every) and now - found.polled >= every and found.next_at <= now

    async def _do(self, tenant: str, work: Work) -> None:
        """Ask for one account, and file what comes; a failure is written down and tried again."""
        leased = await self._lease(tenant, work.account.key)
        if leased is None:
            return
        began = self._core.now()
        try:
            leased, readings = await self._ask_all(tenant, replace(work, account=leased))
            leased = await self._file(tenant, work, leased, readings)
        except Lost:
            self.counts[work.vendor.name, "lost"] += 1
            return
        except FhirError as error:
            self.counts[work.vendor.name, "failed"] += 1
            log.warning("webhook %s: a vendor was asked in vain: %s", work.vendor.name, error.text)
            await self._later(tenant, leased)
            return
        except Exception as error:  # a supervisor: one account that breaks a reader holds up no other
            self.counts[work.vendor.name, "failed"] += 1
            log.error("webhook %s: an answer was not read: %s", work.vendor.name, type(error).__name__)
            await self._later(tenant, leased)
            return
        self.counts[work.vendor.name, "pulled"] += 1
        await self._settle(tenant, leased, work, began)

    async def _lease(self, tenant: str, key: str) -> Account | None:
        """Take the account for this process; None where another has it, or it is linked no more."""

        async def take(writing: Writing) -> Account | None:
            found = await account.find(writing, key)
            if found is None or found.state != account.LINKED or found.lease > writing.now:
                return None
            found = replace(found, lease=writing.now + LEASE_US)
            await account.put(writing, found)
            return found

        leased: Account | None = await self._core.transact(tenant, take)
        return leased

    async def _stay(self, tenant: str, leased: Account) -> Account:
        """Keep the account for this process, where half of its time is over.

        Raises:
            Lost: The account was ended, or another process has it.
        """
        if leased.lease - self._core.now() > LEASE_US // 2:
            return leased

        async def take(writing: Writing) -> Account | None:
            found = await account.find(writing, leased.key)
            if found is None or found.state != account.LINKED or found.lease != leased.lease:
                return None
            longer = replace(leased, lease=writing.now + LEASE_US)
            await account.put(writing, longer)
            return longer

        kept: Account | None = await self._core.transact(tenant, take)
        if kept is None:
            raise Lost
        return kept

    async def _ask_all(self, tenant: str, work: Work) -> tuple[Account, list[Received]]:
        """Return the readings of every page, and the account with the tokens that hold now."""
        leased, tokens = work.account, account.unseal(work.vendor, work.account)
        if tokens.expires and tokens.expires - EARLY_US <= self._core.now():
            leased, tokens = await self._renew(tenant, work.vendor, leased, tokens)
        readings: list[Received] = []
        offset: int | None = 0
        for _ in range(MAX_PAGES):
            leased = await self._stay(tenant, leased)
            form = self._question(work, offset or 0)
            try:
                page = await self._page(work.vendor, form, tokens)
            except withings.Refused:
                leased, tokens = await self._renew(tenant, work.vendor, leased, tokens)
                page = await self._page(work.vendor, form, tokens)
            readings += page.readings
            self.counts[work.vendor.name, "goals"] += page.goals
            offset = page.next
            if offset is None:
                return leased, readings
        self.counts[work.vendor.name, "cut"] += 1
        log.error("webhook %s: an answer has more than %d pages; the rest is left", work.vendor.name, MAX_PAGES)
        return leased, readings

    def _question(self, work: Work, offset: int) -> bytes:
        told = [gate.load(row.body) for row in work.rows]
        if told and all(body["start"] and body["end"] for body in told):
            start = min(body["start"] for body in told) - MARGIN_S
            return withings.question(start=start, end=max(body["end"] for body in told) + MARGIN_S, offset=offset)
        since = work.account.polled // _SECOND - work.vendor.overlap_s
        return withings.question(since=max(since, 1), offset=offset)

    async def _page(self, vendor: Vendor, form: bytes, tokens: Tokens) -> withings.Answered:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Authorization": f"Bearer {tokens.access}",
        }
        reply = await self._core.call("POST", f"{vendor.api.rstrip('/')}/measure", headers, form, most=MAX_ANSWER)
        return withings.read_groups(withings.answer_of(reply.status, reply.body), vendor=vendor.name)

    async def _renew(self, tenant: str, vendor: Vendor, leased: Account, tokens: Tokens) -> tuple[Account, Tokens]:
        """Get a new access token, and keep it before it is used: the old refresh token may hold no more."""
        if not tokens.refresh:
            raise withings.Refused("The vendor does not take the access token, and there is none to renew it with.")
        form = withings.renewal(vendor.client_id, vendor.client_secret, tokens.refresh)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        reply = await self._core.call("POST", f"{vendor.api.rstrip('/')}/v2/oauth2", headers, form, most=MAX_ANSWER)
        held = withings.answer_of(reply.status, reply.body)
        access, lasting = held.get("access_token"), held.get("expires_in")
        if not isinstance(access, str) or not access:
            raise withings.Refused("The vendor gave no new access token.")
        expires = self._core.now() + lasting * _SECOND if isinstance(lasting, int) else 0
        refresh = held.get("refresh_token")
        made = Tokens(access, refresh if isinstance(refresh, str) else tokens.refresh, expires)
        renewed = replace(leased, sealed=account.seal(vendor, leased.user, made))

        async def keep(writing: Writing) -> bool:
            found = await account.find(writing, leased.key)
            if found is None or found.state != account.LINKED or found.sealed != leased.sealed:
                return False
            await account.put(writing, renewed)
            return True

        if not await self._core.transact(tenant, keep):
            raise withings.Refused("The account was ended, or linked anew, while its token was renewed.")
        return renewed, made

    async def _file(self, tenant: str, work: Work, leased: Account, readings: Sequence[Received]) -> Account:
        """File readings; return the account as it is leased then."""
        name = DeviceName(work.vendor.account_system, work.account.user)
        actor = self._core.internal(tenant, ACTOR)
        for start in range(0, len(readings), PART):
            leased = await self._stay(tenant, leased)
            message = Message(name, tuple(readings[start : start + PART]))
            for result in await self._intake.take(message, actor=actor, source="webhook"):
                self.counts[work.vendor.name, f"reading-{result.status}"] += 1
        return leased

    async def _settle(self, tenant: str, leased: Account, work: Work, began: int) -> None:
        """Write down that it is done: the notifications without the user's id, the account without the lease."""

        async def write(writing: Writing) -> None:
            for row in work.rows:
                now = await writing.record(KIND, row.key)
                if now is not None and now.body == row.body:  # else it came again meanwhile, and is asked for again
                    await writing.put_record(KIND, row.key, DONE, gate.write({"vendor": work.vendor.name}), lane="")
            found = await account.find(writing, leased.key)
            if found is not None and found.state == account.LINKED:
                polled = found.polled if work.rows else began
                await account.put(writing, replace(found, lease=0, tries=0, next_at=0, polled=polled))

        await self._core.transact(tenant, write)

    async def _later(self, tenant: str, leased: Account) -> None:
        """Write down when to ask again."""

        async def write(writing: Writing) -> None:
            found = await account.find(writing, leased.key)
            if found is None or found.state != account.LINKED:
                return
            tries = found.tries + 1
            next_at = writing.now + self._wait_us(tries)
            await account.put(writing, replace(found, lease=0, tries=tries, next_at=next_at))

        await self._core.transact(tenant, write)

    def _wait_us(self, tries: int) -> int:
        wait_s = min(FIRST_WAIT_S * 2 ** min(tries - 1, 20), LONGEST_WAIT_S)
        return int(wait_s * (0.75 + self._jitter() / 2) * _SECOND)

    async def _sweep(self, writing: Writing) -> None:
        """Forget notifications that were done, or of no use any more, long ago."""
        for state in (DONE, ENDED):
            for row in await writing.records(KIND, state=state, limit=SWEPT):
                if writing.now - row.at > KEPT_US:
                    await writing.drop_record(KIND, row.key)
