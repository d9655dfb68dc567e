"""Stored messages again: what would change, what newer data keep, copies that were edited, many of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest

from adapters.hl7 import replay
from adapters.hl7.channels import Channel
from adapters.hl7.record import KIND, raw_of
from adapters.hl7.replay import Mode, Selection
from adapters.hl7.report import differences
from fhir_server import gate
from fhir_server.errors import BadRequest, Conflict, NotFound
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Entry, Record, Resource
from tests.hl7_core import find, hub, send
from tests.hl7_messages import CHANNEL, adt, obx, oru, pid

KEY = "mllp|DPI|CHU TEST|C2"


def named(_: str) -> Channel:
    return CHANNEL


def renamed(_: str) -> Channel:
    """The channel after a change of maps: the authority's name stands for another system."""
    return replace(CHANNEL, authorities={"CHU": "urn:oid:1.2.250.1.999.77"})


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with hub() as opened:
        yield opened


async def records(core: Core) -> dict[str, Record]:
    async def work(asking: Asking) -> list[Record]:
        return await asking.records(KIND, limit=10_000)

    return {row.key: row for row in await core.ask("default", work)}


async def versions(core: Core) -> dict[str, str]:
    found = [
        one for type in ("Patient", "Encounter", "Observation", "DiagnosticReport") for one in await find(core, type)
    ]
    return {f"{one['resourceType']}/{one['id']}": one["meta"]["versionId"] for one in found}


def actions(report: replay.Report) -> dict[str, str]:
    return {one.reference.partition("/")[0]: one.action for one in report.touched}


async def test_a_dry_run_tells_what_would_change_and_writes_nothing(core: Core) -> None:
    await send(core, oru())
    before, rows = await versions(core), await records(core)
    edited = oru(obx(value="99")).encode()
    report = await replay.edited(core, KEY, edited, channels=named)
    assert (report.state, report.changes, report.mode) == ("applied", 1, Mode.DRY_RUN)
    (changed,) = [one for one in report.touched if one.action == "updated"]
    assert [(d.path, d.before, d.after) for d in changed.differences] == [("valueQuantity.value", 88, 99)]
    assert (await versions(core), await records(core)) == (before, rows)
    again = await replay.dry_run(core, KEY, channels=named)
    assert (set(actions(again).values()), again.changes) == ({"unchanged"}, 0)


async def test_a_dry_run_tells_of_what_would_be_made(core: Core) -> None:
    await send(core, oru(person=pid(id="7^^^CHU")))
    report = await replay.dry_run(core, KEY, channels=renamed)
    assert actions(report) == {"Patient": "created", "Observation": "created", "DiagnosticReport": "created"}
    assert len(await find(core, "Patient")) == 1
    (patient,) = [one for one in report.touched if one.reference.startswith("Patient/")]
    told = {difference.path: (difference.before, difference.after) for difference in patient.differences}
    assert told["birthDate"][0] is None and told["name"][1][0]["family"] == "DUPOND"
    assert not {"resourceType", "id", "meta"} & set(told)
    summary = replay.Summary()
    summary.add(report)
    assert not summary.paths, "of what is made no element is counted"


async def test_an_edited_copy_is_a_message_of_its_own_and_keeps_the_original(core: Core) -> None:
    await send(core, adt(control="C1", person=pid(id="1^^^CHU")), oru(person=pid(id="")))
    original = (await records(core))[KEY]
    assert original.state == "quarantined"
    copy = oru(person=pid(id="1^^^CHU")).encode()
    for _ in range(2):
        report = await replay.edited(core, KEY, copy, channels=named, mode=Mode.APPLY, by="Practitioner/1")
        assert report.state == "applied"
    rows = await records(core)
    assert len(rows) == 3, "the same edit is the same copy"
    kept, made = gate.load(rows[KEY].body), gate.load(rows[report.key].body)
    assert (raw_of(kept), rows[KEY].state, kept["replays"]) == (
        raw_of(gate.load(original.body)), "quarantined", [report.key]
    )  # fmt: skip
    assert (raw_of(made), made["replay_of"], made["edited_by"], made["attempts"]) == (copy, KEY, "Practitioner/1", 2)
    assert len(await find(core, "Observation")) == 1
    with pytest.raises(BadRequest):
        await replay.edited(core, KEY, raw_of(kept), channels=named)


