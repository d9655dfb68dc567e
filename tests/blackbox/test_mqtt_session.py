"""The session with a real broker: nothing is acknowledged before it is stored, and what was not comes again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from adapters.devices.broker import Broker
from adapters.devices.mqtt import RECEIVE_MAXIMUM, Session
from adapters.devices.publication import Publication
from fhir_server.errors import Unavailable
from tests.mosquitto import Gateway, Mosquitto

FILTER = "dev/+/+/+/obs"


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with Mosquitto() as running:
        yield running


def session(broker: Mosquitto, client: str, take: object) -> Session:
    return Session(Broker(broker.url, client), "", (FILTER,), take, jitter=lambda: 0.0)  # type: ignore[arg-type]


async def connected(running: Session) -> None:
    async with asyncio.timeout(120):
        while not running.is_connected:
            await asyncio.sleep(0.01)


async def publish(broker: Mosquitto, *payloads: bytes, device: str = "d") -> None:
    def work() -> None:
        with Gateway(broker) as gateway:
            for payload in payloads:
                gateway.publish(f"dev/default/gw/{device}/obs", payload)

    await asyncio.to_thread(work)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_the_store_did_not_take_is_not_acknowledged_and_comes_again_as_a_copy(broker: Mosquitto) -> None:
    tries: list[Publication] = []

    async def take(publication: Publication) -> None:
        tries.append(publication)
        if len(tries) == 1:
            raise Unavailable("The store cannot answer now; try again.")
        if len(tries) == 2:
            raise OSError("No space left on device")

    running = session(broker, "again", take)
    task = asyncio.create_task(running.run())
    await connected(running)
    await publish(broker, b"1")
    async with asyncio.timeout(120):
        while not running.counts["acknowledged"]:
            await asyncio.sleep(0.02)
    await ended(task)
    assert [(each.payload, each.is_copy) for each in tries] == [(b"1", False), (b"1", True), (b"1", True)]
    assert running.counts["losses"] == 2


async def test_what_comes_while_the_hub_is_away_waits_for_it(broker: Mosquitto) -> None:
    got: list[bytes] = []

    async def take(publication: Publication) -> None:
        got.append(publication.payload)

    first = session(broker, "away", take)
    task = asyncio.create_task(first.run())
    await connected(first)
    await ended(task)
    await publish(broker, b"2")
    second = session(broker, "away", take)
    task = asyncio.create_task(second.run())
    async with asyncio.timeout(120):
        while not got:
            await asyncio.sleep(0.01)
    await ended(task)
    assert got == [b"2"]


async def test_one_device_in_order_others_beside_it_and_no_more_under_way_than_receive_maximum(
    broker: Mosquitto,
) -> None:
    gate, most = asyncio.Event(), 0
    got: list[bytes] = []

    async def take(publication: Publication) -> None:
        nonlocal most
        most = max(most, running.under_way)
        if publication.payload == b"0":
            await gate.wait()
        got.append(publication.payload)

    running = session(broker, "order", take)
    task = asyncio.create_task(running.run())
    await connected(running)
    await publish(broker, b"0", b"1", device="slow")
    await publish(broker, *(b"f%d" % n for n in range(RECEIVE_MAXIMUM + 20)), device="fast")
    async with asyncio.timeout(120):
        while len(got) < RECEIVE_MAXIMUM - 2:
            await asyncio.sleep(0.01)
    acknowledged = running.counts["acknowledged"]
    gate.set()
    async with asyncio.timeout(120):
        while running.counts["acknowledged"] < RECEIVE_MAXIMUM + 22:
            await asyncio.sleep(0.01)
    await ended(task)
    assert acknowledged == 0  # PUBACKs go in the order of the publications, and the first was not stored yet
    assert got.index(b"0") < got.index(b"1") and got.index(b"f1") < got.index(b"0")
    assert most <= RECEIVE_MAXIMUM


async def test_without_a_broker_the_session_goes_on_trying_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def take(publication: Publication) -> None:
        raise AssertionError("nobody sends")

    lonely = Session(Broker("mqtt://127.0.0.1:9", "lonely"), "", (FILTER,), take, jitter=lambda: 0.0)
    task = asyncio.create_task(lonely.run())
    async with asyncio.timeout(120):
        while lonely.counts["losses"] < 2:
            await asyncio.sleep(0.01)
    await ended(task)
    assert "mqtt readings: the connection ended: ConnectionRefusedError" in caplog.text


async def test_a_broker_that_was_restarted_is_found_again(broker: Mosquitto) -> None:
    got: list[bytes] = []

    async def take(publication: Publication) -> None:
        got.append(publication.payload)

    running = session(broker, "restart", take)
    task = asyncio.create_task(running.run())
    await connected(running)
    await asyncio.to_thread(broker.stop)
    async with asyncio.timeout(120):
        while not running.counts["losses"]:
            await asyncio.sleep(0.01)
    await asyncio.to_thread(broker.start)
    await publish(broker, b"3")  # maybe before the hub is back: the broker kept the session
    async with asyncio.timeout(120):
        while not got or running.counts["connects"] < 2:
            await asyncio.sleep(0.01)
    await ended(task)
    assert got == [b"3"] and not running.counts["forgotten"]


async def test_a_broker_that_forgot_the_session_is_told_of(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    async def take(publication: Publication) -> None:
        raise AssertionError("nothing is published")

    running = session(broker, "forgotten", take)
    task = asyncio.create_task(running.run())
    await connected(running)
    await asyncio.to_thread(broker.stop)
    (broker.folder / "mosquitto.db").unlink(missing_ok=True)
    await asyncio.to_thread(broker.start)
    async with asyncio.timeout(120):
        while running.counts["connects"] < 2:
            await asyncio.sleep(0.01)
    await ended(task)
    assert running.counts["forgotten"] == 1
    assert "mqtt readings: the broker had forgotten the session" in caplog.text


async def test_hubs_that_share_a_group_get_each_publication_once(broker: Mosquitto) -> None:
    got: dict[str, list[bytes]] = {"one": [], "two": []}

    def taker(name: str) -> Callable[[Publication], Awaitable[None]]:
        async def take(publication: Publication) -> None:
            got[name].append(publication.payload)

        return take

    hubs = [Session(Broker(broker.url, name), "", (f"$share/hub/{FILTER}",), taker(name)) for name in got]
    tasks = [asyncio.create_task(hub.run()) for hub in hubs]
    for hub in hubs:
        await connected(hub)
    sent = [b"%d" % number for number in range(20)]
    await publish(broker, *sent)
    async with asyncio.timeout(120):
        while sum(map(len, got.values())) < len(sent):
            await asyncio.sleep(0.01)
    for task in tasks:
        await ended(task)
    assert sorted(got["one"] + got["two"]) == sorted(sent) and all(got.values())
