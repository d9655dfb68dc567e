"""Whose a late reading is, where Device.patient was changed since: the hub knows whom it named at the time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from adapters.devices import assignment, ownership
from adapters.devices.instant import written
from adapters.devices.intake import Intake
from adapters.devices.message import read_message
from fhir_server.app import opened
from fhir_server.interface import Asking, Core, Erasure
from fhir_server.model import Entry, Record, Resource
from fhir_server.settings import Settings

NOW = 4_009_075_200_400_000  # 2097-01-15T08:00:00.4Z, far from today; the store counts on by a microsecond a commit
HOUR = 3_600_000_000
NAME = {"system": "urn:example:device", "value": "a1"}


class World:
    """A hub with this room, on a store in memory, with a clock that stands until it is moved."""

    def __init__(self, core: Core) -> None:
        self.core, self.now, self.device = core, NOW, ""
        self.intake = Intake(core, ZoneInfo("UTC"))
        self._number = 0

    async def put(self, method: str, url: str, resource: Resource) -> str:
        made = await self.core.submit([Entry(method, url, resource)], actor=self.core.internal("default", "test"))
        assert made[0].version is not None
        return made[0].version.reference

    async def patient(self, **more: Any) -> str:
        return await self.put("POST", "Patient", {"resourceType": "Patient", **more})

    async def give(self, patient: str, **more: Any) -> None:
        """Let Device.patient name someone; "" nobody."""
        device: Resource = {"resourceType": "Device", "identifier": [NAME], **more}
        device |= {"patient": {"reference": patient}} if patient else {}
        if self.device:
            device["id"] = self.device.partition("/")[2]
        self.device = await self.put("PUT" if self.device else "POST", self.device or "Device", device)

    async def whose(self, at: int) -> str:
        """Return Patient/ID of a reading of an instant, or why it was kept aside."""
        self._number += 1
        reading = {"code": "8867-4", "value": 72, "unit": "/min", "at": written(at), "id": str(self._number)}
        message = read_message({"device": NAME, "readings": [reading]})
        (result,) = await self.intake.take(message, actor=self.core.internal("default", "gateway"))
        if result.reason is not None:
            return result.reason.code

        async def work(asking: Asking) -> Any:
            return ((await asking.resource(result.reference)) or {})["subject"]["reference"]

        made: str = await self.core.ask("default", work)
        return made

    async def rows(self) -> list[Record]:
        found: list[Record] = await self.core.ask("default", lambda asking: asking.records(ownership.KIND))
        return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        settings = Settings(store="memory:", rooms=("adapters.devices.room",))
        composed = await stack.enter_async_context(opened(settings))
        made = World(cast(Core, composed.hub))
        composed.hub._clock = cast(Any, composed.store)._clock = lambda: made.now
        yield made


async def test_a_late_reading_is_of_whom_the_device_named_then(world: World) -> None:
    anne, bruno = await world.patient(), await world.patient()
    await world.give(anne)
    world.now += 2 * HOUR
    await world.give(bruno)
    assert await world.whose(NOW + HOUR) == anne
    assert await world.whose(world.now) == bruno
    assert await world.whose(NOW - HOUR) == bruno  # the hub knew of nobody then: the device's patient speaks


async def test_a_time_to_the_second_of_the_change_is_of_the_new_patient(world: World) -> None:
    anne, bruno = await world.patient(), await world.patient()
    await world.give(anne)
    world.now += HOUR
    await world.give(bruno)
    assert await world.whose(NOW + HOUR - 400_000) == bruno
    assert await world.whose(NOW + HOUR - 1_400_000) == anne


async def test_a_device_that_was_given_back_keeps_its_late_readings(world: World) -> None:
    anne = await world.patient()
    await world.give(anne)
    world.now += 2 * HOUR
    await world.give("")
    assert await world.whose(NOW + HOUR) == anne
    assert await world.whose(world.now) == "patient-unassigned"


async def test_another_change_of_the_device_changes_no_owner(world: World) -> None:
    anne, bruno = await world.patient(), await world.patient()
    await world.give(anne)
    world.now += HOUR
    await world.give(anne, status="active")
    world.now += HOUR
    await world.give(bruno)
    world.now += HOUR
    await world.give(anne)
    times = (NOW + HOUR // 2, NOW + HOUR + HOUR // 2, NOW + 2 * HOUR + HOUR // 2, world.now)
    assert [await world.whose(at) for at in times] == [anne, anne, bruno, anne]


async def test_a_statement_of_use_stands_before_whom_the_device_named(world: World) -> None:
    anne, bruno, chloe = [await world.patient() for _ in range(3)]
    await world.give(anne)
    statement = {
        "resourceType": "DeviceUseStatement",
        "status": "completed",
        "subject": {"reference": chloe},
        "device": {"reference": world.device},
        "timingPeriod": {"start": written(NOW + HOUR), "end": written(NOW + 2 * HOUR)},
    }
    await world.put("POST", "DeviceUseStatement", statement)
    world.now += 4 * HOUR
    await world.give(bruno)
    times = (NOW + HOUR + HOUR // 2, NOW + 3 * HOUR, world.now)
    assert [await world.whose(at) for at in times] == [chloe, anne, bruno]


async def test_of_a_device_that_was_used_very_often_the_last_uses_are_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment, "MOST_USES", 2)
    patients = [await world.patient() for _ in range(3)]
    await world.give("")
    for number, patient in enumerate(patients):
        world.now = NOW + number * HOUR
        statement = {
            "resourceType": "DeviceUseStatement",
            "status": "completed",
            "subject": {"reference": patient},
            "device": {"reference": world.device},
            "timingPeriod": {"start": written(world.now - HOUR // 2), "end": written(world.now)},
        }
        await world.put("POST", "DeviceUseStatement", statement)
    times = [NOW + number * HOUR - HOUR // 4 for number in range(3)]
    assert [await world.whose(at) for at in times] == ["patient-unassigned", *patients[1:]]


async def test_of_a_patient_who_was_merged_the_reading_is_the_others(world: World) -> None:
    anne, both, bruno = [await world.patient() for _ in range(3)]
    await world.give(anne)
    world.now += 2 * HOUR
    merged = {"resourceType": "Patient", "id": anne.partition("/")[2], "active": False}
    await world.put("PUT", anne, {**merged, "link": [{"other": {"reference": both}, "type": "replaced-by"}]})
    await world.give(bruno)
    assert await world.whose(NOW + HOUR) == both


async def test_an_erased_patient_is_in_no_row(world: World) -> None:
    anne, bruno = await world.patient(), await world.patient()
    await world.give(anne)
    world.now += HOUR
    await world.give(bruno)
    of_anne = Erasure(anne.partition("/")[2], frozenset(), frozenset())
    of_who_replaced_her = Erasure("another", frozenset({"Patient/another", anne}), frozenset())
    for erasure in (of_anne, of_who_replaced_her):
        assert sorted(ownership.names(row, erasure) for row in await world.rows()) == [False, True]
