"""Clauses that nest: all of, any of, not. They hold beside chains and `_has`, under every sight."""

from __future__ import annotations

import pytest

from fhir_server.model import Visibility
from fhir_server.search.query import AllOf, AnyOf, Chain, Clause, Has, Not, Query
from fhir_server.search.values import Reference, Text, Token
from fhir_server.store.protocol import Store
from tests.contract.small import Maker, SmallRegistry, asked, ids, put

REGISTRY = SmallRegistry()


def a(text: str, type: str = "Observation") -> Clause:
    """Return the one clause of a query string."""
    (clause,) = asked(type, text).where
    return clause


def chained(code: str, target: str, then: Clause) -> Chain:
    parameter = REGISTRY.parameter("Observation", code)
    assert parameter is not None
    return Chain(parameter, (target,), (then,))


def has(source: str, code: str, then: Clause) -> Has:
    parameter = REGISTRY.parameter(source, code)
    assert parameter is not None
    return Has(source, parameter, then)


CLAUSES = [
    (AllOf((a("code=x"), a("category=lab"))), "1", "all of two"),
    (AllOf(()), "1 2 3 4", "all of none holds for each"),
    (AnyOf((a("code=x"), a("category=vital"))), "1 2 3", "any of two"),
    (AnyOf(()), "", "any of none holds for none"),
    (AnyOf((a("code=nowhere"), a("value-quantity=5"))), "", "any of what occurs nowhere"),
    (Not(a("code=x")), "3 4", "not: those without a value too"),
    (Not(Not(a("code=x"))), "1 2", "not not"),
    (Not(a("code:not=x")), "1 2", "not over the modifier not"),
    (Not(a("value-quantity=5")), "1 2 3 4", "not over what occurs nowhere"),
    (Not(AllOf((a("code=x"), a("category=lab")))), "2 3 4", "not over all of"),
    (Not(AnyOf((a("code=x"), a("code=y")))), "4", "not over any of"),
    (AnyOf((Not(a("code=x")), a("category=lab"))), "1 3 4", "any of with a not"),
    (AllOf((Not(a("code=x")), Not(a("code=y")))), "4", "all of nots"),
    (AllOf((a("code=x"), AnyOf((a("category=lab"), a("category=none"))))), "1", "any of inside all of"),
    (Not(a("category:missing=true")), "1 2 3", "not over missing"),
    (Not(a("patient.name=eve")), "2 3 4", "not over a chain"),
    (AnyOf((a("patient.name=eve"), a("patient.name=zoe"))), "1 2", "any of two chains"),
    (chained("patient", "Patient", Not(a("name=eve", "Patient"))), "2", "a chain to what is not so"),
    (
        chained("patient", "Patient", AllOf((a("name=zoe", "Patient"), a("gender=f", "Patient")))),
        "2",
        "a chain to all of",
    ),
    (has("Observation", "derived-from", AnyOf((a("code=x"), a("code=y")))), "1 4", "has with any of"),
    (has("Observation", "derived-from", Not(a("code=x"))), "4", "has with not: some that is not so"),
    (Not(has("Observation", "derived-from", a("code=x"))), "2 3 4", "not over has: none that is so"),
]


@pytest.fixture
async def world(store: Store, maker: Maker) -> Store:
    await put(
        store,
        maker.write("Patient/e", owners=("e",), values={"name": Text("Ève"), "gender": Token("", "f")}),
        maker.write("Patient/z", owners=("z",), values={"name": Text("Zoé"), "gender": Token("", "f")}),
        maker.about("Observation/1", "e", {"code": Token("u", "x"), "category": Token("u", "lab")}),
        maker.about(
            "Observation/2",
            "z",
            {
                "code": (Token("u", "x"), Token("u", "y")),
                "category": Token("u", "vital"),
                "derived-from": Reference("Observation", "1"),
            },
        ),
        maker.write(
            "Observation/3",
            owners=("e",),
            values={
                "code": Token("u", "y"),
                "category": Token("u", "vital"),
                "derived-from": Reference("Observation", "4"),
            },
        ),
        maker.write("Observation/4", owners=("e",)),
    )
    return store


@pytest.mark.parametrize(
    ("clause", "expected"), [pytest.param(clause, expected, id=claim) for clause, expected, claim in CLAUSES]
)
async def test_nested_clauses(world: Store, clause: Clause, expected: str) -> None:
    for extra in ((), (a("_lastUpdated=gt2000"),)):
        query = Query(("Observation",), (clause, *extra))
        assert sorted(await ids(world, query)) == expected.split()
        sorted_query = Query(("Observation",), (*extra, clause), asked("Observation", "_sort=_id").sort)
        assert await ids(world, sorted_query) == expected.split()


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        pytest.param(Not(a("code=x")), "3 4", id="not shows no hidden resource"),
        pytest.param(Not(a("code=y")), "1 4", id="nor the one that has both"),
        pytest.param(AnyOf((a("code=x"), a("code=y"))), "1 3", id="any of shows none"),
        pytest.param(Not(has("Observation", "derived-from", a("code=x"))), "1 3 4", id="a hidden source is no source"),
        pytest.param(Not(a("patient.name=zoe")), "1 3 4", id="a hidden target is no target"),
    ],
)
async def test_nested_clauses_see_what_may_be_seen(world: Store, clause: Clause, expected: str) -> None:
    see = Visibility(frozenset({"e"}))
    assert sorted(await ids(world, Query(("Observation",), (clause,)), see=see)) == expected.split()