async def test_what_is_newer_than_the_message_stays_where_that_is_asked(core: Core) -> None:
    await send(core, oru())
    (made,) = await find(core, "Observation")
    by_hand = {**made, "valueQuantity": {**made["valueQuantity"], "value": Decimal("91")}}
    actor = core.internal("default", "test")
    await core.submit([Entry("PUT", f"Observation/{made['id']}", by_hand)], actor=actor)
    report = await replay.apply(core, KEY, channels=named, as_of=True)
    assert actions(report) == {"Observation": "kept", "DiagnosticReport": "unchanged"}
    assert [row["valueQuantity"]["value"] for row in await find(core, "Observation")] == [91]
    report = await replay.apply(core, KEY, channels=named)
    assert actions(report)["Observation"] == "updated"
    assert [row["valueQuantity"]["value"] for row in await find(core, "Observation")] == [88]


async def test_an_older_event_stays_superseded_when_it_is_replayed(core: Core) -> None:
    await send(core, adt("A01", "C1"), adt("A08", "C2", "20261120120000", person=pid(name="NOUVEAU^A")))
    report = await replay.apply(core, "mllp|DPI|CHU TEST|C1", channels=named)
    assert (report.state, (await find(core, "Patient"))[0]["name"][0]["family"]) == ("superseded", "NOUVEAU")


async def test_what_cannot_be_applied_is_reported_and_kept_with_its_reason(core: Core) -> None:
    await send(core, oru(person=pid(id="")))
    report = await replay.apply(core, KEY, channels=named)
    assert (report.state, report.fault.code if report.fault else "") == ("quarantined", "101")
    identifier = [{"system": "urn:oid:1.2.250.1.999.1", "value": "9"}]
    actor = core.internal("default", "test")
    for _ in range(2):
        await core.submit(
            [Entry("POST", "Patient", {"resourceType": "Patient", "identifier": identifier})], actor=actor
        )
    copy = oru(person=pid(id="9^^^CHU")).encode()
    report = await replay.edited(core, KEY, copy, channels=named, mode=Mode.APPLY)
    assert (report.state, report.fault.code if report.fault else "", bool(report.reason)) == (
        "quarantined",
        "207",
        True,
    )
    rows = await records(core)
    assert rows[report.key].state == "quarantined"
    assert gate.load(rows[KEY].body)["replays"] == [report.key], "the original names its copy, which was refused"
    assert await find(core, "Observation") == []


