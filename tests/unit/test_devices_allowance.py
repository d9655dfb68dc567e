"""How much may be kept aside, and what is answered beyond it, on the real core over a store in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from adapters.devices import allowance, quarantine
from adapters.devices.feed import result_json
from adapters.devices.identity import raw_key
from adapters.devices.intake import Intake, Result
from adapters.devices.message import read_message
from adapters.devices.publication import Publication, Publications
from adapters.devices.quarantine import DISMISSED, lane_of
from adapters.devices.reading import DeviceName
from adapters.devices.vendor import Vendor
from adapters.devices.webhook import Webhooks
from fhir_server import gate
from fhir_server.app import opened
from fhir_server.errors import Unavailable
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Entry, Record
from fhir_server.settings import Settings

NAME = DeviceName("urn:example", "SN-1")
AT = "2026-11-20T08:00:00+01:00"
ODD: dict[str, Any] = {"code": "8867-4", "value": 70, "unit": "furlong", "at": AT}
FULL = allowance.Held(allowance.MOST // allowance.SHARES, 0)
FULL_OF_BYTES = allowance.Held(1, allowance.MOST_BYTES // allowance.SHARES)
FULL_DEVICE = allowance.Held(allowance.MOST_OF_DEVICE // allowance.SHARES, 0)


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with AsyncExitStack() as stack:
        composed = await stack.enter_async_context(opened(Settings(store="memory:", rooms=())))
        yield cast(Core, composed.hub)


async def take(core: Core, *readings: dict[str, Any]) -> list[Result]:
    message = read_message({"device": NAME._asdict(), "readings": list(readings)})
    return await Intake(core, ZoneInfo("UTC")).take(message, actor=core.internal("default", "test"))


async def counted(core: Core, name: str = allowance.EVERY) -> allowance.Held:
    """Return a count, of all its shares."""

    async def work(asking: Asking) -> list[Record]:
        return await asking.records(allowance.KIND)

    rows: list[Record] = await core.ask("default", work)
    held = [allowance.Held(**gate.load(row.body)) for row in rows if row.key.startswith(f"{name}-")]
    return allowance.Held(sum(one.rows for one in held), sum(one.bytes for one in held))


async def fill(core: Core, name: str, held: allowance.Held) -> None:
    """Write down that every share of a count is so full."""

    async def work(writing: Writing) -> None:
        for digit in "0123456789abcdef":
            await writing.put_record(allowance.KIND, f"{name}-{digit}", "", gate.write(held._asdict()))

    await core.transact("default", work)


async def aside(core: Core) -> list[Record]:
    found: list[Record] = await core.ask("default", quarantine.kept)
    return found


async def test_what_is_kept_aside_is_counted_once_and_counted_off_when_it_is_settled(core: Core) -> None:
    other = {**ODD, "unit": "ell"}
    for _ in range(2):
        assert [result.status for result in await take(core, ODD, other)] == ["quarantined"] * 2
    rows = await aside(core)
    held = await counted(core)
    assert held.rows == 2 and abs(held.bytes - sum(len(row.body) for row in rows)) < 10
    assert (await counted(core, lane_of(NAME))).rows == 2

    async def dismiss(writing: Writing) -> None:
        for row in rows:
            await quarantine.settle(writing, row.key, DISMISSED)

    for _ in range(2):
        await core.transact("default", dismiss)
    assert await counted(core) == await counted(core, lane_of(NAME)) == allowance.Held()
    assert [result.status for result in await take(core, ODD)] == ["quarantined"], "it was dismissed: it stays so"
    assert await counted(core) == allowance.Held()


async def test_a_reading_that_waited_and_is_taken_is_counted_off(core: Core) -> None:
    actor = core.internal("default", "test")
    fit = {**ODD, "unit": "/min"}
    assert [result.status for result in await take(core, fit)] == ["quarantined"]
    assert (await counted(core)).rows == 1
    made = await core.submit([Entry("POST", "Patient", {"resourceType": "Patient"})], actor=actor)
    assert made[0].version is not None
    device = {"identifier": [NAME._asdict()], "patient": {"reference": made[0].version.reference}}
    await core.submit([Entry("POST", "Device", {"resourceType": "Device", **device})], actor=actor)
    assert [result.status for result in await take(core, fit)] == ["stored"]
    assert await counted(core) == allowance.Held()


@pytest.mark.parametrize(
    ("name", "held"),
    [
        pytest.param(allowance.EVERY, FULL, id="as many as may be are kept of all devices"),
        pytest.param(allowance.EVERY, FULL_OF_BYTES, id="as many bytes as may be are kept"),
        pytest.param(lane_of(NAME), FULL_DEVICE, id="as many as may be are kept of this device"),
    ],
)
async def test_beyond_the_bound_a_reading_is_refused_and_its_sender_is_told(
    core: Core, name: str, held: allowance.Held
) -> None:
    await take(core, ODD)
    await fill(core, name, held)
    (again, refused) = await take(core, ODD, {**ODD, "unit": "ell"})
    assert again.status == "quarantined", "what is kept already needs no more room"
    assert refused.status == "refused" and len(await aside(core)) == 1
    english = result_json(refused, "en")
    assert english["reason"] == "unit-unknown"
    assert english["text"] == (
        "The unit is not known. There was no room to keep it aside: nothing of it is kept, it is to be sent again later."
    )


async def test_a_full_device_leaves_others_their_room(core: Core) -> None:
    await fill(core, lane_of(DeviceName("urn:example", "SN-2")), FULL_DEVICE)
    assert [result.status for result in await take(core, ODD)] == ["quarantined"]


async def test_an_unfit_publication_beyond_the_bound_is_acknowledged_logged_and_counted(
    core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(core, allowance.EVERY, FULL)
    taking = Publications(core, Intake(core, ZoneInfo("UTC")))
    body = json.dumps({"device": NAME._asdict(), "readings": [ODD]}).encode()
    await taking.take(Publication("dev/default/gw-1/SN-1/obs", body))
    await taking.take(Publication("dev/default/gw-1/SN-1/obs", b"no reading"))
    assert taking.counts == {("obs", "refused"): 2} and await aside(core) == []
    assert [record.levelname for record in caplog.records].count("ERROR") == 2
    assert "SN-1" not in caplog.text


async def test_a_notification_that_cannot_be_read_nor_kept_is_to_be_sent_again(core: Core) -> None:
    vendor = Vendor(name="v", url_key="k" * 40)
    webhooks = Webhooks(core, {"v": vendor}, lambda: None)
    await webhooks.take(vendor, {}, b"no form", key=vendor.url_key)
    assert len(await aside(core)) == 1
    await fill(core, allowance.EVERY, FULL)
    with pytest.raises(Unavailable):
        await webhooks.take(vendor, {}, b"no form either", key=vendor.url_key)


async def test_a_list_of_long_rows_comes_in_parts(core: Core) -> None:
    long = [{**ODD, "id": str(number), "unit": "x" * 200, "note": "y" * 2_000_000} for number in range(7)]
    assert {result.status for result in await take(core, *long)} == {"quarantined"}
    first = await aside(core)
    rest: list[Record] = await core.ask("default", lambda asking: quarantine.kept(asking, after=first[-1].seq))
    assert (len(first), len(rest)) == (5, 2)
    assert {row.key for row in first + rest} == {raw_key(NAME, reading) for reading in long}
