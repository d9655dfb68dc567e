"""Readings without a time of their own: theirs is when they came first, however often and late they are taken again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from adapters.devices import quarantine
from adapters.devices.intake import Intake, Result
from adapters.devices.message import read_message
from adapters.devices.publication import Publication, Publications
from adapters.devices.reading import DeviceName
from adapters.devices.release import Release
from fhir_server import gate
from fhir_server.app import opened
from fhir_server.interface import Asking, Core
from fhir_server.model import Entry, Record, Resource
from fhir_server.settings import Settings

NOW = 4_009_075_200_000_000  # 2097-01-15T08:00:00Z, far from today; the store counts on by a microsecond a commit
HOUR = 3_600_000_000
NAME = {"system": "urn:ietf:rfc:3986", "value": "urn:dev:mac:a1"}
TOPIC = f"dev/default/gw-1/{NAME['value']}/obs"
PULSE = {"code": "8867-4", "value": 72, "unit": "/min", "id": "1"}


class World:
    """The real core over a store in memory, with a clock that stands until it is moved."""

    def __init__(self, core: Core) -> None:
        self.core, self.now = core, NOW
        self.intake = Intake(core, ZoneInfo("UTC"))
        self.release = Release(core, self.intake, "devices")
        self.publications = Publications(core, self.intake)

    async def add(self, resource: Resource) -> str:
        made = await self.core.submit(
            [Entry("POST", resource["resourceType"], resource)], actor=self.core.internal("default", "test")
        )
        assert made[0].version is not None
        return made[0].version.reference

    async def device(self, patient: str = "") -> str:
        owner = {"patient": {"reference": patient}} if patient else {}
        return await self.add({"resourceType": "Device", "identifier": [NAME], **owner})

    async def send(self, **more: Any) -> Result:
        message = read_message({"device": NAME, "readings": [{**PULSE, **more}]})
        (result,) = await self.intake.take(message, actor=self.core.internal("default", "gateway"))
        return result

    async def publish(self, payload: Any, *, is_retained: bool) -> None:
        await self.publications.take(Publication(TOPIC, json.dumps(payload).encode(), is_retained=is_retained))

    async def observations(self) -> list[Resource]:
        async def work(asking: Asking) -> list[Resource]:
            return await asking.find("Observation?_sort=_lastUpdated")

        found: list[Resource] = await self.core.ask("default", work)
        return found

    async def aside(self) -> list[str]:
        found: list[Record] = await self.core.ask("default", quarantine.kept)
        return [gate.load(row.body)["reason"] for row in found]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        composed = await stack.enter_async_context(opened(Settings(store="memory:", rooms=())))
        made = World(cast(Core, composed.hub))
        composed.hub._clock = cast(Any, composed.store)._clock = lambda: made.now
        yield made


@pytest.mark.parametrize(
    "is_sent_again", [pytest.param(True, id="sent again"), pytest.param(False, id="taken by itself")]
)
async def test_a_reading_that_waited_for_its_device_has_the_time_it_came_first(
    world: World, is_sent_again: bool
) -> None:
    assert (await world.send()).status == "quarantined"
    world.now += 3 * HOUR
    await world.device(await world.add({"resourceType": "Patient"}))
    if is_sent_again:
        assert (await world.send()).status == "stored"
    else:
        await world.release.device("default", DeviceName(**NAME))
    (made,) = await world.observations()
    assert made["effectiveDateTime"][:16] == "2097-01-15T08:00"


async def test_a_reading_that_waited_is_not_of_who_was_given_the_device_afterwards(world: World) -> None:
    device = await world.device()
    assert (await world.send()).status == "quarantined"
    world.now += 3 * HOUR
    use = {
        "resourceType": "DeviceUseStatement",
        "status": "active",
        "subject": {"reference": await world.add({"resourceType": "Patient"})},
        "device": {"reference": device},
        "timingPeriod": {"start": "2097-01-15T10:00:00Z"},
    }
    await world.add(use)
    await world.release.device("default", DeviceName(**NAME))
    result = await world.send()
    assert result.reason is not None and result.reason.code == "patient-unassigned"
    assert await world.observations() == []


async def test_a_retained_reading_without_a_time_is_no_reading_of_the_moment_the_hub_subscribes(world: World) -> None:
    await world.device(await world.add({"resourceType": "Patient"}))
    await world.publish({"device": NAME, "readings": [PULSE]}, is_retained=True)
    assert (await world.observations(), await world.aside()) == ([], ["retained-without-time"])


async def test_a_retained_reading_that_came_before_is_a_copy(world: World) -> None:
    await world.device(await world.add({"resourceType": "Patient"}))
    message = {"device": NAME, "readings": [PULSE]}
    pack = [{"n": f"{NAME['value']}:8867-4", "u": "/min", "v": 71, "t": -5}]
    for hours, is_retained in ((0, False), (2, True), (4, True)):
        world.now = NOW + hours * HOUR
        await world.publish(message, is_retained=is_retained)
        await world.publish(pack, is_retained=is_retained)
    assert [made["effectiveDateTime"][:13] for made in await world.observations()] == ["2097-01-15T08", "2097-01-15T07"]
    assert await world.aside() == []


async def test_a_retained_pack_of_relative_times_that_was_never_seen_stays_aside_once(world: World) -> None:
    await world.device(await world.add({"resourceType": "Patient"}))
    for hours in (0, 2, 30):
        world.now = NOW + hours * HOUR
        await world.publish([{"n": f"{NAME['value']}:8867-4", "u": "/min", "v": 71, "t": -5}], is_retained=True)
    assert (await world.observations(), await world.aside()) == ([], ["retained-without-time"])


async def test_taking_back_what_was_retained_is_no_message_that_cannot_be_read(world: World) -> None:
    await world.publications.take(Publication(TOPIC, b""))
    assert (await world.aside(), dict(world.publications.counts)) == ([], {("obs", "cleared"): 1})


async def test_a_retained_reading_with_its_own_time_is_taken(world: World) -> None:
    await world.device(await world.add({"resourceType": "Patient"}))
    message = {"device": NAME, "readings": [{**PULSE, "at": "2097-01-14T08:00:00Z"}]}
    for _ in range(2):
        await world.publish(message, is_retained=True)
    assert [made["effectiveDateTime"] for made in await world.observations()] == ["2097-01-14T08:00:00Z"]
