"""Compositions against a naive reading of R4, which looks at every concept of every system for each rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.model import Resource
from fhir_server.operations.terminology_wish import fits
from fhir_server.search.fold import fold
from fhir_server.terminology.codesystem import decode
from fhir_server.terminology.valueset import Member
from tests.terminology_world import concept, include, system, value_set, world

CODES = ("a", "b", "c", "d", "e", "aa", "ab")
SYSTEMS = ("http://one", "http://two")
URLS = ("http://vs/0", "http://vs/1", "http://vs/2")


def nested(codes: list[str], parents: Mapping[str, str], extra: Mapping[str, str], inactive: set[str]) -> list[Any]:
    """Make concepts nested by `parents` (a forest), with more parents as properties."""

    def one(code: str) -> dict[str, Any]:
        properties: dict[str, Any] = {"rank": "low" if code in "abc" else "high"}
        if code in extra:
            properties["parent"] = extra[code]
        if code in inactive:
            properties["inactive"] = True
        return concept(code, *(one(c) for c in codes if parents.get(c) == code), display=f"The {code}", **properties)

    return [one(code) for code in codes if code not in parents]


@st.composite
def systems(draw: st.DrawFn, url: str) -> Resource:
    codes = draw(st.lists(st.sampled_from(CODES), min_size=1, max_size=7, unique=True))
    parents = {c: draw(st.sampled_from(codes[:n])) for n, c in enumerate(codes) if n and draw(st.booleans())}
    extra = {c: draw(st.sampled_from(codes)) for c in codes if draw(st.integers(0, 3)) == 0}
    inactive = {c for c in codes if draw(st.integers(0, 4)) == 0}
    return system(*nested(codes, parents, extra, inactive), id=url[7:], url=url)


code = st.sampled_from((*CODES, "zz"))
rules = st.one_of(
    st.tuples(st.just("concept"), st.sampled_from(("is-a", "is-not-a", "descendent-of", "generalizes")), code),
    st.tuples(st.just("rank"), st.just("="), st.sampled_from(("low", "high", "none"))),
    st.tuples(st.just("rank"), st.sampled_from(("in", "not-in")), st.sampled_from(("low", "low,high", "none"))),
    st.tuples(st.sampled_from(("parent", "rank")), st.just("exists"), st.sampled_from(("true", "false"))),
    st.tuples(st.just("code"), st.just("regex"), st.sampled_from(("a.*", "[bc]", "a|d", "zz"))),
)


@st.composite
def parts(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """An include or exclude; it may name value sets with a smaller number only."""
    others = draw(st.lists(st.sampled_from(URLS[:number]), max_size=2, unique=True)) if number else []
    given: dict[str, Any] = {"valueSet": others} if others else {}
    is_alone: bool = draw(st.booleans())
    if others and is_alone:
        return include(url="", **given)
    url = draw(st.sampled_from(SYSTEMS))
    kind = draw(st.sampled_from(("all", "list", "filters")))
    if kind == "list":
        return include(*draw(st.lists(code, min_size=1, max_size=3, unique=True)), url=url, **given)
    return include(url=url, rules=draw(st.lists(rules, min_size=1, max_size=2)) if kind == "filters" else (), **given)


@st.composite
def sets(draw: st.DrawFn, number: int) -> Resource:
    return value_set(
        *draw(st.lists(parts(number), min_size=1, max_size=3)),
        id=f"v{number}",
        url=URLS[number],
        exclude=draw(st.lists(parts(number), max_size=2)),
        compose=draw(st.sampled_from(({}, {"inactive": False}, {"inactive": True}))),
    )


class Naive:
    """R4's text, read plainly."""

    def __init__(self, resources: list[Resource]) -> None:
        self.sets = {r["url"]: r for r in resources if r["resourceType"] == "ValueSet"}
        self.concepts: dict[tuple[str, str], dict[str, Any]] = {}
        self.edges: set[tuple[str, str, str]] = set()  # system, parent, child
        for resource in resources:
            if resource["resourceType"] == "CodeSystem":
                self.read(resource["url"], resource["concept"], "")

    def read(self, url: str, concepts: list[dict[str, Any]], parent: str) -> None:
        for one in concepts:
            self.concepts[url, one["code"]] = one
            above = [p["valueCode"] for p in one.get("property", ()) if p["code"] == "parent"]
            self.edges |= {(url, p, one["code"]) for p in (*above, parent) if p}
            self.read(url, one.get("concept", []), one["code"])

    def is_a(self, url: str, one: str, top: str) -> bool:
        reached = {one} if (url, one) in self.concepts else set()
        while True:
            more = reached | {p for u, p, c in self.edges if u == url and c in reached}
            if more == reached:
                return top in reached
            reached = more

    def values(self, url: str, one: str, name: str) -> list[str]:
        if name == "code":
            return [one]
        if name == "parent":
            return [p for u, p, c in self.edges if (u, c) == (url, one) and p != one]
        return [str(p["valueCode"]) for p in self.concepts[url, one].get("property", ()) if p["code"] == name]

    def obeys(self, url: str, one: str, rule: Mapping[str, str]) -> bool:
        name, op, value = rule["property"], rule["op"], rule["value"]
        values = self.values(url, one, name) if name != "concept" else []
        match op:
            case "is-a":
                return self.is_a(url, one, value)
            case "is-not-a":
                return not self.is_a(url, one, value)
            case "descendent-of":
                return one != value and self.is_a(url, one, value)
            case "generalizes":
                return self.is_a(url, value, one)
            case "in":
                return any(v in value.split(",") for v in values)
            case "not-in":
                return not any(v in value.split(",") for v in values)
            case "exists":
                return bool(values) is (value == "true")
            case "regex":
                return any(re.fullmatch(value, v) for v in values)
        return value in values

    def is_in_part(self, part: Mapping[str, Any], url: str, one: str) -> bool:
        if "system" in part:
            if part["system"] != url:
                return False
            if "concept" in part:
                if one not in [c["code"] for c in part["concept"]]:
                    return False
            elif (url, one) not in self.concepts or not all(self.obeys(url, one, f) for f in part.get("filter", ())):
                return False
        return all(self.contains(other, url, one) for other in part.get("valueSet", ()))

    def contains(self, set_url: str, url: str, one: str) -> bool:
        compose = self.sets[set_url]["compose"]
        properties = self.concepts.get((url, one), {}).get("property", ())
        if compose.get("inactive") is False and any(p["code"] == "inactive" for p in properties):
            return False
        return any(self.is_in_part(part, url, one) for part in compose["include"]) and not any(
            self.is_in_part(part, url, one) for part in compose.get("exclude", ())
        )


