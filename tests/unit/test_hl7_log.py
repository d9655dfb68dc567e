"""The message log finds, counts and takes apart what came; on the real core over a store in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from adapters.hl7.local import PROFILE, Locals
from adapters.hl7.log import coverage, detail, search, shipped, words
from adapters.hl7.log.collector import Collector
from adapters.hl7.log.entry import Entry as LogEntry
from adapters.hl7.log.search import LAST, Page, Wanted
from adapters.hl7.maps import tables
from adapters.hl7.record import RECEIVED, STATES
from fhir_server import gate
from fhir_server.errors import NotFound
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Change, Entry
from tests.hl7_core import hub, send
from tests.hl7_messages import CHANNEL, adt, header, message, obx, oru, pid, pv1

PARIS = ZoneInfo("Europe/Paris")
NO_ID = pid("")


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with hub() as opened:
        yield opened


async def page(core: Core, wanted: Wanted = Wanted(), **more: Any) -> Page:  # noqa: B008
    return await search.page(core, "default", wanted, **more)


def ids(entries: Any) -> list[str]:
    return [entry.body["control_id"] for entry in entries]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(Wanted(), ["C4", "C3", "C2", "C1"], id="all, newest first"),
        pytest.param(Wanted(control_id="C2"), ["C2"], id="by control id"),
        pytest.param(Wanted(control_id="mllp|DPI|CHU TEST|C2"), ["C2"], id="by key"),
        pytest.param(Wanted(state="quarantined"), ["C3"], id="by state"),
        pytest.param(Wanted(type="ADT"), ["C4", "C1"], id="by type"),
        pytest.param(Wanted(type="ADT^A08"), ["C4"], id="by type and event"),
        pytest.param(Wanted(sender="CHU TEST"), ["C4", "C3", "C2", "C1"], id="by facility"),
        pytest.param(Wanted(sender="DPI|OTHER"), [], id="by another sender"),
        pytest.param(Wanted(fault="101"), ["C3"], id="by fault"),
        pytest.param(Wanted(fault="101 PID[1]-3"), ["C3"], id="by fault and place"),
        pytest.param(Wanted(fault="101 PID[1]-5"), [], id="by fault elsewhere"),
        pytest.param(Wanted(rule="unit-unknown"), ["C2"], id="by problem"),
        pytest.param(Wanted(since="2999"), [], id="since a later time"),
        pytest.param(Wanted(until="2999"), ["C4", "C3", "C2", "C1"], id="until a later time"),
        pytest.param(Wanted(until="2000"), [], id="until an earlier time"),
        pytest.param(Wanted(text=b"P9^^^"), ["C4"], id="by an identifier in the text"),
        pytest.param(Wanted(lanes=("default|urn:oid:1.2.250.1.999.1|P1",)), ["C2", "C1"], id="by patient"),
    ],
)
async def test_the_log_is_searched(core: Core, wanted: Wanted, expected: list[str]) -> None:
    await send(
        core, adt(control="C1"), oru(obx("1-8^x^LN", unit="zz"), control="C2"), oru(control="C3", person=NO_ID),
        adt("A08", control="C4", person=pid("P9^^^CHU&1.2.250.1.999.1&ISO^PI"), stay=pv1("V9")),
    )  # fmt: skip
    assert ids((await page(core, wanted)).entries) == expected
    if not wanted.lanes:  # a walk goes the other way; it takes no patient
        assert ids([e async for e in search.walk(core, "default", wanted)]) == expected[::-1]


async def test_pages_follow_each_other_without_a_gap(core: Core) -> None:
    await send(core, *[adt(control=f"C{n}") for n in range(7)])
    before, found = LAST, []
    while before:
        got = await page(core, before=before, limit=3)
        found += ids(got.entries)
        before = got.next
    assert found == [f"C{n}" for n in range(6, -1, -1)]
    assert ids(await search.newest(core, "default", Wanted(type="ADT"), 2)) == ["C5", "C6"]


async def test_a_search_that_finds_nothing_stops_and_says_so(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    await send(core, *[adt(control=f"C{n}") for n in range(5)])
    monkeypatch.setattr(search, "STEP", 2)
    monkeypatch.setattr(search, "BUDGET", 2)
    got = await page(core, Wanted(control_id="C0"))
    assert (got.entries, got.is_cut) == ((), True)
    rest = await page(core, Wanted(control_id="C0"), before=got.next)
    assert rest.is_cut
    assert ids((await page(core, Wanted(control_id="C0"), before=rest.next)).entries) == ["C0"]


async def test_a_period_is_found_by_halving(core: Core) -> None:
    await send(core, *[adt(control=f"C{n}") for n in range(6)])
    rows = (await page(core)).entries[::-1]

    async def place(asking: Asking) -> list[int]:
        return [await search.place_of(asking, row.received) for row in rows]

    found = await core.ask("default", place)
    assert [place <= row.seq for place, row in zip(found, rows, strict=True)] == [True] * 6
    assert ids((await page(core, Wanted(since=rows[2].received, until="2999"))).entries)[-1] in ("C0", "C1", "C2")


# --- accounts ------------------------------------------------------------------------------------------------
async def test_accounts_say_what_was_used_and_what_was_not(core: Core) -> None:
    odd = adt(control="C2", person=pid(f8="X"))[:-1] + "\rZZZ|1|secret\r"
    await send(
        core, adt(control="C1"), odd, oru(obx("FC^x^L", unit="zz"), control="C3"), oru(control="C4", person=NO_ID)
    )
    assert await coverage.catch_up(core, "default", PARIS) == 4
    found = await coverage.report(core, "default")
    admissions, results = (found["DPI|CHU TEST", name] for name in ("ADT^A01", "ORU^R01"))
    assert (admissions.messages, admissions.states["applied"]) == (2, 2)
    assert (admissions.used["PID-3"], admissions.used["PV1-19"], admissions.unused["ZZZ"]) == (2, 2, 1)
    assert admissions.unmapped["PID-8", "HL70001", "X"] == 1
    assert (results.messages, results.states["quarantined"]) == (2, 1)
    assert results.unmapped["OBX-3", "urn:predmp:facility:CHU-TEST:codes", "FC"] == 1
    assert results.rules["OBX-6", "unit-unknown"] == 1
    shown = coverage.shown("DPI|CHU TEST", "ADT^A01", admissions)
    assert (shown["unused"], shown["seen"]) == ({"ZZZ": 1}, len(admissions.used) + 1)
    assert "secret" not in gate.write(shown).decode()


async def test_each_message_is_counted_once(core: Core) -> None:
    await send(core, adt(control="C1"))
    assert await coverage.catch_up(core, "default", PARIS) == 1
    assert await coverage.catch_up(core, "default", PARIS) == 0
    await send(core, adt(control="C1"), adt(control="C2"))
    assert await coverage.catch_up(core, "default", PARIS) == 1
    assert (await coverage.report(core, "default"))["DPI|CHU TEST", "ADT^A01"].messages == 2


async def test_a_message_that_waits_is_counted_when_it_is_settled(core: Core) -> None:
    await send(core, adt(control="C1"), adt(control="C2"))
    first = (await page(core)).entries[-1].record

    async def put(writing: Writing, state: str) -> None:
        await writing.put_record(first.kind, first.key, state, first.body, lane=first.lane)

    await core.transact("default", lambda writing: put(writing, RECEIVED))
    assert await coverage.catch_up(core, "default", PARIS) == 1
    await core.transact("default", lambda writing: put(writing, "applied"))
    assert await coverage.catch_up(core, "default", PARIS) == 1
    assert (await coverage.report(core, "default"))["DPI|CHU TEST", "ADT^A01"].messages == 2


async def test_a_report_is_narrowed(core: Core) -> None:
    await send(
        core, adt(control="C1"), message(header(f3="LAB", f4="EAST", control="C2"), "EVN||20261120", pid(), pv1())
    )
    await coverage.catch_up(core, "default", PARIS)
    for sender, count in (("", 2), ("EAST", 1), ("LAB|EAST", 1), ("DPI", 1), ("NOBODY", 0)):
        assert len(await coverage.report(core, "default", sender=sender)) == count, sender
    assert await coverage.report(core, "default", since="2999-01-01") == {}
    assert await coverage.report(core, "default", until="2000-01-01") == {}


async def test_an_account_is_of_bounded_size(core: Core) -> None:
    account = coverage.Account()
    for n in range(coverage.MOST_KEYS + 100):
        body = {"unmapped": [["OBX-3", "s", f"c{n}", 1]], "issues": [{"path": f"Z{n:03d}[1]", "rule": "segment-local"}]}
        account.add(LogEntry(cast(Any, type("R", (), {"state": "applied"})()), {**body, "unused": [f"Z{n}"]}))
    assert account.unmapped[coverage.REST, "", ""] == 100
    assert max(len(account.unmapped), len(account.rules), len(account.unused)) == coverage.MOST_KEYS + 1
    again = coverage.Account.of_json(gate.load(gate.write(account.to_json())))
    assert again == account


async def test_the_collector_tells_metrics_without_names(core: Core) -> None:
    collector = Collector(core, PARIS, Locals(core))
    await send(core, oru(obx("FC^x^L"), control="C1"))
    await collector.step("default")
    made = collector.metrics()
    assert made["predmp_hl7_codes_without_map_total"] == 2.0
    assert made["predmp_hl7_silent_feeds"] == 0.0
    assert "FC" not in "".join(made) and "CHU" not in "".join(made)


async def test_a_profile_that_was_learned_elsewhere_is_taken_over(core: Core) -> None:
    known = Locals(core)
    assert (await known.of("default")).profiles == {}

    async def put(writing: Writing) -> None:
        await writing.put_record(PROFILE, "DPI|CHU TEST", "", gate.write({"sender": "DPI|CHU TEST"}))

    await core.transact("default", put)
    await known.refresh("default")
    assert list(known.known("default").profiles) == ["DPI|CHU TEST"]


async def test_maps_follow_each_write_here_and_elsewhere(core: Core) -> None:
    here, elsewhere = Locals(core), Locals(core)
    await here.load("default")
    await elsewhere.load("default")
    group = {"source": "L", "target": "http://loinc.org", "element": [{"code": "FC", "target": [
        {"code": "8867-4", "equivalence": "equal"}]}]}  # fmt: skip
    resource = {"resourceType": "ConceptMap", "id": "m1", "status": "active", "group": [group]}

    def answers(known: Locals) -> int:
        return len(known.known("default").codes.answer("X", ("L",), "FC").targets)

    for status, expected in (("active", 1), ("retired", 0), ("active", 1)):
        actor = core.internal("default", "test")
        (outcome,) = await core.submit([Entry("PUT", "ConceptMap/m1", {**resource, "status": status})], actor=actor)
        assert outcome.version is not None
        await here.changed("default", [Change(outcome.version, gate.load(outcome.version.body), None)])
        assert answers(here) == expected
        await elsewhere.refresh("default")
        assert answers(elsewhere) == expected
    (outcome,) = await core.submit([Entry("DELETE", "ConceptMap/m1")], actor=core.internal("default", "test"))
    assert outcome.version is not None
    await here.changed("default", [Change(outcome.version, resource, None)])
    assert answers(here) == 0


# --- one message ---------------------------------------------------------------------------------------------
def test_the_fault_is_marked_where_it_is_even_where_nothing_is() -> None:
    text = message(header("ORU^R01^ORU_R01"), "PID|1||", "OBX|1|NM|8867-4^FC^LN||88")
    found = detail.message_of(text.encode())
    assert found is not None
    marks = detail.Marks(fault="PID[1]-3", problems={"OBX[1]-3.1": ["code-not-mapped"]}, unused=frozenset({"OBX-5"}))
    lines = detail.lines_of(found, marks)
    by_path = {piece.path: piece.mark for line in lines for piece in line.pieces}
    assert (by_path["PID[1]-3"], by_path["OBX[1]-3"], by_path["OBX[1]-5"]) == ("bad", "noted", "unused")
    leaves = {leaf.path: leaf for branch in detail.tree_of(found, marks) for leaf in branch.leaves}
    assert (leaves["PID-3"].mark, leaves["PID-3"].name) == ("bad", "Patient identifier list")
    assert [part.mark for part in leaves["OBX-3"].parts] == ["noted", "", ""]


def test_long_fields_are_cut_on_the_page_and_say_how_long_they_are() -> None:
    found = detail.message_of(oru(obx(value="^application^pdf^Base64^" + "A" * 9_000, kind="ED")).encode())
    assert found is not None
    (piece,) = [p for line in detail.lines_of(found, detail.Marks()) for p in line.pieces if p.path == "OBX[1]-5"]
    assert len(piece.text) < 4_100 and piece.text.endswith("(9024)")


def test_what_is_no_message_has_no_tree() -> None:
    assert detail.message_of(b"hello") is None


def test_a_draft_shows_what_the_maps_make() -> None:
    assert [one["resourceType"] for one in detail.draft_of(CHANNEL, adt().encode())] == ["Patient", "Encounter"]
    assert detail.draft_of(CHANNEL, oru(person=NO_ID).encode()) == []


def test_every_state_has_words_in_both_languages() -> None:
    for known, keys in ((words.STATES, STATES), (words.FAULTS, ("100", "101", "207"))):
        for key in keys:
            assert words.in_words(known, key, "fr") != words.in_words(known, key, "en")
    assert words.in_words(words.RULES, "a-rule-of-tomorrow", "fr") == "a rule of tomorrow"


# --- the tables as ConceptMaps -------------------------------------------------------------------------------
@pytest.mark.parametrize("name", tables.names())
async def test_each_table_is_a_valid_concept_map(core: Core, name: str) -> None:
    made = shipped.concept_map(name)
    assert [issue for issue in core.validate(made) if issue.severity in ("error", "fatal")] == []
    assert made["version"] == "8c9b414"


def test_a_decision_shows_its_reason() -> None:
    rows = [e for group in shipped.concept_map("DiagnosisType")["group"] for e in group["element"]]
    (final,) = [row for row in rows if row["code"] == "F"]
    assert final["target"][0]["comment"].startswith("Blank in the guide")
    with pytest.raises(NotFound):
        shipped.concept_map("Nothing")
