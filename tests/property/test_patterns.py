"""Rows by patterns are those of the general way, for examples of R4 whose dates, numbers, ids and references vary."""

from __future__ import annotations

import asyncio
import json
import lzma
import random
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.errors import VersionConflict
from fhir_server.model import Resource
from fhir_server.search.definition import known_parameters, read_definition
from fhir_server.search.extract import Indexer
from fhir_server.search.registry import Kept, SearchParameters
from fhir_server.search.values import Indexed
from fhir_server.search.words import content_of, folded
from fhir_server.store.protocol import Transaction, Write
from fhir_server.store.sqlite import SqliteStore
from fhir_server.store.sqlite.rows import RowMaker, Rows
from fhir_server.store.sqlite.templates import fill
from fhir_server.store.sqlite.terms import hasher

EXAMPLES = Path(__file__).parents[1] / "data" / "examples.jsonl.xz"
ZONE = "Europe/Paris"
AT = 1_767_225_600_000_000

OBSERVATION = b"""{"resourceType":"Observation","id":"a","status":"final","identifier":[{"system":"urn:x","value":"4711",
"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"FILL"}],"text":"Auftrag"}}],
"code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}],"text":"Blood pressure"},
"subject":{"reference":"Patient/a","display":"One"},"performer":[{"reference":"Patient/b"}],
"encounter":{"reference":"Encounter/b"},"device":{"reference":"Device/b"},
"effectivePeriod":{"start":"2026-01-01T10:00:00+01:00","end":"2026-01-01T10:00:00+01:00"},
"issued":"2026-01-01T09:00:00Z","component":[
{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6","display":"Systolic"}]},
"valueQuantity":{"value":120,"unit":"mmHg","system":"http://unitsofmeasure.org","code":"mm[Hg]"}},
{"code":{"coding":[{"system":"http://loinc.org","code":"8462-4","display":"Diastolic"}]},
"valueQuantity":{"value":80,"comparator":"<","unit":"mmHg","system":"http://unitsofmeasure.org","code":"mm[Hg]"}}]}"""
REPORT = b"""{"resourceType":"DiagnosticReport","id":"b","status":"final","code":{"coding":[{"code":"BILAN"}]},
"subject":{"reference":"Patient/a"},"effectiveDateTime":"2026-01-01","issued":"2026-01-01T09:00:00Z",
"result":[{"reference":"Observation/a"},{"reference":"Observation/b"}]}"""
CONDITION = b"""{"resourceType":"Condition","id":"b","subject":{"reference":"Patient/a"},@}"""
GLUCOSE = b"""{"resourceType":"Observation","id":"a","status":"final","subject":{"reference":"Patient/a"},
"code":{"coding":[{"system":"http://loinc.org","code":"2339-0"}]},
"valueQuantity":{"value":95,"unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"}}"""

# What varies: plain values, of which some are equal though written otherwise; then those that no pattern reads.
TIMES = (
    "2026-01-01T10:00:00+01:00",
    "2026-01-01T09:00:00Z",
    "2026-01-01T09:00:00.000Z",
    "2026-01-01T09:00:00.123456789Z",
    "1999-12-31T23:59:59-14:00",
)
ODD_TIMES = ("2026-02-31T00:00:00Z", "2026-06-30T23:59:60Z", "2026-01-01T09:00:00+19:00", "0999-01-01T00:00:00Z")
DAYS, ODD_DAYS = ("2026-01-01", "2026-01-02", "1999-01-01", "2099-01-01", "2026-03-29"), ("2026-02-30", "2026-01")
NUMBERS, ODD_NUMBERS = ("0", "1", "1.0", "7.25", "120", "80"), ("-0", "-3", "1e2", "123456789012345678901")
IDS, ODD_IDS = ("a", "b", "A-1", "6b1f5c1e-0d3c-4f0e-9c2b-1f2b3c4d5e6f"), ("x" * 64,)
CODES, ODD_CODES = ("a", "4711", "12:30"), ("Patient/a", "2026-01-01", "é", "a,b", "<b>", "final", "x" * 70)
SHOWN = ("One", "Two, of three", "Zoé", "<b> & b", 'say "x"', "back\\slash", "x" * 300)


@cache
def examples() -> tuple[Resource, ...]:
    with lzma.open(EXAMPLES) as lines:
        return tuple(gate.load(line)["resource"] for line in lines)


def vary(value: Any, chance: random.Random) -> Any:
    """Return a resource with other dates, numbers, ids, references and values of identifiers."""
    if isinstance(value, dict):
        made = {key: _vary(key, item, chance) for key, item in value.items()}
        if "reference" in made and chance.random() < 0.7:  # most have a display, as in its example or added
            made["display"] = chance.choice(SHOWN)
        return made
    if isinstance(value, list):
        return [vary(item, chance) for item in value]
    return value


