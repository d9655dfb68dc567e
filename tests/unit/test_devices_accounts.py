"""Accounts at vendors: whose they are, and that an end is an end, whatever is under way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import parse_qs

import pytest

from adapters.devices import account
from adapters.devices.account import Account, Tokens, account_key
from adapters.devices.pull import Puller
from adapters.devices.vendor import Vendor
from adapters.devices.webhook import DONE, KIND, PENDING, WAITING, Webhooks
from adapters.devices.withings import Refused
from fhir_server import gate
from fhir_server.errors import Forbidden, NotSupported
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Actor, Reply, Scope
from tests.hl7_core import hub

VENDOR = Vendor(name="withings", secret="s", client_secret="c")
UNTIMED = replace(VENDOR, secret="", url_key="k", timestamp_header="")
NOTHING = Reply(200, b'{"status":0,"body":{"measuregrps":[]}}')
MORE = Reply(200, b'{"status":0,"body":{"measuregrps":[],"more":1,"offset":1}}')
KEY = account_key("withings", "u1")
MANY = 1_001


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with hub() as opened:
        yield opened


def webhooks(core: Core) -> Webhooks:
    return Webhooks(core, {"withings": VENDOR}, lambda: None)


async def stored(core: Core) -> Account:
    async def work(asking: Asking) -> Account | None:
        return await account.find(asking, KEY)

    found: Account | None = await core.ask("default", work)
    assert found is not None
    return found


@pytest.mark.parametrize("anew", [False, True])
async def test_a_token_that_is_renewed_while_the_account_is_ended_or_linked_anew_is_not_kept(
    core: Core, anew: bool
) -> None:
    made = webhooks(core)
    await made.link(VENDOR, "u1", Tokens("old", "r-1"))
    leased = await stored(core)

    async def answer(method: str, url: str, headers: Mapping[str, str], body: bytes, *, most: int) -> Reply:
        if anew:
            await made.link(VENDOR, "u1", Tokens("newer", "r-9"))
        else:
            await made.end(VENDOR, "u1")
        return Reply(200, b'{"status":0,"body":{"access_token":"new","refresh_token":"r-2","expires_in":60}}')

    cast(Any, core).call_out = answer
    puller = Puller(core, cast(Any, None), {"withings": VENDOR})
    with pytest.raises(Refused):
        await puller._renew("default", VENDOR, leased, Tokens("old", "r-1"))
    after = await stored(core)
    assert after.state == (account.LINKED if anew else account.ENDED)
    assert account.unseal(VENDOR, after).access == "newer" if anew else after.sealed == ""


async def notifications(core: Core, state: str) -> int:
    async def work(asking: Asking) -> int:
        return len(await asking.records(KIND, state=state, limit=10_000))

    count: int = await core.ask("default", work)
    return count


async def test_all_that_waits_for_an_account_is_asked_for_once_it_is_linked_and_none_once_it_ended(core: Core) -> None:
    async def work(writing: Writing) -> None:
        for number in range(MANY):
            await writing.put_record(KIND, str(number), WAITING, gate.write({"user": "u1"}), lane=KEY)

    await core.transact("default", work)
    await webhooks(core).link(VENDOR, "u1", Tokens("t"))
    assert (await notifications(core, WAITING), await notifications(core, PENDING)) == (0, MANY)
    await webhooks(core).end(VENDOR, "u1")
    assert (await notifications(core, PENDING), await notifications(core, DONE)) == (0, 0)


@pytest.mark.parametrize(
    ("actions", "reference", "is_allowed"),
    [
        pytest.param("cruds", "", True, id="the operator"),
        pytest.param("rs", "", False, id="an operator who only reads"),
        pytest.param("cruds", "Practitioner/1", False, id="a practitioner"),
    ],
)
async def test_only_an_operator_who_may_write_links_and_ends_accounts(
    core: Core, actions: str, reference: str, is_allowed: bool
) -> None:
    actor = Actor("default", "test", (Scope("system", "*", actions),), reference)
    if is_allowed:
        webhooks(core).check(actor)
    else:
        with pytest.raises(Forbidden):
            webhooks(core).check(actor)


async def test_a_vendor_is_of_one_tenant(core: Core) -> None:
    made = webhooks(core)
    assert made.vendor_for(Actor("default", "test", ()), "withings") is VENDOR
    with pytest.raises(NotSupported):
        made.vendor_for(Actor("elsewhere", "test", ()), "withings")


async def tell(core: Core, body: bytes = b"userid=u1&appli=1") -> None:
    await Webhooks(core, {"withings": UNTIMED}, lambda: None).take(UNTIMED, {}, body, key="k")


async def ask(core: Core, *during: bytes) -> list[str]:
    """Have the vendor asked for what is due; it is told these meanwhile. Return the actions that it was asked for."""
    asked: list[str] = []
    telling = list(during)

    async def answer(method: str, url: str, headers: Mapping[str, str], body: bytes, *, most: int) -> Reply:
        asked.extend(parse_qs(body.decode())["action"])
        if telling:
            await tell(core, telling.pop())
        return NOTHING

    cast(Any, core).call_out = answer
    await Puller(core, cast(Any, None), {"withings": replace(UNTIMED, poll_s=0)})._round()
    return asked


async def test_a_notification_without_a_time_is_asked_for_each_time_it_comes(core: Core) -> None:
    await webhooks(core).link(UNTIMED, "u1", Tokens("t"))
    for _ in range(2):
        await tell(core)
        await tell(core)  # one question is enough for both
        assert await ask(core) == ["getmeas"]
        assert await ask(core) == []
    assert (await notifications(core, PENDING), await notifications(core, DONE)) == (0, 1)


async def test_one_that_comes_while_the_vendor_is_asked_is_asked_for_after_that(core: Core) -> None:
    await webhooks(core).link(UNTIMED, "u1", Tokens("t"))
    await tell(core)
    assert await ask(core, b"userid=u1&appli=1") == ["getmeas"]
    assert await notifications(core, PENDING) == 1
    assert await ask(core) == ["getmeas"]
    assert await notifications(core, PENDING) == 0


async def test_an_account_that_is_ended_again_is_ended(core: Core) -> None:
    for _ in range(2):
        await webhooks(core).link(UNTIMED, "u1", Tokens("t"))
        await tell(core, b"userid=u1&action=unlink")
        assert (await stored(core)).state == account.ENDED


@pytest.mark.parametrize("is_taken", [pytest.param(False, id="it stays"), pytest.param(True, id="another has it")])
async def test_an_account_that_takes_long_stays_with_who_asks_for_it(core: Core, is_taken: bool) -> None:
    await webhooks(core).link(UNTIMED, "u1", Tokens("t"))
    await tell(core)
    leases: list[int] = []

    async def shorten(writing: Writing) -> None:
        found = await account.find(writing, KEY)
        assert found is not None
        leases.append(found.lease)
        if is_taken:
            await account.put(writing, replace(found, lease=found.lease + 1))

    async def answer(method: str, url: str, headers: Mapping[str, str], body: bytes, *, most: int) -> Reply:
        await core.transact("default", shorten)
        ahead[0] += 40_000_000  # microseconds that an answer takes
        return MORE if len(leases) < 3 else NOTHING

    ahead, now = [0], core.now
    cast(Any, core).call_out = answer
    cast(Any, core).now = lambda: now() + ahead[0]
    puller = Puller(core, cast(Any, None), {"withings": replace(UNTIMED, poll_s=0)})
    await puller._round()
    assert puller.counts["withings", "lost"] == is_taken
    assert (len(leases), sorted(set(leases)) == leases) == (1 if is_taken else 3, True)
    assert await notifications(core, PENDING) == is_taken
