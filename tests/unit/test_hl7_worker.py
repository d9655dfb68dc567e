"""What is applied, tried again, put aside and waited for; on the real core over a store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.hl7 import apply, arrival, replay
from adapters.hl7.acquaintance import Acquaintances
from adapters.hl7.channels import Channel
from adapters.hl7.disk import Disk
from adapters.hl7.inbox import Inbox
from adapters.hl7.reception import STRANGER
from adapters.hl7.record import KIND
from adapters.hl7.worker import delay
from fhir_server import gate
from fhir_server.app import opened
from fhir_server.errors import Conflict, Unavailable
from fhir_server.interactions.asking import RoomView
from fhir_server.interface import Asking, Core, Listener, Writing
from fhir_server.model import Entry, Record, Resource
from fhir_server.settings import Settings
from tests.hl7_messages import CHANNEL, adt, obx, oru, pid, pv1

HOLDING = replace(CHANNEL, hold_lane=True)


def named(_: str) -> Channel:
    return CHANNEL


def by_name(tenant: str, name: str) -> Channel:
    return replace(CHANNEL, tenant=tenant, name=name)


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with AsyncExitStack() as stack:
        composed = await stack.enter_async_context(opened(Settings(store="memory:", rooms=())))
        yield cast(Core, composed.hub)


async def rows(core: Core) -> list[Record]:
    async def work(asking: Asking) -> list[Record]:
        return await asking.records(KIND, limit=10_000)

    found: list[Record] = await core.ask("default", work)
    return found


async def states(core: Core) -> dict[str, str]:
    return {gate.load(row.body)["control_id"]: row.state for row in await rows(core)}


async def until_all_are_applied(core: Core, inbox: Inbox) -> None:
    """Let the time of what is to be tried again come, until all is applied."""
    async with asyncio.timeout(120):
        while set((await states(core)).values()) != {"applied"}:
            due = inbox._worker.lanes._due
            due.update(dict.fromkeys(due, 0.0))
            inbox._worker.wake()
            await asyncio.sleep(0.01)


async def find(core: Core, query: str) -> list[Resource]:
    async def work(asking: Asking) -> list[Resource]:
        return await asking.find(query)

    found: list[Resource] = await core.ask("default", work)
    return found


async def make_twins(core: Core, value: str = "P1") -> list[str]:
    """Store two Patients with one identifier: nothing about it can be applied."""
    identifier = [{"system": "urn:oid:1.2.250.1.999.1", "value": value}]
    body = {"resourceType": "Patient", "identifier": identifier}
    actor = core.internal("default", "test")
    made = [(await core.submit([Entry("POST", "Patient", body)], actor=actor))[0] for _ in range(2)]
    return [outcome.version.reference for outcome in made if outcome.version]


def result(control: str, number: str = "P1", value: str = "88") -> bytes:
    person = pid(id=f"{number}^^^CHU&1.2.250.1.999.1&ISO^PI")
    return oru(obx(value=value), control=control, person=person, order=f"OBR|1||{control}|X^Y^L").encode()


def failing(monkeypatch: pytest.MonkeyPatch, times: int, error: Exception, control: str) -> list[str]:
    """Let messages fail when they are applied; return the control ids in the order in which they were tried."""
    real, left, tried = apply.plan, [times], list[str]()

    async def plan(writing: Any, draft: Any, feed: str) -> Any:
        report = draft.people[0].reports[0]
        name = str(report.report["identifier"][0]["value"]) if report.report else ""
        tried.append(name)
        if name == control and left[0]:
            left[0] -= 1
            raise error
        return await real(writing, draft, feed)

    monkeypatch.setattr("adapters.hl7.effect.plan", plan)
    return tried


async def take(inbox: Inbox, *texts: bytes, channel: Channel = CHANNEL) -> list[str]:
    """Take messages all at once; return their answers' codes."""
    return [answer.code for answer in await asyncio.gather(*(inbox.receive(channel, text) for text in texts))]


@pytest.mark.parametrize(
    ("tries", "share", "seconds"),
    [
        pytest.param(1, 0.0, 1.0, id="after one second first"),
        pytest.param(2, 0.0, 2.0, id="then twice as long"),
        pytest.param(9, 0.0, 256.0, id="and so on"),
        pytest.param(10, 0.0, 300.0, id="up to five minutes"),
        pytest.param(4_000, 0.0, 300.0, id="for ever"),
        pytest.param(1, 1.0, 1.25, id="with a quarter of jitter"),
    ],
)
def test_when_a_message_is_tried_again(tries: int, share: float, seconds: float) -> None:
    assert delay(tries, share) == seconds


