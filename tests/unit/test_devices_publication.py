"""What becomes of a publication, and of what a vendor is asked, on the real core over a store in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from adapters.devices import account, arrival, quarantine
from adapters.devices.account import Account, Tokens
from adapters.devices.arrival import first_arrival
from adapters.devices.intake import Intake
from adapters.devices.publication import Publication, Publications
from adapters.devices.pull import KEPT_US, LEASE_US, Puller
from adapters.devices.release import Release
from adapters.devices.vendor import Vendor
from adapters.devices.webhook import DONE, KIND, PENDING, Webhooks
from fhir_server import gate
from fhir_server.app import opened
from fhir_server.errors import Throttled, Unavailable
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Entry, Record, Reply, Resource
from fhir_server.settings import Settings

DEVICE = "urn:dev:mac:a1"
TOPIC = f"dev/default/gw-1/{DEVICE}/obs"
NOW = 4_009_075_200_000_000  # 2097-01-15T08:00:00Z, far from today; the store counts on by a microsecond a commit


class Clock:
    """A clock that stands until it is moved; microseconds since 1970."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def core(clock: Clock) -> AsyncIterator[Core]:
    async with AsyncExitStack() as stack:
        composed = await stack.enter_async_context(opened(Settings(store="memory:", rooms=())))
        hub = composed.hub
        hub._clock = cast(Any, composed.store)._clock = clock
        yield cast(Core, hub)


@pytest.fixture
async def patient(core: Core) -> str:
    """A patient with the device, known by its URN and as an account of the vendor."""
    actor = core.internal("default", "test")
    made = await core.submit([Entry("POST", "Patient", {"resourceType": "Patient"})], actor=actor)
    assert made[0].version is not None
    patient = made[0].version.reference
    names = [
        {"system": "urn:ietf:rfc:3986", "value": DEVICE},
        {"system": "urn:predmp:devices:account:v", "value": "u-1"},
    ]
    device: Resource = {"resourceType": "Device", "identifier": names, "patient": {"reference": patient}}
    await core.submit([Entry("POST", "Device", device)], actor=actor)
    return patient


def publications(core: Core) -> Publications:
    return Publications(core, Intake(core, ZoneInfo("UTC")))


async def observations(core: Core) -> list[Resource]:
    async def work(asking: Asking) -> list[Resource]:
        return await asking.find("Observation?_sort=_lastUpdated")

    found: list[Resource] = await core.ask("default", work)
    return found


async def rows(core: Core, kind: str) -> list[Record]:
    async def work(asking: Asking) -> list[Record]:
        return await asking.records(kind)

    found: list[Record] = await core.ask("default", work)
    return found


def relative(value: int) -> bytes:
    return json.dumps([{"n": f"{DEVICE}:8867-4", "u": "/min", "v": value, "t": -5}]).encode()


async def test_a_relative_time_of_a_copy_is_counted_from_when_it_came_first(
    core: Core, clock: Clock, patient: str
) -> None:
    taking = publications(core)
    for seconds, is_copy in ((0, False), (30, True), (60, False)):
        clock.now = NOW + seconds * 1_000_000
        await taking.take(Publication(TOPIC, relative(72), "application/senml+json", is_copy))
    times = [each["effectiveDateTime"][:19] for each in await observations(core)]
    assert times == ["2097-01-15T07:59:55", "2097-01-15T08:00:55"]
    assert taking.counts == {("obs", "stored"): 2, ("obs", "duplicate"): 1}


async def test_what_came_first_is_forgotten_after_a_day(core: Core, clock: Clock) -> None:
    for number in range(3):
        await first_arrival(core, "default", f"k{number}")
    clock.now += arrival.KEPT_US + 1_000_000
    assert await first_arrival(core, "default", "k0") >= clock.now
    assert {row.key for row in await rows(core, arrival.KIND)} == {"k0"}