def _vary(key: str, item: Any, chance: random.Random) -> Any:
    def choose(plain: tuple[str, ...], odd: tuple[str, ...]) -> str:
        return chance.choice(plain if chance.random() < 0.97 else odd)

    if isinstance(item, (int, Decimal)) and not isinstance(item, bool):
        return json.loads(choose(NUMBERS, ODD_NUMBERS), parse_float=gate.number)
    if not isinstance(item, str):
        return vary(item, chance)
    if len(item) > 15 and item[10:11] == "T" and item[:4].isdigit():
        return choose(TIMES, ODD_TIMES)
    if len(item) == 10 and item[4] == item[7] == "-":
        return choose(DAYS, ODD_DAYS)
    if key == "id":
        return choose(IDS, ODD_IDS)
    if key == "value":
        return choose(CODES, ODD_CODES)
    if key == "reference" and not item.startswith("#"):
        type, slash, _ = item.rpartition("/")
        return f"{type}{slash}{choose(IDS, ODD_IDS)}" if chance.random() < 0.97 else "Patient/a"
    return item


class Both:
    """Makes the rows of resources in both ways, with the same terms and hashes."""

    def __init__(self) -> None:
        self.index = Indexer(ZONE, "https://hub.example/fhir")
        self.hash = hasher(b"key")
        self.quick, self.slow = RowMaker(self.hash), RowMaker(self.hash)
        self.terms: dict[tuple[str, str, str, str], int] = {}
        self.texts: set[Any] = set()
        self.met = self.filled = self.seq = 0

    def term_of(self, type: str) -> Callable[[str, str, str], int]:
        return lambda kind, params, system: self.terms.setdefault((type, kind, params, system), len(self.terms) + 1)

    def check(self, resource: Resource) -> None:
        """Compare what both ways make of a resource."""
        body, type = gate.write(resource), resource["resourceType"]
        self.seq += 1
        self.met += 1
        expected = self.index(resource)
        found = self.index.written(resource, body)
        assert found.owners == expected.owners
        k = self.term_of(type)("type", "", "")
        slow = self.slow.build(k, type, expected, self.seq, AT, self.term_of(type))
        if found.filled is None:
            assert found == expected
            rows = self.quick.build(k, type, found, self.seq, AT, self.term_of(type))
            rows.token.append((k, 0, self.seq))
        else:
            self.filled += 1
            rows = fill(self.quick, k, type, found.filled, self.seq, AT, self.term_of(type))
            words, wanted = (folded(text).split() for text in (found.filled.content, content_of(body)))
            assert set(words) == set(wanted)
            assert len(words) >= len(wanted), "so many words are taken out again, at most"
        slow.token.append((k, 0, self.seq))
        self.texts.update(rows.text)
        assert in_sets(rows) == in_sets(slow), resource
        assert self.texts >= set(self.texts_of(type, expected)), resource

    def texts_of(self, type: str, indexed: Indexed) -> list[Any]:
        """Return the texts that a store has to have for a resource."""
        fresh = RowMaker(self.hash)
        return fresh.build(0, type, indexed, 0, AT, self.term_of(type)).text


def in_sets(rows: Rows) -> tuple[Any, ...]:
    return *(frozenset(each) for each in (rows.token, rows.span, rows.fact, rows.timeline)), rows.shape


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_rows_by_patterns_are_those_of_the_general_way(seed: int) -> None:
    chance = random.Random(seed)
    both = Both()
    for resource in chance.sample(examples(), 30):
        for _ in range(12):
            both.check(vary(resource, chance))
    assert both.met == 360


def _write(store: SqliteStore, resource: Resource, indexed: Indexed, version: int) -> Callable[..., Any]:
    async def put(tx: Transaction) -> None:
        body = gate.write(resource)
        await tx.put(Write(resource["resourceType"], "one" + resource["id"], version, AT, "PUT", body, indexed))
        if resource.get("status") == "entered-in-error":
            raise VersionConflict("undone")

    return put


