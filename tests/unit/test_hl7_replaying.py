"""Replays of many that a page starts: one at a time, and one that breaks says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import cast

import pytest

from adapters.hl7 import replay
from adapters.hl7.channels import Channel
from adapters.hl7.log import coverage, silence
from adapters.hl7.log.replaying import DONE, FAILED, RUNNING, Runs
from adapters.hl7.record import KIND
from adapters.hl7.replay import Channels, Mode, Selection
from fhir_server import gate
from fhir_server.app import opened
from fhir_server.errors import Conflict
from fhir_server.interface import Asking, Core, Writing
from fhir_server.settings import Settings
from tests.hl7_core import hub, send
from tests.hl7_messages import CHANNEL, oru, pid

ROWS = 500


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with hub() as found:
        yield found


def runs(core: Core, *, breaks: bool = False) -> Runs:
    numbers = count(1)

    def named(name: str) -> Channel:
        if breaks:
            raise RuntimeError("a name that no log may show")
        return CHANNEL

    async def channels(tenant: str) -> Channels:
        return named

    return Runs(core, channels, make_id=lambda: str(next(numbers)))


async def ended(made: Runs, id: str) -> str:
    """Return how a replay ended."""
    state = RUNNING
    while state == RUNNING:
        await asyncio.sleep(0.001)
        state = str((await made.read("default", id))["state"])
    return state


async def test_of_two_that_begin_at_once_one_runs_and_then_another_may(core: Core) -> None:
    made = runs(core)
    both = [made.start("default", Selection(), Mode.DRY_RUN, by="test") for _ in range(2)]
    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert (first, type(second)) == ("1", Conflict)
    assert await ended(made, "1") == DONE
    assert await ended(made, await made.start("default", Selection(), Mode.DRY_RUN, by="test")) == DONE


@pytest.mark.parametrize("name", ["replay", "accounts", "feeds"])
async def test_others_are_served_while_much_is_read(tmp_path: Path, name: str) -> None:
    async with opened(Settings(store=f"sqlite:///{tmp_path / 'hub.db'}", rooms=())) as composed:
        core, turns = cast(Core, composed.hub), 0
        await core.transact("default", _filled)

        async def read(asking: Asking) -> int:
            return len(await silence.feeds(asking))

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        chosen = replay.selected(core, Selection(), tenant="default")
        await anext(chosen)  # what it writes before it reads is done
        beside = asyncio.create_task(others())
        await asyncio.sleep(0)
        turns = 0
        if name == "replay":
            assert len([one async for one in chosen]) == ROWS - 1
        elif name == "accounts":
            assert len(await coverage.report(core, "default")) == ROWS
        else:
            assert await core.ask("default", read) == ROWS
        assert turns >= ROWS // 100 - 1
        beside.cancel()


async def _filled(writing: Writing) -> None:
    account, feed = gate.write(coverage.Account().to_json()), gate.write(silence.Feed("").to_json())
    for number in range(ROWS):
        await writing.put_record(KIND, str(number), "applied", gate.write({"channel": "mllp"}))
        await writing.put_record(coverage.ROWS, f"S{number}|F\x1fADT^A01\x1f2026-11-20", "", account)
        await writing.put_record(silence.KIND, f"S{number}|F", "", feed)


async def test_one_that_breaks_says_so_without_a_value(core: Core, caplog: pytest.LogCaptureFixture) -> None:
    await send(core, oru(person=pid(id="")))
    made = runs(core, breaks=True)
    assert await ended(made, await made.start("default", Selection(), Mode.APPLY, by="test")) == FAILED
    assert "RuntimeError" in caplog.text
    assert "no log may show" not in caplog.text
