"""Replays of many that a page starts: one at a time, and one that breaks says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from adapters.hl7.channels import Channel
from adapters.hl7.log.replaying import DONE, FAILED, RUNNING, Runs
from adapters.hl7.replay import Channels, Mode, Selection
from fhir_server.errors import Conflict
from fhir_server.interface import Core
from tests.hl7_core import hub, send
from tests.hl7_messages import CHANNEL, oru, pid


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with hub() as opened:
        yield opened


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


async def test_one_that_breaks_says_so_without_a_value(core: Core, caplog: pytest.LogCaptureFixture) -> None:
    await send(core, oru(person=pid(id="")))
    made = runs(core, breaks=True)
    assert await ended(made, await made.start("default", Selection(), Mode.APPLY, by="test")) == FAILED
    assert "RuntimeError" in caplog.text
    assert "no log may show" not in caplog.text
