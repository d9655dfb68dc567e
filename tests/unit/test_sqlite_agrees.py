"""The SQLite store answers as the memory store does: random resources, queries, sorts, pages and sights."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from fhir_server import gate
from fhir_server.model import EVERYTHING, Resource, Visibility
from fhir_server.search.dates import span
from fhir_server.search.query import Query
from fhir_server.search.values import Composite, Number, Period, Quantity, Reference, Text, Token, Uri, Value
from fhir_server.store.memory import MemoryStore
from fhir_server.store.protocol import HistoryQuery, Store, Write
from fhir_server.store.sqlite import SqliteStore
from fhir_server.store.sqlite.find import combined, context, links, plan
from tests.contract.small import PARIS, TENANT, Maker, asked, put

Facts = dict[str, Value | tuple[Value, ...]]

CODES = ["a", "b", "c"]
SYSTEMS = ["", "urn:s", "http://loinc.org"]
UNITS = [("http://unitsofmeasure.org", "mg", "mg"), ("", "", "mg"), ("http://unitsofmeasure.org", "kg", "kg")]
NUMBERS = ["-3", "0", "0.5", "5.4", "5.40", "5.405", "10", "100"]
DATES = ["2024", "2025-01", "2025-01-31", "2025-02-01", "2025-02-01T10:00:00", "2026"]
NAMES = ["Ève", "Eve Martin", "evelyn", "Jean-Pierre", "LA TOUR", "..."]
PATIENTS = ["p0", "p1", "p2", "p3"]


def token(rng: random.Random) -> Token:
    kind = rng.choice([None, None, ("http://v2", "PI")])
    return Token(rng.choice(SYSTEMS), rng.choice(CODES), rng.choice(["", "Body weight", "body mass"]), kind)


def period(rng: random.Random) -> Period:
    one = span(rng.choice(DATES), PARIS)
    other = span(rng.choice(DATES), PARIS)
    if rng.random() < 0.7:
        return one
    lo, hi = min(one.lo, other.lo), max(one.hi, other.hi)
    return rng.choice([Period(lo, hi), Period(-(2**63), hi), Period(lo, 2**63 - 1)])


def ends(rng: random.Random) -> tuple[Decimal | None, Decimal | None]:
    low, high = sorted(Decimal(rng.choice(NUMBERS)) for _ in range(2))
    return rng.choice([(low, low), (low, low), (low, high), (None, high), (low, None), (None, None)])


def quantity(rng: random.Random) -> Quantity:
    return Quantity(*ends(rng), *rng.choice(UNITS))


def number(rng: random.Random) -> Number:
    low, high = sorted(Decimal(rng.choice(NUMBERS)) for _ in range(2))
    return Number(low, rng.choice([low, high]))


def several(rng: random.Random, make: object, most: int = 2) -> tuple[Value, ...]:
    return tuple(make(rng) for _ in range(rng.randint(0, most)))  # type: ignore[operator]


def observation(rng: random.Random) -> tuple[Facts, tuple[str, ...]]:
    codes, owners = several(rng, token), []
    facts: Facts = {
        "code": codes,
        "category": several(rng, token),
        "date": several(rng, period, rng.choice([1, 1, 2])),
        "value-quantity": several(rng, quantity),
        "identifier": several(rng, token),
        "value-string": several(rng, lambda r: Text(r.choice(NAMES))),
        "derived-from": several(
            rng,
            lambda r: r.choice(
                [
                    Reference("Observation", f"o{r.randint(0, 40)}", version=r.choice(["", "2"])),
                    Reference("", "", r.choice(["urn:uuid:6", "https://x.example/Observation/1"])),
                    Reference("", "", identifier=Token("urn:s", "a")),
                ]
            ),
        ),
        "code-value-quantity": several(rng, lambda r: Composite((token(r), quantity(r))), 3),
    }
    if rng.random() < 0.8:
        patient = Reference("Patient", rng.choice(PATIENTS), identifier=rng.choice([None, token(rng)]))
        facts |= {"patient": (patient,), "subject": (patient,)}
        owners = [patient.id, *(["p1"] if rng.random() < 0.2 and patient.id != "p1" else [])]
    elif rng.random() < 0.5:
        facts["subject"] = (Reference("Device", "p1"),)
    return facts, tuple(owners)


def resource(rng: random.Random, n: int) -> tuple[str, Facts, tuple[str, ...]]:
    """Return a reference, values and owners."""
    if n < len(PATIENTS):
        organization = Reference("Organization", f"g{rng.randint(0, 3)}")
        facts: Facts = {"name": several(rng, lambda r: Text(r.choice(NAMES))), "organization": (organization,)}
        facts |= {"birthdate": several(rng, period, 1), "gender": several(rng, lambda r: Token("", r.choice("mf")), 1)}
        return f"Patient/{PATIENTS[n]}", facts, (PATIENTS[n],)
    if n < 8:
        part = Reference("Organization", f"g{rng.randint(0, 3)}")
        return f"Organization/g{n - 4}", {"name": Text(rng.choice(NAMES)), "partof": (part,)}, ()
    if n < 12:
        url = Uri(rng.choice(["http://a.org/f", "http://a.org/f/V", "http://a.org/f/V/1", "http://a.org/fX", "urn:x"]))
        return f"ValueSet/v{n}", {"url": url, "_profile": several(rng, lambda r: Uri("http://p/a"), 1)}, ()
    if n < 16:
        return f"RiskAssessment/r{n}", {"probability": several(rng, number)}, ()
    facts, owners = observation(rng)
    return f"Observation/o{n}", facts, owners


def prefixed(rng: random.Random, values: list[str]) -> str:
    return rng.choice(["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]) + rng.choice(values)


def clause(rng: random.Random) -> str:
    """Return one parameter of a search for Observations."""
    code, system, patient = rng.choice(CODES), rng.choice(SYSTEMS), rng.choice(PATIENTS)
    number_asked = rng.choice(["", "|http://unitsofmeasure.org|mg", "||mg", "||kg"])
    return rng.choice(
        [
            f"code={code}",
            f"code={system}|{code}",
            f"code={rng.choice(SYSTEMS[1:])}|",
            f"code={code},{system}|b",
            f"code:not={code}",
            "code:text=body w",
            f"identifier:of-type=http://v2|PI|{code}",
            f"category={code}",
            f"{rng.choice(['code', 'date', 'patient', 'value-quantity', 'subject'])}:missing={rng.choice(['true', 'false'])}",
            f"date={prefixed(rng, DATES)}",
            f"date={prefixed(rng, DATES)},{prefixed(rng, DATES)}",
            f"value-quantity={prefixed(rng, NUMBERS)}{number_asked}",
            f"value-quantity={prefixed(rng, NUMBERS)},{prefixed(rng, NUMBERS)}{number_asked}",
            f"value-string{rng.choice(['', ':exact', ':contains'])}={rng.choice(['eve', 'Ève', 'e', 'la t', 'pierre', '.'])}",
            f"patient={patient}",
            f"patient={patient}&code={code}",
            f"subject=Patient/{patient}&code={system}|{code}",
            f"subject={patient}",
            f"patient={patient},p1",
            f"patient:identifier={rng.choice(['urn:s|', ''])}{code}",
            f"derived-from=Observation/o{rng.randint(16, 40)}",
            f"derived-from=Observation/o{rng.randint(16, 40)}/_history/2",
            "derived-from=urn:uuid:6",
            f"patient.name={rng.choice(['eve', 'jean'])}",
            "patient.organization.name=eve",
            f"derived-from:Observation.code={code}",
            f"derived-from:Observation.code:not={code}",
            f"code-value-quantity={code}${prefixed(rng, NUMBERS)}",
            f"code-value-quantity={system or 'urn:s'}|{code}${prefixed(rng, NUMBERS)},b$gt5",
            f"_id=o{rng.randint(16, 40)},o20",
            f"_lastUpdated={prefixed(rng, ['2026-09-21', '2026'])}",
            f"_has:Observation:derived-from:code={code}",
            f"_has:Observation:derived-from:date={prefixed(rng, DATES)}",
        ]
    )


def question(rng: random.Random) -> Query:
    """Return a random search."""
    if rng.random() < 0.25:
        text = rng.choice(
            [
                "Patient?_has:Observation:patient:code=a",
                "Patient?_has:Observation:patient:code:not=a",
                "Patient?_has:Observation:patient:_has:Observation:derived-from:code=b",
                "Patient?name=eve&_sort=-name",
                "Patient?gender=m&_sort=birthdate",
                "Organization?_has:Patient:organization:name=e",
                "Organization?partof.partof.name:contains=a",
                "Patient,Organization?name=eve",
                "Patient,Observation,Organization?_lastUpdated=gt2000&_sort=_id",
                "ValueSet?url:below=http://a.org/f",
                "ValueSet?url:above=http://a.org/f/V/1/x",
                "ValueSet?_profile:missing=true",
                "ValueSet?_sort=" + rng.choice(["", "-"]) + "url",
                "Organization?_sort=-partof.name,_profile",
                "Patient,Organization?_sort=" + rng.choice(["", "-"]) + "_id",
                "RiskAssessment?probability=" + prefixed(rng, NUMBERS),
                "RiskAssessment?_sort=" + rng.choice(["", "-"]) + "probability",
            ]
        )
        type, _, rest = text.partition("?")
        return asked(type, f"{rest}&_count={rng.randint(1, 8)}")
    parts = [clause(rng) for _ in range(rng.choice([0, 1, 1, 2, 2, 3]))]
    keys = ["date", "value-quantity", "value-string", "code", "_id", "_lastUpdated", "subject", "derived-from"]
    keys += ["patient.name", "patient.organization.name", "derived-from:Observation.date", "patient.birthdate"]
    sorts = rng.choice([[], [], rng.sample(keys, 1), ["date"], rng.sample(keys, 2)])
    if sorts:
        parts.append("_sort=" + ",".join(rng.choice(["", "-"]) + key for key in sorts))
    return asked("Observation", "&".join([*parts, f"_count={rng.randint(1, 12)}"]))


def sensitive(resource: Resource) -> bool:
    return bool(resource["n"] % 2)


def sight(rng: random.Random) -> Visibility:
    """Return what may be seen, everything half of the time."""
    if rng.random() < 0.5:
        return EVERYTHING
    seen = frozenset(rng.sample(PATIENTS, rng.randint(0, 3)))
    partial = {id: sensitive for id in PATIENTS if id not in seen and rng.random() < 0.4}
    types = rng.choice([None, None, frozenset({"Observation", "Patient"}), frozenset({"Observation"})])
    return rng.choice([Visibility(seen, partial, types), Visibility(None, types=types)])


async def answers(store: Store, query: Query, see: Visibility) -> tuple[list[list[str]], list[int | None]]:
    """Return the ids of all pages and their totals."""
    pages: list[list[str]] = []
    totals: list[int | None] = []
    for _ in range(200):
        async with store.view(TENANT) as view:
            found = await view.search(query, see=see)
            assert await view.count(query.types, query.where, see=see) == found.total
        pages.append([v.reference for v in found.versions])
        totals.append(found.total)
        if found.after is None:
            return pages, totals
        query = replace(query, after=tuple(gate.parse(gate.write(list(found.after)))))
    raise AssertionError("the pages do not end")


@asynccontextmanager
async def both(path: Path, maker: Maker) -> AsyncIterator[tuple[Store, Store]]:
    """Open a store of each kind."""
    stores: tuple[Store, Store] = (
        MemoryStore(index=maker.index),
        SqliteStore(str(path / "hub.db"), index=maker.index),
    )
    for store in stores:
        await store.open()
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()


def world(rng: random.Random, maker: Maker, size: int) -> list[list[Write]]:
    """Return transactions: creations, then replacements and deletions."""
    versions: dict[str, int] = {}
    made: list[list[Write]] = []
    for n in [*range(size), *(rng.randrange(size) for _ in range(size // 2))]:
        reference, facts, owners = resource(rng, n)
        version = versions[reference] = versions.get(reference, 0) + 1
        if version > 1 and rng.random() < 0.3:
            made.append([maker.deletion(reference, version, at=n * 10)])
        else:
            made.append([maker.write(reference, version, at=n * 10, owners=owners, values=facts)])
    return made


@pytest.mark.parametrize("bounds", [(30, 20_000), (0, 8)], ids=["as it is", "as if few were many"])
@pytest.mark.parametrize("seed", range(6))
async def test_it_agrees_with_the_memory_store(
    seed: int, bounds: tuple[int, int], tmp_path: Path, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    for module in (context, combined, links, plan):
        monkeypatch.setattr(module, "LARGE", bounds[1])
    monkeypatch.setattr(plan, "_FEW", bounds[0])
    monkeypatch.setattr(plan, "_RISK", rng.choice([0, 0.02]))
    if seed % 2:  # gather sets for chains wherever it can be done
        monkeypatch.setattr(links, "_GATHER", 0)
        monkeypatch.setattr(plan, "_DEAR", 0)
    async with both(tmp_path, maker) as (memory, sqlite):
        for writes in world(rng, maker, 60):
            await put(memory, *writes)
            await put(sqlite, *writes)
        for _ in range(150):
            query, see = question(rng), sight(rng)
            assert await answers(sqlite, query, see) == await answers(memory, query, see), (query.text, see)
        for _ in range(40):
            type, id = rng.choice([("", ""), ("Observation", ""), ("Observation", f"o{rng.randint(16, 59)}")])
            asked_for = HistoryQuery(
                type,
                id,
                since=rng.choice([None, 300]),
                at=rng.choice([None, None, (100, 400)]),
                count=rng.choice([0, 5, 100]),
            )
            see = sight(rng)
            async with memory.view(TENANT) as one, sqlite.view(TENANT) as other:
                expected, total = await one.history(asked_for, see=see)
                found, counted = await other.history(asked_for, see=see)
            assert ([v[:6] for v in found], counted) == ([v[:6] for v in expected], total), (asked_for, see)


@pytest.fixture
def maker() -> Maker:
    return Maker()