WORLDS = st.tuples(*(systems(url) for url in SYSTEMS), *(sets(number) for number in range(3))).map(list)


@settings(max_examples=150, deadline=None)
@given(WORLDS)
async def test_members_and_contains_agree_with_a_naive_reading(resources: list[Resource]) -> None:
    naive = Naive(resources)
    made = await world(*resources)
    every = [(url, one) for url in SYSTEMS for one in (*CODES, "zz")]
    async with made.view() as view:
        for set_url in URLS:
            expected = {pair for pair in every if naive.contains(set_url, *pair)}
            assert await made.terminology.members(view, set_url) == expected
            for url, one in every:
                assert await made.terminology.contains(view, set_url, url, one) is ((url, one) in expected)


@settings(max_examples=150, deadline=None)
@given(systems(SYSTEMS[0]))
def test_subsumption_is_reflexive_transitive_and_the_same_from_both_ends(resource: Resource) -> None:
    made, naive = decode(resource), Naive([resource])
    for one in made.concepts:
        assert one in made.below(one)
        for other in made.concepts:
            is_below = other in made.below(one)
            assert is_below == (one in made.above(other)) == naive.is_a(SYSTEMS[0], other, one)
            if is_below:
                assert made.below(other) <= made.below(one)
                assert made.above(one) <= made.above(other)


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from("aB0 -_.,|+$'\"é(œ\t"), min_size=1, max_size=8),
    st.text(st.sampled_from("ab0é-+ "), max_size=4),
)
def test_a_filter_finds_the_beginnings_of_folded_words(text: str, asked: str) -> None:
    words = tuple(fold(asked).split())
    expected = all(any(part.startswith(word) for part in fold(text).split()) for word in words)
    assert fits(words, text, Member("", "", text, text)) is expected
