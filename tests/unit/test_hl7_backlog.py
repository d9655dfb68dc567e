"""What waits: urgent messages in the store go first again after a restart, on each kind; a full backlog lets them in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import pytest

from adapters.hl7.backlog import Backlog, Waiting
from adapters.hl7.channels import Channel
from adapters.hl7.inbox import Inbox
from adapters.hl7.record import KIND
from fhir_server import gate
from fhir_server.app import opened
from fhir_server.interface import Asking, Core
from fhir_server.model import Record
from fhir_server.settings import Settings
from tests import mongo
from tests.hl7_messages import CHANNEL, adt, obx, oru, pid, pv1


@pytest.fixture(params=["memory", "sqlite", "mongo"])
async def core(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Core]:
    store = {"memory": "memory:", "sqlite": f"sqlite:///{tmp_path / 'hub.db'}"}.get(request.param) or mongo.new_url()
    async with AsyncExitStack() as stack:
        if request.param == "mongo":
            stack.callback(mongo.drop, store)
        composed = await stack.enter_async_context(opened(Settings(store=store, rooms=())))
        yield cast(Core, composed.hub)


def by_name(tenant: str, name: str) -> Channel:
    return CHANNEL


def result(control: str, number: str, **more: str) -> bytes:
    person = pid(id=f"{number}^^^CHU&1.2.250.1.999.1&ISO^PI")
    return oru(obx(**more), control=control, person=person, order=f"OBR|1||{control}|X^Y^L").encode()


async def order(core: Core) -> list[str]:
    """Return the control ids of applied messages in the order in which they were."""

    async def work(asking: Asking) -> list[Record]:
        return await asking.records(KIND, state="applied")

    rows: list[Record] = await core.ask("default", work)
    return [gate.load(row.body)["control_id"] for row in sorted(rows, key=lambda row: (row.at, row.seq))]


async def test_what_was_urgent_is_so_for_the_next_process(core: Core) -> None:
    first = Inbox(core)
    first._worker.wake = lambda: None  # type: ignore[method-assign]  # it ends before it applies anything
    texts = [result(f"C{number}", f"P{number}") for number in range(12)]
    texts[6] = adt(control="before", person=pid(id="U^^^CHU&1.2.250.1.999.1&ISO^PI"), stay=pv1("VU")).encode()
    texts += [result("critical", "U", f8="HH"), result("after", "U")]
    answers = await asyncio.gather(*(first.receive(CHANNEL, text) for text in texts))
    assert {answer.code for answer in answers} == {"AA"}
    second = Inbox(core, channels=by_name)
    await second.start()
    await second.drained()
    made = await order(core)
    assert (made[:2], made[-1], len(made)) == (["before", "critical"], "after", len(texts))
    await second.stop()


def one(number: int) -> Waiting:
    return Waiting(str(number), CHANNEL, b"x", 0)


async def test_a_full_backlog_lets_urgent_messages_in_and_a_tenth_more_at_most() -> None:
    hurries = False
    backlog = Backlog(20, lambda: hurries)
    for number in range(20):
        backlog.add(one(number))
    full = backlog.room()
    assert full is not None
    waits = asyncio.ensure_future(full)
    await asyncio.sleep(0)
    assert not waits.done()
    hurries = True
    backlog.hurry()
    await waits
    assert backlog.room() is None
    for number in range(20, 22):
        backlog.add(one(number))
    full = backlog.room()
    assert full is not None, "these places are taken too"
    waits = asyncio.ensure_future(full)
    await asyncio.sleep(0)
    backlog.forget(backlog.take())
    await waits


async def test_a_full_hub_takes_in_an_urgent_message_with_its_patients_own_alone(core: Core) -> None:
    inbox = Inbox(core, channels=by_name, most=20)
    inbox._worker._ending = True  # nothing is applied: the places stay taken
    await asyncio.gather(*(inbox.receive(CHANNEL, result(f"C{number}", "U")) for number in range(20)))
    others = [inbox.receive(CHANNEL, result(f"L{number}", f"O{number}")) for number in range(3)]
    own = inbox.receive(CHANNEL, result("own", "P"))
    await asyncio.sleep(0.05)
    assert not any(one.done() for one in (*others, own)), "there is no room for what can wait"
    critical = inbox.receive(CHANNEL, result("critical", "P", f8="HH"))
    after = inbox.receive(CHANNEL, result("after", "P"))
    answers = await asyncio.wait_for(asyncio.gather(own, critical), 120)
    assert {answer.code for answer in answers} == {"AA"}
    assert not any(one.done() for one in (*others, after))
    rows: list[Record] = await core.ask("default", lambda asking: asking.records(KIND, limit=100))
    assert [gate.load(row.body)["control_id"] for row in rows][-2:] == ["own", "critical"]
    await inbox.stop()
    assert {one.result().code for one in (*others, after)} == {"AA"}


async def test_readers_wait_for_what_was_overtaken_too() -> None:
    backlog = Backlog(20)
    for number in range(3):
        backlog.add(one(number))
    urgent = one(3)
    urgent.whose, urgent.is_urgent = ("p",), True
    backlog.add(urgent)
    waits = backlog.settled(5)
    assert waits is not None
    reader = asyncio.ensure_future(waits)
    assert backlog.take() is urgent
    backlog.passed()
    await asyncio.sleep(0)
    assert not reader.done()
    for _ in range(3):
        backlog.take()
    backlog.passed()
    await reader