async def _filled(path: Path, steps: list[tuple[Resource, int]], index: Callable[[Resource], Indexed]) -> list[Any]:
    """Return what the tables of a store hold after some writes, terms by name."""
    store = SqliteStore(str(path), index=Indexer(ZONE), clock=lambda: AT, random=bytes)
    await store.open()
    for resource, version in steps:
        with suppress(VersionConflict):
            await store.transact("default", _write(store, resource, index(resource), version))
    await store.close()
    connection = apsw.Connection(str(path))
    connection.execute("CREATE VIRTUAL TABLE temp.said USING fts5vocab(main, words, row)")
    queries = [
        "SELECT kind, params, system, c, seq FROM token JOIN term ON id = t",
        "SELECT kind, params, system, lo, w, seq FROM span JOIN term ON id = t",
        "SELECT kind, params, system, lo, w, seq FROM fact JOIN term ON id = t",
        "SELECT kind, params, p, c, lo, seq FROM timeline JOIN term ON id = t",
        "SELECT kind, params, text, c FROM text JOIN term ON id = t",
        "SELECT seq, idh, owner, kind, params FROM head JOIN term ON id = shape",
        "SELECT seq, id, version, owners FROM version",
        "SELECT term, doc FROM said",
    ]
    found = [set(connection.execute(query)) for query in queries]
    connection.close()
    return found


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32))
def test_a_store_holds_the_same_after_writes_updates_and_undone_units(seed: int) -> None:
    chance = random.Random(seed)
    plain_ones = [gate.load(text) for text in (OBSERVATION, REPORT, GLUCOSE)]
    steps: list[tuple[Resource, int]] = []
    versions: dict[tuple[str, str], int] = {}
    for _ in range(60):
        plain = chance.choice(plain_ones)
        made = vary(plain, chance) if chance.random() < 0.5 else {**plain, "id": chance.choice("klmn")}
        made["status"] = chance.choice(("final", "final", "entered-in-error"))
        key = made["resourceType"], made["id"]
        version = versions.get(key, 0) + 1
        if made["status"] == "final":
            versions[key] = version
        steps.append((made, version))
    index = Indexer(ZONE)
    quick: list[Indexed] = []

    def written(resource: Resource) -> Indexed:
        quick.append(index.written(resource, gate.write(resource)))
        return quick[-1]

    with TemporaryDirectory() as folder:
        found = asyncio.run(_filled(Path(folder, "quick.db"), steps, written))
        expected = asyncio.run(_filled(Path(folder, "slow.db"), steps, index))
    assert found == expected
    assert sum(one.filled is not None for one in quick) > 5


def _definition(code: str, type: str, expression: str) -> Kept:
    said = {
        "resourceType": "SearchParameter",
        "id": code,
        "url": f"http://x.org/{code}",
        "name": code,
        "status": "active",
        "description": "-",
        "code": code,
        "base": ["Observation"],
        "type": type,
        "expression": expression,
    }
    return Kept(read_definition(said, known_parameters({})), True)


@pytest.mark.parametrize(
    ("definition", "filled"),
    [
        pytest.param(_definition("said", "string", "Observation.code.text"), True, id="a plain way serves patterns"),
        pytest.param(
            _definition("high", "token", "Observation.component.value.ofType(Quantity).value > 100"),
            False,
            id="what may depend on a number makes none",
        ),
        pytest.param(
            _definition("mine", "token", "Observation.identifier.where(value = '4711')"),
            False,
            id="nor does a filter by what varies",
        ),
    ],
)
def test_a_parameter_that_is_added_is_in_the_patterns(definition: Kept, filled: bool) -> None:
    registry = SearchParameters()
    index = Indexer(ZONE, "", registry)
    resource = gate.load(OBSERVATION)
    body = gate.write(resource)
    before = [index.written(resource, body).filled for _ in range(5)]
    assert [one is not None for one in before] == [False, False, False, True, True]
    registry.replace([definition])
    after = [index.written(resource, body).filled for _ in range(5)]
    assert (after[4] is not None) == filled
    if after[4] is not None:
        assert definition.definition.name in after[4].pattern.sample.values


def test_a_concentration_counts_in_the_other_unit_by_a_pattern_too() -> None:
    both = Both()
    for number in ("95", "96.5", "97", "98", "95.0"):
        both.check(gate.load(GLUCOSE.replace(b"95", number.encode())))
    assert both.filled == 2


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(CONDITION.replace(b"@", b'"onsetRange":{"low":{"value":1},"high":{"value":2}}'), id="a range"),
        pytest.param(
            CONDITION.replace(b"@", b'"onsetPeriod":{"start":"2026-01-02","end":"2026-01-01"}'), id="no period"
        ),
        pytest.param(CONDITION.replace(b"@", b'"code":{"text":"a","coding":[{"code":"Patient/a"}]}'), id="an odd code"),
    ],
)
def test_what_depends_on_how_values_compare_makes_no_pattern(body: bytes) -> None:
    index = Indexer(ZONE)
    resource = gate.load(body)
    found = [index.written(resource, gate.write(resource)) for _ in range(6)]
    assert [one.filled for one in found] == [None] * 6
    assert found[5] == index(resource)