class Erasing:
    """The core, whose messages are erased while one of them is replayed: before its n-th transaction."""

    def __init__(self, core: Core, transaction: int) -> None:
        self._core, self._left = core, transaction

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    async def transact(self, tenant: str, work: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            await self._core.transact(tenant, _erase)
        return await self._core.transact(tenant, work)


async def _erase(writing: Writing) -> None:
    await writing.drop_record(KIND, KEY)


@pytest.mark.parametrize(
    ("copy", "transaction"),
    [
        pytest.param(oru(obx(value="99")), 1, id="an edited copy is not stored once its original is erased"),
        pytest.param(oru(person=pid(id="9^^^CHU")), 2, id="nor is why it was refused"),
        pytest.param("", 1, id="a message that is erased is not applied"),
        pytest.param("", 2, id="nor is why it was refused kept in its place"),
    ],
)
async def test_what_is_erased_meanwhile_does_not_come_back(core: Core, copy: str, transaction: int) -> None:
    await send(core, oru(person=pid(id="9^^^CHU")) if transaction == 2 else oru())
    if transaction == 2:  # a second patient of the same number: each replay is refused
        (patient,) = await find(core, "Patient")
        twin = {"resourceType": "Patient", "identifier": patient["identifier"]}
        await core.submit([Entry("POST", "Patient", twin)], actor=core.internal("default", "test"))
    erasing = cast(Core, Erasing(core, transaction))
    with pytest.raises(NotFound):
        if copy:
            await replay.edited(erasing, KEY, copy.replace("88", "99").encode(), channels=named, mode=Mode.APPLY)
        else:
            await replay.apply(erasing, KEY, channels=named)
    assert await records(core) == {}


async def test_a_message_may_be_left_out_with_a_reason(core: Core) -> None:
    await send(core, oru(person=pid(id="")), oru(control="C3"))
    await replay.leave_out(core, KEY, "A test of the sender.", by="Practitioner/1")
    row = (await records(core))[KEY]
    assert (row.state, gate.load(row.body)["left_out"]["reason"]) == ("filtered", "A test of the sender.")
    with pytest.raises(Conflict):
        await replay.leave_out(core, "mllp|DPI|CHU TEST|C3", "It is applied.")
    for ask in (replay.dry_run, replay.apply):
        with pytest.raises(NotFound):
            await ask(core, "nothing", channels=named)


@pytest.mark.parametrize(
    ("selection", "controls"),
    [
        pytest.param(Selection(), ["C1", "C2", "C3"], id="all"),
        pytest.param(Selection(state="quarantined"), ["C3"], id="by state"),
        pytest.param(Selection(fault="101"), ["C3"], id="by fault"),
        pytest.param(Selection(fault="101", path="PID[2]-3"), [], id="by place"),
        pytest.param(Selection(type="ADT^A01"), ["C1"], id="by type"),
        pytest.param(Selection(channel="folder"), [], id="by channel"),
        pytest.param(Selection(until="2000-01-01"), [], id="by time"),
        pytest.param(Selection(rule="identity-differs"), ["C2"], id="by rule"),
    ],
)
async def test_messages_are_selected(core: Core, selection: Selection, controls: list[str]) -> None:
    await send(core, adt(), oru(person=pid(name="OTHER^X")), oru(control="C3", person=pid(id="")))
    found = [gate.load(row.body)["control_id"] async for row in replay.selected(core, selection, tenant="default")]
    assert found == controls


async def _chosen(core: Core, selection: Selection) -> list[str]:
    return [row.key.rpartition("|")[2] async for row in replay.selected(core, selection, tenant="default")]


async def test_what_was_left_out_is_replayed_with_others_only_where_that_is_asked(core: Core) -> None:
    await send(core, adt(control="C1"), oru(person=pid(id="")))
    await replay.leave_out(core, KEY, "sent by mistake")
    assert await _chosen(core, Selection()) == ["C1"]
    assert await _chosen(core, Selection(state="filtered")) == ["C2"]


async def test_of_an_original_and_its_corrected_copy_one_is_replayed(core: Core) -> None:
    await send(core, adt(control="C1", person=pid(id="1^^^CHU")), oru(person=pid(id="")))
    await replay.edited(core, KEY, oru(person=pid(id="")).encode() + b"ZZZ|1\r", channels=named, mode=Mode.APPLY)
    assert "C2" in await _chosen(core, Selection()), "the copy is in quarantine, too"
    copy = oru(person=pid(id="1^^^CHU")).encode()
    await replay.edited(core, KEY, copy, channels=named, mode=Mode.APPLY)
    chosen = await _chosen(core, Selection())
    assert "C1" in chosen and "C2" not in chosen and len(chosen) == 3
    assert "C2" not in await _chosen(core, Selection(state="quarantined", fault="101"))


async def test_many_are_replayed_in_pages_with_the_same_report_first_and_nothing_twice(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a page of messages; what is read at once does not grow with their number."""
    monkeypatch.setattr("adapters.hl7.replay.PAGE", 10)
    count = 57
    await send(
        core, *(oru(control=f"C{n}", person=pid(id=f"P{n % 5}^^^CHU"), order=f"OBR|1||{n}") for n in range(count))
    )
    pages = list[int]()
    ask = core.ask

    async def asked(tenant: str, work: Any) -> Any:
        made = await ask(tenant, work)
        if isinstance(made, list):
            pages.append(len(made))
        return made

    monkeypatch.setattr(core, "ask", asked)
    dry = await replay.summarise(replay.many(core, Selection(), channels=renamed))
    assert (max(pages), len(await find(core, "Observation"))) == (10, count)
    assert dry.states == {("applied", "applied"): count}
    assert dry.actions["Observation", "created"] == count
    done = await replay.summarise(replay.many(core, Selection(), channels=renamed, mode=Mode.APPLY))
    assert (done.messages, done.actions["Observation", "created"]) == (count, count)
    assert done.actions["Patient", "created"] == 5, "the first of each makes the patient"
    again = await replay.summarise(replay.many(core, Selection(), channels=renamed, mode=Mode.APPLY))
    assert {action for _, action in again.actions} == {"unchanged"}
    assert len(await records(core)) == count


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        pytest.param({"a": 1}, {"a": 1}, [], id="the same"),
        pytest.param({"id": "1", "meta": {}, "a": 1}, {"id": "2", "a": 1}, [], id="what the store writes"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b"], id="an element"),
        pytest.param({"a": [1, 2]}, {"a": [1, 3, 4]}, ["a[1]", "a[2]"], id="items"),
        pytest.param({"a": 1}, {"b": 1}, ["a", "b"], id="one goes, one comes"),
        pytest.param({"a": Decimal("1.1")}, {"a": Decimal("1.10")}, ["a"], id="digits"),
        pytest.param({"a": {"id": "1"}}, {"a": {"id": "2"}}, ["a.id"], id="an element's own id"),
    ],
)
def test_how_two_resources_differ(before: Resource, after: Resource, paths: list[str]) -> None:
    assert [difference.path for difference in differences(before, after)] == paths