@pytest.mark.parametrize("error", [Unavailable("The store cannot answer now."), Throttled("Too many.")])
async def test_while_the_store_does_not_answer_nothing_is_kept_and_the_caller_is_told(
    core: Core, patient: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(tenant: str, work: Callable[[Writing], Awaitable[Any]]) -> Any:
        raise error

    monkeypatch.setattr(core, "transact", refuse)
    taking = publications(core)
    for payload in (relative(72), b"{"):
        with pytest.raises(type(error)):
            await taking.take(Publication(TOPIC, payload))
    assert not taking.counts


async def test_a_payload_that_breaks_a_reader_is_kept_aside_and_comes_no_more(
    core: Core, patient: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a value of the payload")

    monkeypatch.setattr("adapters.devices.publication.read_format", broken)
    await publications(core).take(Publication(TOPIC, relative(72)))
    (row,) = await rows(core, quarantine.KIND)
    assert gate.load(row.body)["reason"] == "payload-malformed"
    assert "ZeroDivisionError" in caplog.text and "a value of the payload" not in caplog.text


async def test_what_came_by_a_way_that_is_not_its_own_becomes_no_reading_by_being_tried_again(
    core: Core, patient: str
) -> None:
    payload = json.dumps([{"n": f"{DEVICE}:8867-4", "u": "/min", "v": 72, "t": 1_799_999_000}]).encode()
    await publications(core).take(Publication("dev/default/gw-1/another/obs", payload))
    (row,) = await rows(core, quarantine.KIND)
    release = Release(core, Intake(core, ZoneInfo("UTC")), "test")
    assert await release.again("default", row) is None
    assert await observations(core) == []
    assert gate.load((await rows(core, quarantine.KIND))[0].body)["reason"] == "identity-mismatch"


async def test_a_device_behind_two_gateways_is_one_and_its_gateway_is_kept(core: Core, patient: str) -> None:
    taking = publications(core)
    payload = json.dumps([{"n": f"{DEVICE}:8867-4", "u": "/min", "v": 72, "t": 1_799_999_000}]).encode()
    for gateway in ("gw-1", "gw-2"):
        await taking.take(Publication(f"dev/default/{gateway}/{DEVICE}/obs", payload))
    (stored,) = await observations(core)
    assert "gw-1" in json.dumps(stored, default=str)


# --- vendors ---------------------------------------------------------------------------------------------------------

VENDOR = Vendor(name="v", secret="s", api="https://vendor.example", client_id="c", client_secret="s", poll_s=3_600)
GROUP = {
    "grpid": 1,
    "attrib": 0,
    "date": 1_799_999_000,
    "category": 1,
    "measures": [{"type": 1, "value": 70, "unit": 0}],
}


class Outside:
    """What the vendor answers: each call takes the next one; the last one stays."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[bytes] = []

    async def call(self, method: str, url: str, headers: Any, body: bytes, *, most: int) -> Reply:
        self.asked.append(body)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Reply(200, json.dumps(answer).encode())


def given(*groups: dict[str, Any]) -> dict[str, Any]:
    return {"status": 0, "body": {"measuregrps": list(groups)}}


async def linked(core: Core, monkeypatch: pytest.MonkeyPatch, outside: Outside) -> tuple[Webhooks, Puller]:
    monkeypatch.setattr(core, "call_out", outside.call, raising=False)
    vendors = {"v": VENDOR}
    puller = Puller(core, Intake(core, ZoneInfo("UTC")), vendors, jitter=lambda: 0.5)
    webhooks = Webhooks(core, vendors, puller.wake)
    await webhooks.link(VENDOR, "u-1", Tokens("a", "r"))
    return webhooks, puller


async def told(
    core: Core, webhooks: Webhooks, text: str = "userid=u-1&appli=1&startdate=1799999000&enddate=1799999000"
) -> None:
    from adapters.devices.withings import read_notification

    await webhooks._store(VENDOR, str(core.now()) + text, read_notification(text.encode()))


async def found(core: Core) -> Account:
    async def work(asking: Asking) -> Account | None:
        return await account.find(asking, account.account_key("v", "u-1"))

    made: Account | None = await core.ask("default", work)
    assert made is not None
    return made


async def test_failures_wait_longer_and_longer_and_a_success_ends_that(
    core: Core, clock: Clock, patient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Outside(Unavailable("down"), Unavailable("down"), Unavailable("down"), given(GROUP))
    webhooks, puller = await linked(core, monkeypatch, outside)
    await told(core, webhooks)
    waits = []
    for _ in range(3):
        await puller._round()
        next_at = (await found(core)).next_at
        waits.append(round((next_at - clock.now) / 1_000_000))
        await puller._round()  # not due yet: nobody is asked
        clock.now = next_at
    assert waits == [1, 2, 4] and len(outside.asked) == 3
    await puller._round()
    assert (len(await observations(core)), (await found(core)).tries) == (1, 0)
    assert [row.state for row in await rows(core, KIND)] == [DONE]
    assert b"u-1" not in (await rows(core, KIND))[0].body  # the user's id is not kept longer than it is needed


async def test_many_notifications_of_one_account_are_one_question(
    core: Core, patient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Outside(given(GROUP))
    webhooks, puller = await linked(core, monkeypatch, outside)
    for at in (1_799_999_000, 1_799_990_000, 1_799_995_000):
        await told(core, webhooks, f"userid=u-1&startdate={at}&enddate={at}")
    await puller._round()
    assert outside.asked == [b"action=getmeas&category=1&startdate=1799989940&enddate=1799999060"]


async def test_polls_ask_for_what_changed_since_the_last_with_an_overlap(
    core: Core, clock: Clock, patient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Outside(given(GROUP))
    _, puller = await linked(core, monkeypatch, outside)
    await puller._round()
    assert outside.asked == []
    for hours in (1, 2):
        clock.now = NOW + hours * 3_601_000_000
        await puller._round()
    since = [4_009_075_200 - 86_400, 4_009_075_200 + 3_601 - 86_400]
    assert outside.asked == [f"action=getmeas&category=1&lastupdate={at}".encode() for at in since]


async def test_an_account_that_another_process_asks_for_is_left_to_it_until_its_lease_ends(
    core: Core, clock: Clock, patient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Outside(given(GROUP))
    webhooks, puller = await linked(core, monkeypatch, outside)
    await told(core, webhooks)
    assert await puller._lease("default", account.account_key("v", "u-1")) is not None
    await puller._round()
    assert (outside.asked, [row.state for row in await rows(core, KIND)]) == ([], [PENDING])
    clock.now += LEASE_US + 1_000_000
    await puller._round()
    assert len(outside.asked) == 1


async def test_a_token_that_is_about_to_end_is_renewed_before_it_is_used(
    core: Core, clock: Clock, patient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = {"status": 0, "body": {"access_token": "b", "refresh_token": "r-2", "expires_in": 10_800}}
    outside = Outside(renewed, given(GROUP))
    webhooks, puller = await linked(core, monkeypatch, outside)
    await webhooks.link(VENDOR, "u-1", Tokens("a", "r-1", clock.now + 1))
    await told(core, webhooks)
    await puller._round()
    assert b"refresh_token=r-1" in outside.asked[0] and b"getmeas" in outside.asked[1]
    assert account.unseal(VENDOR, await found(core)) == Tokens("b", "r-2", clock.now + 10_800_000_000)


async def test_an_answer_that_breaks_a_reader_holds_up_no_other_and_is_asked_for_again(
    core: Core, patient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhooks, puller = await linked(core, monkeypatch, Outside(given(GROUP)))
    await told(core, webhooks)

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("adapters.devices.pull.withings.read_groups", broken)
    await puller._round()
    assert ((await found(core)).tries, [row.state for row in await rows(core, KIND)]) == (1, [PENDING])


async def test_notifications_done_long_ago_are_forgotten(
    core: Core, clock: Clock, patient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhooks, puller = await linked(core, monkeypatch, Outside(given(GROUP)))
    await told(core, webhooks)
    await puller._round()
    clock.now += KEPT_US + 1_000_000
    await puller._round()
    assert [row for row in await rows(core, KIND) if row.at < clock.now - KEPT_US] == []


async def test_an_account_without_its_vendor_in_the_file_is_left_alone(
    core: Core, clock: Clock, patient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Outside(given(GROUP))
    webhooks, _ = await linked(core, monkeypatch, outside)
    await told(core, webhooks)
    other = Puller(core, Intake(core, ZoneInfo("UTC")), {"w": replace(VENDOR, name="w")})
    await other._round()
    assert outside.asked == []
