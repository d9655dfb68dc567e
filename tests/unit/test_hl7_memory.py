"""What was converted before is given again as if it were converted anew, and as long as nothing else is known."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from adapters.hl7 import memory
from adapters.hl7.arrival import Arrival, Channel, read
from adapters.hl7.codes import read as read_maps
from adapters.hl7.context import Context
from adapters.hl7.inbox import Inbox
from adapters.hl7.local import Local
from adapters.hl7.memory import Given, Memory
from tests.hl7_core import hub
from tests.hl7_messages import CHANNEL, header, message, pid, segment

FACILITY = "urn:predmp:facility:CHU-TEST"


def results(*rows: str, control: str = "C1", **head: str) -> str:
    """Return an ORU with these OBX."""
    obr = segment("OBR", f1="1", f3="L1", f4="BILAN^Bilan^L", f7="20261120083000")
    return message(header("ORU^R01^ORU_R01", control, **head), pid(), obr, *rows)


def obx(code: str = "2823-3^K^LN", value: str = "4.1", unit: str = "mmol/L", **more: str) -> str:
    """Return a result."""
    return segment("OBX", **{"f1": "1", "f2": "NM", "f3": code, "f5": value, "f6": unit, "f11": "F", **more})


def fresh() -> Channel:
    """Return the channel as it is after a change: nothing was converted yet."""
    return replace(CHANNEL)


def said(arrival: Arrival) -> tuple[Any, ...]:
    """Return all that came of a message."""
    assert arrival.draft is not None, arrival.fault
    reports = [(one.report, one.observations) for person in arrival.draft.people for one in person.reports]
    return reports, arrival.problems, arrival.used, arrival.unused, arrival.unmapped


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([obx(), obx(value="4.2")], id="two values of one code"),
        pytest.param([obx("K^Potassium^L"), obx("K^Potassium^L")], id="a code of the sender's own is counted each time"),
        pytest.param([obx(unit="quux"), obx(unit="quux")], id="an unknown unit is noted at each place"),
        pytest.param([obx(f8="H"), obx(f8="??")], id="interpretations, one without a map"),
        pytest.param([obx("8310-5^T^LN", "98.6", "[degF]"), obx("8310-5^T^LN", "37", "Cel")], id="a converted unit"),
        pytest.param([obx(f7="3.5-5.0"), obx(f7="<5")], id="ranges"),
        pytest.param([obx(f14="20261120083000"), obx(f14="20261120093000")], id="times"),
        pytest.param([obx(f21="A1"), obx(f21="A2")], id="instances"),
        pytest.param([obx(f23="Labo A"), obx(f23="Labo B")], id="laboratories"),
        pytest.param([segment("OBX", f2="ST", f3="1^a^LN", f5="x"), segment("OBX", f2="NM", f3="1^a^LN")], id="types"),
        pytest.param([obx(f4="1"), obx(f4="2")], id="sub-ids"),
        pytest.param([obx(f11="C"), obx(f11="W"), obx(f11="F")], id="statuses"),
    ],
)  # fmt: skip
def test_a_result_reads_the_same_the_first_time_and_later(rows: list[str]) -> None:
    channel = fresh()
    raw = results(*rows).encode()
    first, again = read(channel, raw), read(channel, raw)
    assert said(first) == said(again) == said(read(fresh(), raw))
    alone = [said(read(fresh(), results(row).encode())) for row in rows]
    assert [said(read(channel, results(row).encode())) for row in rows] == alone


def test_the_same_fields_of_another_sender_are_converted_for_that_sender() -> None:
    channel = fresh()
    systems = []
    for name in ("CHU TEST", "LABO"):
        arrival = read(channel, results(obx("K^Potassium^L"), f4=name).encode())
        assert arrival.draft is not None
        code = arrival.draft.people[0].reports[0].observations[0]["code"]
        systems.append(code["coding"][0]["system"])
    assert systems == [f"{FACILITY}:codes", "urn:predmp:facility:LABO:codes"]


def test_a_channel_that_is_told_of_a_map_converts_anew() -> None:
    channel, raw = fresh(), results(obx("K^Potassium^L")).encode()
    assert read(channel, raw).unmapped
    group = {
        "source": f"{FACILITY}:codes",
        "target": "http://loinc.org",
        "element": [{"code": "K", "target": [{"code": "2823-3", "equivalence": "equivalent"}]}],
    }
    told = replace(
        channel, local=Local(read_maps([{"resourceType": "ConceptMap", "status": "active", "group": [group]}]))
    )
    arrival = read(told, raw)
    assert arrival.draft is not None
    coding = arrival.draft.people[0].reports[0].observations[0]["code"]["coding"]
    assert [one["code"] for one in coding] == ["K", "2823-3"]


async def test_nothing_that_is_remembered_is_changed_while_messages_are_applied() -> None:
    channel = fresh()
    rows = [obx("8867-4^FC^LN", "150", "/min", f14="20261120083000"), obx("8480-6^S^LN", "121", "mm[Hg]"),
            obx("8462-4^D^LN", "81", "mm[Hg]"), obx("K^Potassium^L", f8="H", f7="3.5-5.0")]  # fmt: skip
    async with hub() as core:
        inbox = Inbox(core)
        await inbox.receive(channel, results(*rows).encode())
        await inbox.drained()
        before = copy.deepcopy(channel.memory._known)
        assert len(before) > len(rows)
        for number in range(3):
            await inbox.receive(channel, results(*rows, control=f"D{number}").encode())
            await inbox.drained()
        assert channel.memory._known == before


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 2)
    kept = Memory()
    for name in "abc":
        kept.keep((name,), Given({"is": name}))
    assert [kept.recall((name,)) for name in "abc"] == [None, None, Given({"is": "c"})]
    kept.keep(("x" * (memory.LONGEST + 1),), Given({}))
    assert kept.recall(("x" * (memory.LONGEST + 1),)) is None


def test_what_a_conversion_noted_is_noted_at_the_segment_that_asks() -> None:
    raw = results(obx(), obx(unit="quux"), obx(), obx(unit="quux")).encode()
    places = [one.path for one in read(fresh(), raw).problems if one.rule == "unit-unknown"]
    assert places == ["OBX[2]-6", "OBX[4]-6"]


def test_a_segment_of_very_many_fields_is_accounted_for_like_any_other() -> None:
    arrival = read(fresh(), results(obx() + "|" * 200 + "x").encode())
    assert arrival.used["OBX"] == [1, 2, 3, 5, 6, 11]
    assert "OBX-211" in arrival.unused
    assert isinstance(arrival.draft.context if arrival.draft else None, Context)


async def test_messages_that_a_process_left_behind_share_what_their_channel_remembers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with hub() as core:
        first = Inbox(core)
        with monkeypatch.context() as held:
            held.setattr(first._worker, "wake", lambda: None)
            for number in range(3):
                await first.receive(CHANNEL, results(obx(), control=f"L{number}").encode())
        second = Inbox(core, channels=lambda tenant, name: CHANNEL)
        with monkeypatch.context() as held:
            held.setattr(second._worker, "wake", lambda: None)
            await second.start()
        found = [one.channel for one in second._backlog.upcoming(9)]
        assert len(found) == 3 and all(one is found[0] for one in found)
        second._worker.wake()
        await second.drained()
        assert second.counts == {("AA", "applied"): 3}
