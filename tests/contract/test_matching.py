"""Search by each type of parameter, with each modifier and prefix: https://hl7.org/fhir/R4/search.html."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest

from fhir_server.search.dates import span
from fhir_server.search.values import (
    Composite,
    Number,
    Period,
    Position,
    Quantity,
    Reference,
    Text,
    Token,
    Uri,
    Value,
)
from fhir_server.store.protocol import Store
from tests.contract.small import PARIS, Maker, asked, ids, put

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
FIRST, LAST = -(2**63), 2**63 - 1

Facts = Mapping[str, Value | tuple[Value, ...]]


def day(text: str) -> Period:
    return span(text, PARIS)


def amount(text: str | None, unit: str = "mg", system: str = UCUM, high: str | None = "=") -> Quantity:
    """`high` "=" for the same as `text`; None for an open bound."""
    lo = None if text is None else Decimal(text)
    return Quantity(lo, lo if high == "=" else None if high is None else Decimal(high), system, unit, unit)


def person(*names: str) -> Facts:
    return {"name": tuple(Text(name) for name in names)}


PEOPLE: Mapping[str, Facts] = {
    "eve": {**person("Ève", "Martin"), "gender": Token("", "female"), "birthdate": day("1961-07-15")},
    "evelyn": {**person("Evelyn", "O'Hara"), "gender": Token("", "female"), "birthdate": day("1961-07")},
    "severine": {**person("Séverine", "de la Tour"), "gender": Token("", "other"), "birthdate": day("1961")},
    "jp": {
        **person("Jean-Pierre", "Lecœur"),
        "birthdate": day("1961-07-16"),
        "identifier": (
            Token("urn:ins", "1610775", "INS de Jean", ("http://v2", "INS")),
            Token("", "77"),
            Token("urn:ipp", "77", "IPP", ("http://v2", "PI")),
        ),
    },
    "void": {},
}

STRINGS = [
    ("name=eve", "eve evelyn", "the start of a field, without accent and case"),
    ("name=EVE", "eve evelyn", "in capitals"),
    ("name=ève", "eve evelyn", "with an accent in the question"),
    ("name=martin", "eve", "any of the fields"),
    ("name=tour", "", "not a word inside a field"),
    ("name=jean pierre", "jp", "a hyphen is a space"),
    ("name=o’hara", "evelyn", "apostrophes are alike"),
    ("name=lecoeur", "jp", "œ is oe"),
    ("name=eve,jean", "eve evelyn jp", "alternatives"),
    ("name=eve&name=martin", "eve", "both parameters hold"),
    ("name=zoe", "", "nobody"),
    ("name:exact=Ève", "eve", "exact"),
    ("name:exact=Eve", "", "exact: accents count"),
    ("name:exact=ève", "", "exact: case counts"),
    ("name:exact=Eve,Evelyn", "evelyn", "exact: alternatives"),
    ("name:contains=eve", "eve evelyn severine", "contains"),
    ("name:contains=LA TOUR", "severine", "contains, over a space"),
    ("name:contains=x", "", "contains: nobody"),
    ("name:missing=true", "void", "missing"),
    ("name:missing=false", "eve evelyn severine jp", "not missing"),
]

TOKENS = [
    ("gender=female", "eve evelyn", "a code"),
    ("gender=Female", "", "case counts"),
    ("gender=female,other", "eve evelyn severine", "alternatives"),
    ("gender:not=female", "severine jp void", "not: those without a value too"),
    ("gender:not=female,other", "jp void", "not: none of the alternatives"),
    ("gender:missing=true", "jp void", "missing"),
    ("identifier=77", "jp", "a code of any system"),
    ("identifier=urn:ins|1610775", "jp", "system and code"),
    ("identifier=urn:ins|77", "", "system and code of one value, not of two"),
    ("identifier=|77", "jp", "a code without system"),
    ("identifier=|1610775", "", "a code without system: it has one"),
    ("identifier=urn:ipp|", "jp", "any code of a system"),
    ("identifier=urn:none|", "", "any code of a system that is nowhere"),
    ("identifier:of-type=http://v2|PI|77", "jp", "of-type"),
    ("identifier:of-type=http://v2|INS|77", "", "of-type: of the one with that type"),
    ("identifier:text=ins de", "jp", "text: the start, folded"),
    ("identifier:text=jean", "", "text: not inside"),
    ("identifier:not=77", "eve evelyn severine void", "not: no value at all matches"),
    ("_id=eve,void", "eve void", "by id"),
    ("_id=EVE", "", "ids: case counts"),
]

DATES = [
    ("birthdate=1961", "eve evelyn severine jp", "eq: the year contains all of them"),
    ("birthdate=1961-07", "eve evelyn jp", "eq: the month does not contain the year"),
    ("birthdate=1961-07-15", "eve", "eq: the day contains the day"),
    ("birthdate=ne1961-07-15", "evelyn severine jp", "ne"),
    ("birthdate=gt1961-07-15", "evelyn severine jp", "gt: some part is after"),
    ("birthdate=lt1961-07-15", "evelyn severine", "lt: some part is before"),
    ("birthdate=ge1961-07-16", "evelyn severine jp", "ge"),
    ("birthdate=le1961-07-15", "eve evelyn severine", "le"),
    ("birthdate=sa1961-07-15", "jp", "sa: all of it is after"),
    ("birthdate=sa1961-07-16", "", "sa: the day itself is not after"),
    ("birthdate=eb1961-07-16", "eve", "eb: all of it is before"),
    ("birthdate=eb1961-08", "eve evelyn jp", "eb: the month"),
    ("birthdate=1961-07-15,1961-07-16", "eve jp", "alternatives"),
    ("birthdate=ge1961-07-15&birthdate=lt1961-07-16", "eve evelyn severine", "a span by two parameters"),
    ("birthdate=1961-07-15T12:00", "", "eq: a minute contains no day"),
    ("birthdate=gt1961-07-15T12:00", "eve evelyn severine jp", "gt: the rest of the day is after noon"),
    ("birthdate=ap1965", "eve evelyn severine jp", "ap: a tenth of the gap to now"),
    ("birthdate=ap2020", "", "ap: not that far"),
    ("birthdate:missing=true", "void", "missing"),
]

ENTRIES: Mapping[str, Facts] = {
    "five": {"value-quantity": amount("5.40"), "code": Token(LOINC, "a"), "date": Period(day("2026-01").lo, LAST)},
    "edge": {"value-quantity": amount("5.405"), "code": Token(LOINC, "b"), "date": Period(FIRST, day("2026-01").hi)},
    "kilo": {"value-quantity": amount("5.4", "kg"), "code": (Token(LOINC, "a"), Token("", "b"))},
    "word": {"value-quantity": amount("5.4", "mg", ""), "code": Token("urn:x", "a")},
    "below": {"value-quantity": amount(None, high="5"), "date": (day("2025-12-31"), day("2026-02-01"))},
    "above": {"value-quantity": amount("100", high=None)},
    "minus": {"value-quantity": amount("-3")},
    "panel": {
        "code-value-quantity": (
            Composite((Token(LOINC, "sys"), amount("150", "mm[Hg]"))),
            Composite((Token(LOINC, "dia"), amount("90", "mm[Hg]"))),
        )
    },
}

QUANTITIES = [
    ("value-quantity=5.40", "five kilo word", "eq: the precision of the question"),
    ("value-quantity=5.4", "five edge kilo word", "eq: a lower precision reaches further"),
    ("value-quantity=5.400|" + UCUM + "|mg", "five", "with unit"),
    ("value-quantity=5.4||mg", "five edge word", "by code or by human unit"),
    ("value-quantity=5.4||kg", "kilo", "by another unit"),
    ("value-quantity=5.4|urn:other|mg", "", "by a unit of another system"),
    ("value-quantity=ne5.4", "below above minus", "ne: of those that have a value"),
    ("value-quantity=gt5.4", "edge above", "gt: exact"),
    ("value-quantity=ge5.4", "five edge kilo word above", "ge: exact"),
    ("value-quantity=lt5.4", "below minus", "lt: exact"),
    ("value-quantity=le5.4", "five kilo word below minus", "le: exact"),
    ("value-quantity=sa5.4", "edge above", "sa"),
    ("value-quantity=eb5.4", "below minus", "eb"),
    ("value-quantity=ap5", "five edge kilo word below", "ap: a tenth"),
    ("value-quantity=lt0", "below minus", "below zero"),
    ("value-quantity=gt1e2", "above", "a bound that is open above"),
    ("value-quantity=1e2", "", "eq: an open bound is in no range"),
    ("value-quantity=-3", "minus", "a negative number"),
    (
        "value-quantity=lt0,gt5.404|" + UCUM + "|mg",
        "edge kilo below above minus",
        "alternatives with different prefixes",
    ),
    ("value-quantity=5400000|" + UCUM + "|mg", "kilo", "a question in mg finds kg"),
    ("value-quantity=0.0000054|" + UCUM + "|kg", "five edge", "a question in kg finds mg, to its own precision"),
    ("value-quantity=0.000005|" + UCUM + "|kg", "five edge", "and less exactly where it is less exact"),
    ("value-quantity=ge0.000005405|" + UCUM + "|kg", "edge kilo above", "ge: converted to the last digit"),
    ("value-quantity=gt0.000005405|" + UCUM + "|kg", "kilo above", "gt: not what is just as much"),
    ("value-quantity=5.4|" + UCUM + "|mm[Hg]", "", "no way from mass to pressure"),
    ("value-quantity=ne5400000|" + UCUM + "|mg", "five edge below above minus", "ne: converted too"),
    ("value-quantity:missing=true", "panel", "missing"),
    ("code-value-quantity=sys$gt140", "panel", "composite: code and value of one component"),
    ("code-value-quantity=dia$gt100", "", "composite: not the value of another component"),
    ("code-value-quantity=" + LOINC + "|dia$90||mm[Hg]", "panel", "composite: with system and unit"),
    ("code-value-quantity=dia$lt80,sys$150", "panel", "composite: alternatives"),
    ("code=" + LOINC + "|a", "five kilo", "a token beside them"),
    ("code=" + LOINC + "|b&value-quantity=gt5||kg", "", "both must hold"),
    ("code=a&value-quantity=5.4||kg", "kilo", "both hold"),
    ("code=a,b&code=b", "edge kilo", "several values, each parameter by its own"),
    ("date=le2025-12", "edge below", "le: what has begun before its end"),
    ("date=ge2026-01-31", "five edge below", "ge: what ends in the middle of it, or with it"),
    ("date=ge2026-02", "five below", "a period without end reaches on"),
    ("date=lt2026-01", "edge below", "a period without begin reaches back"),
    ("date=eq2026", "below", "a period without end is in no range; one of two dates is"),
    ("date=sa2025", "five below", "sa: what has begun after, one of two dates"),
    ("date=eb2026-02", "edge below", "eb: what has ended before"),
]

ZOE = Reference("Patient", "p")
LEO = Reference("Patient", "q", identifier=Token("urn:ins", "5"))

OTHERS: Mapping[str, Facts] = {
    "RiskAssessment/r1": {"probability": Number(Decimal("0.8"), Decimal("0.8"))},
    "RiskAssessment/r2": {
        "probability": (Number(Decimal("0.1"), Decimal("0.3")), Number(Decimal("0.5"), Decimal("0.5")))
    },
    "ValueSet/v1": {"url": Uri("http://acme.org/fhir/ValueSet/123")},
    "ValueSet/v2": {"url": Uri("http://acme.org/fhir")},
    "ValueSet/v3": {"url": Uri("http://acme.org/fhirX/ValueSet/123")},
    "ValueSet/v4": {"url": Uri("urn:oid:1.2.3"), "_profile": Uri("http://p/a")},
    "Organization/top": {"name": Text("CHU de Rennes")},
    "Organization/unit": {"name": Text("Cardiologie"), "partof": Reference("Organization", "top")},
    "Organization/far": {"partof": Reference("", "", "https://elsewhere.example/fhir/Organization/1")},
    "Location/paris": {"near": Position(48.8566, 2.3522)},
    "Location/rennes": {"near": Position(48.1173, -1.6778)},
    "Location/nowhere": {},
    "Patient/p": {"name": Text("Zoé"), "organization": Reference("Organization", "unit")},
    "Patient/q": {"name": Text("Léo"), "organization": Reference("Organization", "none")},
    "Device/p": {},
    "Observation/1": {"subject": ZOE, "patient": ZOE, "code": Token(LOINC, "a")},
    "Observation/2": {"subject": Reference("Device", "p"), "derived-from": Reference("Observation", "1", version="2")},
    "Observation/3": {
        "subject": LEO,
        "patient": LEO,
        "derived-from": (Reference("Observation", "1"), Reference("", "", "urn:uuid:6")),
    },
    "Provenance/x": {"target": (Reference("Observation", "1"), Reference("Patient", "q"))},
}

REST = [
    ("RiskAssessment", "probability=gt0.5", "r1", "number: gt"),
    ("RiskAssessment", "probability=0.8", "r1", "number: eq"),
    ("RiskAssessment", "probability=ge0.5", "r1 r2", "number: ge, one of several values"),
    ("RiskAssessment", "probability=0.2", "", "number: a range wider than the precision"),
    ("RiskAssessment", "probability=lt0.2", "r2", "number: some part of the range"),
    ("RiskAssessment", "probability=eb0.4", "r2", "number: the whole range"),
    ("RiskAssessment", "probability=ap0.75", "r1", "number: a tenth"),
    ("ValueSet", "url=http://acme.org/fhir", "v2", "uri: precise"),
    ("ValueSet", "url=HTTP://acme.org/fhir", "", "uri: case counts"),
    ("ValueSet", "url=urn:oid:1.2.3", "v4", "uri: an oid"),
    ("ValueSet", "url:below=http://acme.org/fhir", "v1 v2", "uri: below, by whole segments"),
    ("ValueSet", "url:below=http://acme.org/fhir/", "v1", "uri: below, with a slash"),
    ("ValueSet", "url:above=http://acme.org/fhir/ValueSet/123/_history/5", "v1 v2", "uri: above"),
    ("ValueSet", "url:above=http://acme.org/fhir", "v2", "uri: above includes itself"),
    ("ValueSet", "_profile=http://p/a", "v4", "uri: of every type"),
    ("ValueSet", "_profile:missing=true", "v1 v2 v3", "uri: missing"),
    ("Observation", "subject=Patient/p", "1", "reference: type and id"),
    ("Observation", "subject=p", "1 2", "reference: an id of any type"),
    ("Observation", "subject:Device=p", "2", "reference: a type as modifier"),
    ("Observation", "patient=p,q", "1 3", "reference: alternatives"),
    ("Observation", "subject=http://h/fhir/Patient/p", "1", "reference: absolute, of this server"),
    ("Observation", "subject=http://other/fhir/Patient/p", "", "reference: absolute, of another"),
    ("Observation", "derived-from=Observation/1", "2 3", "reference: with and without version"),
    ("Observation", "derived-from=Observation/1/_history/2", "2", "reference: the version asked for"),
    ("Observation", "derived-from=urn:uuid:6", "3", "reference: a urn"),
    ("Organization", "partof=https://elsewhere.example/fhir/Organization/1", "far", "reference: elsewhere"),
    ("Organization", "partof:missing=true", "top", "reference: missing"),
    ("Observation", "patient:identifier=urn:ins|5", "3", "reference: by its identifier"),
    ("Observation", "patient:identifier=5", "3", "reference: by its identifier, any system"),
    ("Observation", "patient:identifier=urn:ins|6", "", "reference: by another identifier"),
    ("Observation", "patient.name=zoe", "1", "chain"),
    ("Observation", "subject:Patient.name=zoe,leo", "1 3", "chain with type and alternatives"),
    ("Observation", "patient.organization.name=cardio", "1", "chain of two"),
    ("Observation", "patient.organization.partof.name=chu", "1", "chain of three"),
    ("Observation", "patient.organization.partof.name=cardio", "", "chain of three: not there"),
    ("Observation", "patient._id=q", "3", "chain to an id"),
    ("Observation", "patient.organization:missing=false", "1 3", "chain to a missing"),
    ("Observation", "patient.organization.name:missing=false", "1", "chain through a reference to nothing"),
    ("Observation", "derived-from:Observation.code=a", "2 3", "chain to the same type"),
    ("Patient", "_has:Observation:patient:code=a", "p", "has"),
    ("Patient", "_has:Observation:patient:code=a,b", "p", "has: alternatives"),
    ("Patient", "_has:Observation:patient:code=zz", "", "has: no such"),
    ("Patient", "_has:Observation:patient:_id=3", "q", "has: by id"),
    ("Patient", "_has:Observation:patient:_has:Observation:derived-from:_id=2", "p", "has in has"),
    ("Patient", "_has:Provenance:target:_id=x", "q", "has: by a reference to any type"),
    ("Organization", "_has:Patient:organization:_has:Observation:patient:code=a", "unit", "has of two"),
    ("Organization", "_has:Patient:organization:name=zoe&name=card", "unit", "has and another"),
    ("Organization", "_has:Organization:partof:_has:Patient:organization:name=zoe", "top", "has: up a hierarchy"),
    ("Patient", "_has:Observation:subject:derived-from.code=a", "q", "has with a chain in it"),
    ("Location", "near=48.85|2.35|5|km", "paris", "near, in km"),
    ("Location", "near=48.85|2.35|320", "paris rennes", "near, without a unit"),
    ("Location", "near=48.85|2.35|300", "paris", "near, not that near"),
    ("Location", "near=48.85|2.35|500|m", "", "near, in metres"),
    ("Location", "near:missing=true", "nowhere", "near: missing"),
    ("", "_id=p", "p p", "the whole system, by id"),
    ("", "_id=p&_type=Device", "p", "the whole system, one type of it"),
    ("", "_profile:missing=false", "v4", "the whole system, by what every type has"),
    ("Organization,Patient", "name=c,z", "top unit p", "several types"),
    ("Organization,Patient", "_id=p,top", "top p", "several types by id"),
]


def table(rows: list[tuple[str, str, str]]) -> list[object]:
    return [pytest.param(text, expected, id=claim) for text, expected, claim in rows]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("98.6", "37", id="eq: from half a digit below"),
        pytest.param("gt100", "37.78", id="gt: 100 [degF] is 37.777... Cel"),
        pytest.param("le100", "37.77 37 -17.77 -17.78", id="le"),
        pytest.param("ge0", "37.78 37.77 37 -17.77", id="ge: 0 [degF] is -17.777... Cel"),
        pytest.param("lt0", "-17.78", id="lt"),
    ],
)
async def test_a_bound_whose_digits_do_not_end(store: Store, maker: Maker, text: str, expected: str) -> None:
    names = ["-17.78", "-17.77", "37", "37.77", "37.78"]
    await put(
        store,
        *(maker.write(f"Observation/{n}", values={"value-quantity": amount(n, "Cel")}) for n in names),
        maker.write("Observation/mg", values={"value-quantity": amount("37")}),
    )
    assert await ids(store, asked("Observation", f"value-quantity={text}|{UCUM}|[degF]")) == expected.split()


async def check(store: Store, type: str, text: str, expected: str) -> None:
    assert sorted(await ids(store, asked(type, text + "&_count=100"))) == sorted(expected.split())


@pytest.mark.parametrize(("text", "expected"), table([*STRINGS, *TOKENS, *DATES]))
async def test_patients(store: Store, maker: Maker, text: str, expected: str) -> None:
    await put(store, *(maker.write(f"Patient/{id}", values=values) for id, values in PEOPLE.items()))
    await check(store, "Patient", text, expected)


@pytest.mark.parametrize(("text", "expected"), table(QUANTITIES))
async def test_observations(store: Store, maker: Maker, text: str, expected: str) -> None:
    await put(store, *(maker.write(f"Observation/{id}", values=values) for id, values in ENTRIES.items()))
    await check(store, "Observation", text, expected)


@pytest.mark.parametrize(("type", "text", "expected"), [pytest.param(*row[:3], id=row[3]) for row in REST])
async def test_others(store: Store, maker: Maker, type: str, text: str, expected: str) -> None:
    await put(store, *(maker.write(reference, values=values) for reference, values in OTHERS.items()))
    await check(store, type, text, expected)


async def test_a_replaced_version_is_not_found_by_what_it_said(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Patient/1", values=PEOPLE["eve"]))
    await put(store, maker.write("Patient/1", 2, values=PEOPLE["jp"]))
    for text in ("name=eve", "gender=female", "birthdate=1961-07-15", "identifier:missing=true"):
        await check(store, "Patient", text, "")
    for text in ("name=jean", "gender:missing=true", "birthdate=1961-07-16", "identifier=77"):
        await check(store, "Patient", text, "1")


async def test_a_chain_does_not_lead_to_what_is_deleted(store: Store, maker: Maker) -> None:
    await put(store, *(maker.write(reference, values=values) for reference, values in OTHERS.items()))
    await put(store, maker.deletion("Patient/p", 2), maker.deletion("Observation/3", 2))
    await check(store, "Observation", "patient.name=zoe", "")
    await check(store, "Observation", "patient=p", "1")
    await check(store, "Patient", "_has:Observation:patient:_id=3", "")


async def test_the_time_of_the_last_change_is_searched(store: Store, maker: Maker) -> None:
    early, late = (span(text, PARIS).lo for text in ("2026-01-01T10:00:00Z", "2026-01-02T10:00:00Z"))
    await put(store, maker.write("Patient/1", at=early), maker.write("Patient/2", at=late))
    await check(store, "Patient", "_lastUpdated=2026-01-01", "1")
    await check(store, "Patient", "_lastUpdated=gt2026-01-01", "2")
    await check(store, "Patient", "_lastUpdated=le2026-01-02T10:00:00Z", "1 2")
    await check(store, "Patient", "_lastUpdated=lt2026-01-02T10:00:00Z", "1")
    await put(store, maker.write("Patient/1", 2, at=late + 1))
    await check(store, "Patient", "_lastUpdated=2026-01-01", "")


async def test_texts_that_look_like_patterns_are_only_texts(store: Store, maker: Maker) -> None:
    odd = {"a": "100%", "b": "a_b", "c": "x' OR 1=1 --", "d": "[a-z]*", "e": 'say "é"', "f": "\U0001f600 ok"}
    await put(store, *(maker.write(f"Patient/{id}", values={"name": Text(text)}) for id, text in odd.items()))
    await check(store, "Patient", "name:exact=a_b", "b")
    await check(store, "Patient", "name:exact=aXb", "")
    await check(store, "Patient", "name:exact=x' OR 1=1 --", "c")
    await check(store, "Patient", "name:exact=[a-z]*", "d")
    await check(store, "Patient", 'name:contains=say "e', "e")
    await check(store, "Patient", "name=\U0001f600", "f")
    await check(store, "Patient", "name:contains=OR 2", "")
