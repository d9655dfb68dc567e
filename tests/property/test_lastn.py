"""`$lastn` against its definition written plainly: all groups by comparing every pair, all ranks by sorting."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.model import Version
from fhir_server.operations.latest import Latest, see
from tests.calls import answered, call, memory_hub, put

Observation = dict[str, Any]
DAYS = [f"2026-01-0{day}" for day in range(1, 5)]
TIMES = [*DAYS, "2026-01-02T00:00:00Z", "2026-01-02T01:00:00+01:00", "2026-01", None]

codes = st.lists(st.sampled_from([("s", "a"), ("s", "b"), ("s", "c"), ("t", "a"), ("", "b")]), max_size=2, unique=True)


@st.composite
def observations(draw: st.DrawFn) -> list[Observation]:
    made = []
    for number in range(draw(st.integers(0, 14))):
        chosen = draw(codes)
        coding = [{"code": code} | ({"system": system} if system else {}) for system, code in chosen]
        one: Observation = {
            "resourceType": "Observation",
            "id": f"o{number}",
            "status": draw(st.sampled_from(["final", "entered-in-error"])),
            "subject": {"reference": "Patient/p"},
            "code": {"coding": coding} if coding else {"text": draw(st.sampled_from(["Text", "text"]))},
        }
        if (at := draw(st.sampled_from(TIMES))) is not None:
            one |= {"effectiveDateTime": at} if draw(st.booleans()) else {"effectivePeriod": {"start": at}}
        if (issued := draw(st.sampled_from([None, "2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"]))) is not None:
            one["issued"] = issued
        made.append(one)
    return made


def keys(one: Observation) -> set[tuple[str, str]]:
    found = {(coding.get("system", ""), coding["code"]) for coding in one["code"].get("coding", ())}
    return found or {("text", one["code"]["text"])}


def begin(one: Observation) -> str:
    """The instant in UTC at which it begins, as text that sorts; "" without one."""
    text = one.get("effectiveDateTime") or one.get("effectivePeriod", {}).get("start", "")
    if text == "2026-01-02T01:00:00+01:00":
        return "2026-01-02T00:00:00Z"
    return (text + "-01" if len(text) == 7 else text)[:10] + "T00:00:00Z" if text else ""


def naive(every: list[Observation], most: int) -> set[tuple[str, ...]]:
    """Each group's newest, newest first, as ids."""
    groups: list[list[int]] = []
    for n, one in enumerate(every):
        touching = [g for g in groups if any(keys(one) & keys(every[m]) for m in g)]
        groups = [g for g in groups if g not in touching] + [[n, *(m for g in touching for m in g)]]
    found = set()
    for group in groups:
        ranked = sorted(group, key=lambda n: (begin(every[n]), every[n].get("issued", ""), n), reverse=True)
        last = ranked[:most][-1]
        stays = [
            n
            for place, n in enumerate(ranked)
            if place < most
            or (begin(every[n]) == begin(every[last]) != "")
            or (
                begin(every[n]) == begin(every[last]) == "" and every[n].get("issued") == every[last].get("issued", "-")
            )
        ]
        found.add(tuple(every[n]["id"] for n in stays))
    return found


