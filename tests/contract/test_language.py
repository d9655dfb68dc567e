"""What the search language says beyond plain parameters, on every store: `_filter`, full text, lists, compartments."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fhir_server.model import Visibility
from fhir_server.search.query import Query
from fhir_server.search.values import Reference, Text, Token, Value
from fhir_server.store.protocol import Store
from tests.contract.small import Maker, asked, ids, put

NAMES: Mapping[str, tuple[str, ...]] = {
    "eve": ("Ève", "Martin"),
    "jp": ("Jean-Pierre", "Lecœur"),
    "coeur": ("Cœur",),
    "void": (),
}
TEXTS: Mapping[str, str] = {
    "eve": "Diabète de type 2, équilibré",
    "jp": "Hypertension; pas de diabète",
    "coeur": "type B",
    "void": "",
}


async def fill(store: Store, maker: Maker) -> None:
    """Store four patients, and an observation of each but one."""
    writes = []
    for id, names in NAMES.items():
        values: dict[str, Value | tuple[Value, ...]] = {"name": tuple(Text(name) for name in names)}
        if id in ("eve", "jp"):
            values["gender"] = Token("", "female" if id == "eve" else "male")
        writes.append(maker.write(f"Patient/{id}", owners=(id,), values=values, mark=TEXTS[id]))
        if id != "void":
            writes.append(maker.about(f"Observation/of-{id}", id, {"code": Token("urn:x", id)}, mark=TEXTS[id]))
    await put(store, *writes)


FILTERS = [
    ("_filter=name eq eve", "eve", "eq is the whole string, without case and accents"),
    ("_filter=name eq jean", "", "eq is not its start"),
    ("_filter=name sw jean", "jp", "sw is its start"),
    ("_filter=name ew coeur", "coeur jp", "ew is its end, in the same letters"),
    ("_filter=name ew lecoeur", "jp", "ew is no more than its end"),
    ("_filter=name ew x", "", "an end that none has"),
    ("_filter=name ne eve", "coeur jp", "ne needs a value"),
    ("_filter=not (name eq eve)", "coeur jp void", "not does not"),
    ("_filter=name pr false", "void", "pr false is without a value"),
    ("_filter=gender eq male or name co mart", "eve jp", "or"),
    ("_filter=gender pr true and not (gender eq male)", "eve", "and, not"),
    ("_filter=_has:Observation:patient:code eq coeur or gender eq male", "coeur jp", "_has inside or"),
    ("_filter=not (_has:Observation:patient:code pr true)", "void", "_has inside not"),
    ("_content=diabete", "eve jp", "words without case and accents"),
    ("_content=DIABÈTE not hypertension", "eve", "words that are not there"),
    ('_content="type 2" or "type b"', "coeur eve", "words beside each other"),
    ("_content=equili*", "eve", "the start of a word"),
    ("_content=equili", "", "a word is whole"),
    ("_content=(hypertension or type) diabete", "eve jp", "parentheses"),
    ("_content=diabete&gender=male", "jp", "full text beside other parameters"),
    ("_text=diabete", "", "the narrative is not the content"),
    ("_has:Observation:patient:_content=hypertension", "jp", "full text inside _has"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), [pytest.param(q, e, id=claim) for q, e, claim in FILTERS])
async def test_a_question_finds(store: Store, maker: Maker, query: str, expected: str) -> None:
    await fill(store, maker)
    assert sorted(await ids(store, asked("Patient", query))) == expected.split()


async def test_full_text_behind_a_reference(store: Store, maker: Maker) -> None:
    await fill(store, maker)
    assert await ids(store, asked("Observation", "patient._content=hypertension")) == ["of-jp"]
    found = await ids(store, asked("Observation", "_filter=patient.name ew coeur or code eq eve"))
    assert sorted(found) == ["of-coeur", "of-eve", "of-jp"]


async def test_full_text_reads_the_current_version_and_only_what_may_be_seen(store: Store, maker: Maker) -> None:
    await fill(store, maker)
    await put(store, maker.write("Patient/eve", 2, owners=("eve",), mark="Guérie"))
    assert await ids(store, asked("Patient", "_content=diabete")) == ["jp"]
    assert await ids(store, asked("Patient", "_content=guerie")) == ["eve"]
    see = Visibility(frozenset({"eve"}))
    assert await ids(store, asked("Patient", "_content=diabete"), see=see) == []
    assert await ids(store, asked("Patient", "_filter=name ew coeur or name co mart"), see=see) == []
    assert await ids(store, asked("Patient", "_has:Observation:patient:_content=diabete"), see=see) == ["eve"]


COMPARTMENTS = [
    ("Patient/jp/Observation", "", ["Observation/of-jp"]),
    ("Patient/jp/Observation", "code=eve", []),
    ("Patient/jp/Patient", "", ["Patient/jp"]),
    ("Patient/jp/*", "_type=Observation,Patient", ["Observation/of-jp", "Patient/jp"]),
    ("Patient/nobody/*", "_type=Observation,Patient", []),
]


@pytest.mark.parametrize(("path", "query", "expected"), COMPARTMENTS)
async def test_a_compartment_holds(store: Store, maker: Maker, path: str, query: str, expected: list[str]) -> None:
    await fill(store, maker)
    async with store.view("north") as view:
        found = await view.search(asked(path, query))
    assert sorted(version.reference for version in found.versions) == expected
    assert found.total == len(expected)


async def test_a_reference_alone_does_not_make_a_compartment(store: Store, maker: Maker) -> None:
    """`_type` keeps each type to the parameters that put it there, though others have the same name."""
    await fill(store, maker)
    derived: dict[str, Value] = {"derived-from": Reference("Observation", "of-jp")}
    await put(store, maker.about("Observation/later", "eve", derived))
    query: Query = asked("Patient/jp/*", "_type=Observation,Patient")
    async with store.view("north") as view:
        found = await view.search(query)
    assert "Observation/later" not in {version.reference for version in found.versions}