async def test_a_passing_failure_is_tried_again_and_keeps_its_patient_s_later_messages_only(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.hl7.worker.FIRST_RETRY_S", 60.0)
    tried = failing(monkeypatch, 3, Conflict("Not yet."), "C1")  # in its batch, then alone, then again
    inbox = Inbox(core)
    assert await take(inbox, result("C1"), result("C2"), result("C3", "P2")) == ["AA", "AA", "AA"]
    await inbox.drained()
    assert await states(core) == {"C1": "received", "C2": "received", "C3": "applied"}
    waiting = gate.load((await rows(core))[0].body)
    assert (waiting["attempts"] >= 1, "next_at" in waiting, waiting["error"]["text"]) == (True, True, "Not yet.")
    await until_all_are_applied(core, inbox)
    order = list(dict.fromkeys(reversed(tried)))
    assert order.index("C1") > order.index("C2"), "the later one came after the one before was applied"
    done = gate.load((await rows(core))[0].body)
    assert (done["attempts"] > waiting["attempts"], "error" in done, "next_at" in done) == (True, False, False)
    await inbox.stop()


async def test_what_fails_for_longer_than_it_may_is_put_in_quarantine(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, 1_000, Conflict("Never."), "C1")
    inbox = Inbox(core, retry_s=0.0)
    await take(inbox, result("C1"), result("C2"))
    await inbox.drained()
    assert await states(core) == {"C1": "quarantined", "C2": "applied"}


@pytest.mark.parametrize("place", [pytest.param(n, id=f"message {n} of 6") for n in range(6)])
async def test_a_poison_message_spoils_no_other_of_its_transaction(core: Core, place: int) -> None:
    await make_twins(core, "BAD")
    inbox = Inbox(core)
    inbox._backlog.work = 0.0001  # so that all fit one transaction
    await take(inbox, *(result(f"C{n}", "BAD" if n == place else f"P{n}") for n in range(6)))
    await inbox.drained()
    assert await states(core) == {f"C{n}": "quarantined" if n == place else "applied" for n in range(6)}
    assert {row["meta"]["versionId"] for row in await find(core, "Observation")} == {"1"}


async def test_a_disk_that_is_slow_to_commit_does_not_make_transactions_smaller(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each message would wait for a commit of its own: 20 messages a second with 50 ms a commit."""
    inbox, real, commits = Inbox(core), core.transact, list[str]()

    async def transact(tenant: str, work: Callable[[Writing], Awaitable[Any]]) -> Any:
        commits.append(tenant)
        made = await real(tenant, work)
        await asyncio.sleep(0.05)
        return made

    await take(inbox, *(result(f"C{n}", f"P{n}") for n in range(20)))
    await inbox.drained()
    monkeypatch.setattr(core, "transact", transact)
    inbox._backlog.cost = 0.1  # as such commits would have it
    await take(inbox, *(result(f"D{n}", f"P{n}") for n in range(60)))
    await inbox.drained()
    assert len(commits) < 40, "it is 60 and more where each message has its own"


async def test_a_map_that_breaks_spoils_no_other_message(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    real = arrival.read

    def read(channel: Channel, raw: bytes) -> Any:
        if b"|C2|" in raw:
            raise KeyError("MARKED")
        return real(channel, raw)

    monkeypatch.setattr("adapters.hl7.worker.read", read)
    inbox = Inbox(core)
    await take(inbox, result("C1"), result("C2"), result("C3"))
    await inbox.drained()
    assert await states(core) == {"C1": "applied", "C2": "quarantined", "C3": "applied"}


async def test_a_channel_may_hold_a_patient_s_later_messages_back_until_a_person_has_decided(core: Core) -> None:
    twins = await make_twins(core)
    inbox = Inbox(core, channels=by_name)
    await take(inbox, result("C1"), result("C2"), result("C3", "P2"), channel=HOLDING)
    await inbox.drained()
    assert await states(core) == {"C1": "quarantined", "C2": "received", "C3": "applied"}
    await inbox.stop()
    again = Inbox(core, channels=by_name)
    await again.start()
    await again.drained()
    assert (await states(core))["C2"] == "received", "also after a restart"
    await core.submit([Entry("DELETE", twins[0])], actor=core.internal("default", "test"))
    report = await replay.apply(core, "mllp|DPI|CHU TEST|C1", channels=named)
    assert report.state == "applied"
    await again._read_holds("default")
    again._worker.wake()
    await until_all_are_applied(core, again)
    await again.stop()


async def test_what_was_acknowledged_before_the_process_ended_is_applied_by_the_next(core: Core) -> None:
    first = Inbox(core)
    first._worker.wake = lambda: None  # type: ignore[method-assign]  # it ends before it applies anything
    assert await take(first, *(result(f"C{n}", value=str(n)) for n in range(8))) == ["AA"] * 8
    assert set((await states(core)).values()) == {"received"}
    other = replace(CHANNEL, tenant="other")
    assert await take(first, result("D1"), channel=other) == ["AA"]
    second = Inbox(core, channels=by_name)
    await second.start()
    await second.drained()
    assert set((await states(core)).values()) == {"applied"}
    assert len(await find(core, "Observation")) == 8

    async def work(asking: Asking) -> list[Record]:
        return await asking.records(KIND)

    assert [row.state for row in await core.ask("other", work)] == ["applied"], "another tenant's too"
    await second.stop()


async def test_two_hubs_on_one_store_apply_each_message_once(core: Core) -> None:
    one, other = Inbox(core), Inbox(core, channels=by_name)
    held = list[Any]()
    one._worker.wake = lambda: held.append(1)  # type: ignore[method-assign]
    await take(one, *(result(f"C{n}", f"P{n % 3}") for n in range(30)))
    await other.start()
    del one._worker.wake
    one._worker.wake()
    await asyncio.gather(one.drained(), other.drained())
    assert set((await states(core)).values()) == {"applied"}
    assert {gate.load(row.body)["attempts"] for row in await rows(core)} == {1}
    assert one.counts["AA", "applied"] + other.counts["AA", "applied"] == 30
    await one.stop()
    await other.stop()


async def test_what_no_channel_takes_is_not_applied_when_it_comes_again(core: Core) -> None:
    inbox = Inbox(core)
    for _ in range(3):
        answer = await inbox.receive(CHANNEL, result("C1"), cut=STRANGER)
        assert answer.code == "AR"
    await inbox.drained()
    assert ([row.state for row in await rows(core)], await find(core, "Observation")) == (["quarantined"], [])


async def test_what_even_quarantine_does_not_take_delays_no_other_message(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.hl7.worker import Worker

    real = Worker._put

    async def put(self: Any, writing: Any, one: Any, *rest: Any, **more: Any) -> None:
        if one.key.endswith("|C1"):
            raise RuntimeError("MARKED")
        await real(self, writing, one, *rest, **more)

    monkeypatch.setattr(Worker, "_put", put)
    inbox = Inbox(core)
    await take(inbox, result("C1"), result("C2"), result("C3", "P2"))
    await inbox.drained()
    assert await states(core) == {"C1": "received", "C2": "received", "C3": "applied"}
    await inbox.stop()


async def test_a_message_that_was_erased_while_it_waited_is_not_applied(core: Core) -> None:
    inbox = Inbox(core)
    real, inbox._worker.wake = inbox._worker.wake, lambda: None  # type: ignore[method-assign]
    await take(inbox, result("C1"))

    async def erase(writing: Any) -> None:
        await writing.drop_record(KIND, "mllp|DPI|CHU TEST|C1")

    await core.transact("default", erase)
    real()
    await inbox.drained()
    assert (await rows(core), await find(core, "Observation")) == ([], [])


async def test_a_reader_waits_for_what_was_acknowledged_before_it_came(core: Core) -> None:
    inbox = Inbox(core)
    assert inbox.settled() is None
    real, inbox._worker.wake = inbox._worker.wake, lambda: None  # type: ignore[method-assign]
    await take(inbox, *(result(f"C{n}") for n in range(5)))
    waiting = inbox.settled(within_s=60.0)
    assert waiting is not None
    real()
    await waiting
    assert (len(await find(core, "Observation")), inbox.settled()) == (5, None)


async def test_a_reader_does_not_wait_for_more_than_can_be_applied_in_time(core: Core) -> None:
    inbox = Inbox(core)
    inbox._worker.wake = lambda: None  # type: ignore[method-assign]
    await take(inbox, *(result(f"C{n}") for n in range(5)))
    inbox._backlog.cost = 1.0
    assert inbox.settled(within_s=2.0) is None
    inbox._backlog.cost = 0.001
    waiting = inbox.settled(within_s=0.01)
    assert waiting is not None
    await waiting  # and it ends, though nothing was applied
    assert await find(core, "Observation") == []


async def test_while_the_store_does_not_answer_messages_wait_and_none_is_lost(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.hl7.worker.FIRST_RETRY_S", 0.01)
    inbox = Inbox(core)
    inbox._worker.wake, real = lambda: None, inbox._worker.wake  # type: ignore[method-assign]
    await take(inbox, *(result(f"C{n}", value=str(n)) for n in range(4)))
    transact, down = core.transact, [5]

    async def failing_transact(tenant: str, work: Any) -> Any:
        if down[0]:
            down[0] -= 1
            raise Unavailable("The disk is away.")
        return await transact(tenant, work)

    monkeypatch.setattr(core, "transact", failing_transact)
    real()
    async with asyncio.timeout(120):
        await inbox.drained()
    assert (down[0], set((await states(core)).values())) == (0, {"applied"})


@pytest.fixture
async def acquainted(core: Core) -> Inbox:
    """An inbox that remembers Patients, told of each one that is written."""
    known = Acquaintances()
    hub = cast(Any, core)
    hub.listeners = (*hub.listeners, Listener(known.types, known.changed))
    return Inbox(core, known=known)


async def test_a_patient_who_is_known_is_not_searched_for_again(
    core: Core, acquainted: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await take(acquainted, result("C0"))
    await acquainted.drained()
    await take(acquainted, result("C1"))
    await acquainted.drained()
    searches = list[str]()
    real = RoomView.find

    async def find_patients(self: Any, query: str) -> Any:
        searches.append(query.partition("?")[0])
        return await real(self, query)

    monkeypatch.setattr(RoomView, "find", find_patients)
    await take(acquainted, *(result(f"D{n}") for n in range(5)))
    await acquainted.drained()
    assert ("Patient" in searches, set((await states(core)).values())) == (False, {"applied"})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("twin", id="another Patient gets the number"),
        pytest.param("number", id="the Patient loses it"),
        pytest.param("gone", id="the Patient is deleted"),
    ],
)
async def test_who_was_known_is_searched_for_again_after_a_change(core: Core, acquainted: Inbox, change: str) -> None:
    for control in ("C0", "C1"):
        await take(acquainted, result(control))
        await acquainted.drained()
    (patient,) = await find(core, "Patient")
    actor = core.internal("default", "test")
    if change == "twin":
        twin = {"resourceType": "Patient", "identifier": patient["identifier"]}
        await core.submit([Entry("POST", "Patient", twin)], actor=actor)
    elif change == "number":
        other = {**patient, "identifier": [{"system": "urn:x", "value": "1"}]}
        await core.submit([Entry("PUT", f"Patient/{patient['id']}", other)], actor=actor)
    else:
        await core.submit([Entry("DELETE", f"Patient/{patient['id']}")], actor=actor)
    await take(acquainted, result("C2"))
    await acquainted.drained()
    expected = "quarantined" if change == "twin" else "applied"
    assert (await states(core))["C2"] == expected
    if change != "twin":
        subjects = {one["subject"]["reference"] for one in await find(core, "DiagnosticReport?identifier=C2")}
        assert subjects.isdisjoint({f"Patient/{patient['id']}"})


async def test_one_patient_s_admissions_keep_their_order_among_many(core: Core) -> None:
    inbox = Inbox(core)
    texts = [
        adt(
            "A08", f"{number}-{n}", person=pid(id=f"P{number}^^^CHU&1.2.250.1.999.1&ISO^PI", name=f"N{n}^X"),
            stay=pv1(f"V{number}"),
        ).encode()
        for n in range(12) for number in range(4)
    ]  # fmt: skip
    assert set(await take(inbox, *texts)) == {"AA"}
    await inbox.drained()
    names = [(row["name"][0]["family"], row["meta"]["versionId"]) for row in await find(core, "Patient")]
    assert names == [("N11", "12")] * 4


@pytest.mark.parametrize(
    ("store", "least", "free", "low"),
    [
        pytest.param("sqlite:///var/x.db", 100, 99, True, id="less than there should be"),
        pytest.param("sqlite:///var/x.db", 100, 100, False, id="as much"),
        pytest.param("sqlite:///var/x.db", 0, 0, False, id="nobody asks"),
        pytest.param("mongodb://host/x", 100, 0, False, id="the disk of another machine"),
        pytest.param("memory:", 100, 0, False, id="no disk"),
    ],
)
def test_a_disk_is_low(store: str, least: int, free: int, low: bool) -> None:
    looks = list[Path]()

    def look(folder: Path) -> int:
        looks.append(folder)
        return free

    disk = Disk(store, least, timer=lambda: 5.0, free=look)
    assert [disk.is_low(), disk.is_low()] == [low, low]
    assert len(looks) <= 1, "it is not looked at for each message"


async def test_messages_are_read_ahead_while_the_disk_is_waited_for(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(core)
    worker, backlog = inbox._worker, inbox._backlog
    with monkeypatch.context() as held:
        held.setattr(worker, "wake", lambda: None)
        for number in range(3):
            await inbox.receive(CHANNEL, oru(obx(value="72"), control=f"M{number}").encode())
    looks = iter([True, True, False])
    worker._read_ahead(lambda: next(looks))
    assert [one.arrival is not None for one in backlog.upcoming(9)] == [True, True, False]
    with monkeypatch.context() as broken:
        broken.setattr("adapters.hl7.worker.read", lambda *_: 1 / 0)
        worker._read_ahead(lambda: True)
    assert backlog.upcoming(9)[2].arrival is None, "what fails is read in its turn"
    worker.wake()
    await inbox.drained()
    assert set((await states(core)).values()) == {"applied"}