@settings(max_examples=60, deadline=None)
@given(observations(), st.integers(1, 3), st.sampled_from(["a", "s|a", "|b", "a,b,c", "s|a,s|b"]))
async def test_the_newest_of_each_group_are_those_of_the_definition(
    every: list[Observation], most: int, code: str
) -> None:
    async with memory_hub() as composed:
        await put(composed, [{"resourceType": "Patient", "id": "p"}, *every])
        answer = answered(await call(composed, f"Observation/$lastn?patient=p&max={most}&code={code}"))

    def asked(one: Observation) -> bool:
        systems = {"s|a": [("s", "a")], "|b": [("", "b")], "s|a,s|b": [("s", "a"), ("s", "b")]}
        return bool(keys(one) & set(systems[code])) if code in systems else any(c in code for _, c in keys(one))

    matching = [one for one in every if asked(one)]
    found = [entry["resource"] for entry in answer.get("entry", ())]
    wanted = naive(matching, most)
    order = {one["id"]: place for place, one in enumerate(found)}
    assert order.keys() == {id for group in wanted for id in group}
    for group in wanted:
        places = [order[id] for id in group]
        assert places == list(range(places[0], places[0] + len(group)))
    firsts = sorted((order[group[0]], group[0]) for group in wanted)
    ranks = [(begin(next(o for o in every if o["id"] == id)) or "") for _, id in firsts]
    assert ranks == sorted(ranks, reverse=True)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 59), st.sampled_from(["Z", "+01:00", ".5Z"])), max_size=400),
    st.integers(1, 2),
)
def test_what_is_passed_over_by_its_text_is_none_of_the_newest(rows: list[tuple[int, int, str]], most: int) -> None:
    """Enough of them that groups are cut while they are collected; codes 0 and 1 are joined by 3."""
    names = {0: ["a"], 1: ["b"], 2: ["c"], 3: ["a", "b"]}
    every = []
    for n, (code, minute, zone) in enumerate(rows):
        body = {
            "code": {"coding": [{"system": "s", "code": name} for name in names[code]]},
            "effectiveDateTime": f"2026-01-01T10:{minute:02}:00{zone}",
        }
        every.append(Version("Observation", f"{n}", 1, 0, "PUT", gate.write(body), n))
    latest = Latest(most)
    for version in every:
        latest.take(version, UTC)
    wanted = newest(every, most, UTC)
    assert [[seen.version.id for seen in group] for group in latest.groups()] == wanted


def newest(every: list[Version], most: int, zone: tzinfo) -> list[list[str]]:
    """The groups without any cut on the way."""
    collected = Latest(10_000)
    for version in every:
        collected.add(see(version, zone))
    found = []
    for group in collected.groups():
        last = group[:most][-1]
        found.append([seen.version.id for n, seen in enumerate(group) if n < most or seen.ties(last)])
    return found


async def test_each_subject_has_groups_of_its_own() -> None:
    made: list[Observation] = [
        {
            "resourceType": "Observation",
            "id": f"{who}{day}",
            "status": "final",
            "subject": {"reference": f"Patient/{who}"},
            "effectiveDateTime": f"2026-01-0{day}",
            "code": {"coding": [{"system": "s", "code": "a"}]},
        }
        for who in ("p", "q")
        for day in (1, 2)
    ]
    async with memory_hub() as composed:
        await put(composed, [*({"resourceType": "Patient", "id": who} for who in ("p", "q")), *made])
        both = answered(await call(composed, "Observation/$lastn?subject=Patient/p,Patient/q&code=s|a"))
        count = answered(await call(composed, "Observation/$lastn?patient=p&code=s|a&_summary=count"))
    assert sorted(entry["resource"]["id"] for entry in both["entry"]) == ["p2", "q2"]
    assert count["total"] == 1 and "entry" not in count


@pytest.mark.parametrize(
    ("every", "groups"),
    [
        pytest.param([["a"], ["b"], ["c"]], 3, id="three codes are three groups"),
        pytest.param([["a"], ["b"], ["a", "c"]], 2, id="a translation joins what it names"),
        pytest.param([["a"], ["b"], ["a", "b"]], 1, id="a chain of codes is one group"),
        pytest.param([["a"], ["a", "b"], ["b", "c"], ["c"]], 1, id="a long chain is one group"),
    ],
)
async def test_groups_are_those_of_the_table_of_r4(every: list[list[str]], groups: int) -> None:
    made: list[Observation] = [
        {
            "resourceType": "Observation",
            "id": f"o{n}",
            "status": "final",
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": f"2026-01-0{n + 1}",
            "code": {"coding": [{"system": "s", "code": code} for code in codes]},
        }
        for n, codes in enumerate(every)
    ]
    async with memory_hub() as composed:
        await put(composed, [{"resourceType": "Patient", "id": "p"}, *made])
        answer = answered(await call(composed, "Observation/$lastn?patient=p&code:missing=false"))
    assert answer["total"] == groups
