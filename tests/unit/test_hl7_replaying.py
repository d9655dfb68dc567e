"""Replays of many that a page starts: one at a time, and one that breaks says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from adapters.hl7 import replay
from adapters.hl7.channels import Channel
from adapters.hl7.log import coverage, silence
from adapters.hl7.log.entry import Entry
from adapters.hl7.log.replaying import DONE, FAILED, RUNNING, Runs
from adapters.hl7.record import KIND
from adapters.hl7.replay import Channels, Mode, Selection
from fhir_server import gate
from fhir_server.app import opened
from fhir_server.errors import Conflict
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Record
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


async def test_one_that_finds_nothing_for_long_says_that_it_goes_on(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.hl7.log.replaying.BEAT_S", 0.001)
    made, notes, enough = runs(core), [0], asyncio.Event()
    known, note = made._channels, made._note

    async def slow(tenant: str) -> Channels:
        await enough.wait()
        return await known(tenant)

    async def counted(tenant: str, id: str, state: str, body: dict[str, Any]) -> None:
        await note(tenant, id, state, body)
        notes[0] += 1
        if notes[0] == 4:
            enough.set()

    made._channels, made._note = slow, counted  # type: ignore[method-assign]
    id = await made.start("default", Selection(), Mode.DRY_RUN, by="test")
    assert await ended(made, id) == DONE


async def test_senders_beyond_the_most_are_one_feed_which_is_never_silent(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.hl7.log.silence.MOST", 2)
    zone = ZoneInfo("UTC")

    def came(sender: str, day: int) -> Entry:
        application, _, facility = sender.partition("|")
        body = {"application": application, "facility": facility, "received": f"2026-11-{day:02}T08:00:00+00:00"}
        return Entry(cast(Record, None), body)

    async def learn(writing: Writing, day: int) -> None:
        await silence.learn(writing, [came(f"S{number}|F", day) for number in (1, 2, 3, 4)], zone)

    for day in (1, 2, 3):
        await core.transact("default", partial(learn, day=day))
    found = await core.ask("default", silence.feeds)
    assert {feed.sender: feed.messages for feed in found} == {"S1|F": 3, "S2|F": 3, silence.REST: 6}
    later = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert [feed.sender for feed in found if feed.is_silent(later, zone)] == ["S1|F", "S2|F"]


async def test_one_that_breaks_says_so_without_a_value(core: Core, caplog: pytest.LogCaptureFixture) -> None:
    await send(core, oru(person=pid(id="")))
    made = runs(core, breaks=True)
    assert await ended(made, await made.start("default", Selection(), Mode.APPLY, by="test")) == FAILED
    assert "RuntimeError" in caplog.text
    assert "no log may show" not in caplog.text
