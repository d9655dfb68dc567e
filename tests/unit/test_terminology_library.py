"""Which resource a url means, what a code system holds, and what is remembered between calls."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.definitions import terminology as r4
from fhir_server.errors import Unprocessable
from fhir_server.model import Resource
from fhir_server.store.protocol import Transaction
from fhir_server.terminology import french
from fhir_server.terminology.codesystem import CodeSystem, Designation, decode
from fhir_server.terminology.display import best, wanted
from fhir_server.terminology.library import Library, Pins
from fhir_server.terminology.shelf import Shelf
from tests.terminology_world import SYSTEM, TENANT, CodeWorld, concept, include, system, value_set, world

GENDER = "http://hl7.org/fhir/administrative-gender"


def version(number: str, *, status: str = "active", id: str = "", **given: Any) -> Resource:
    return system(concept("a", display=number), id=id or f"s{number or 'none'}", version=number, status=status, **given)


async def chosen(made: CodeWorld, url: str = SYSTEM, number: str = "") -> CodeSystem | None:
    async with made.view() as view:
        return await made.terminology.over(view).code_system(url, number)


BEST = [
    pytest.param([version("1.9"), version("1.10")], "1.10", id="numbers in versions count as numbers"),
    pytest.param([version("2.0.0-ballot"), version("2.0.0")], "2.0.0", id="a release comes before its ballot"),
    pytest.param([version("2025-12-01"), version("2026-01-15")], "2026-01-15", id="dates are compared as dates"),
    pytest.param([version("20250101"), version("20260101")], "20260101", id="long numbers are compared"),
    pytest.param(
        [version("3", status="retired"), version("2")], "2", id="an active one comes before a newer retired one"
    ),
    pytest.param(
        [version("3", status="draft"), version("2", status="retired")], "3", id="without an active one the newest"
    ),
    pytest.param([version(""), version("1")], "1", id="a version comes before none"),
]


@pytest.mark.parametrize(("stored", "expected"), BEST)
async def test_of_several_stored_ones(stored: list[Resource], expected: str) -> None:
    for order in (stored, stored[::-1]):
        found = await chosen(await world(*order))
        assert found is not None
        assert found.version == expected


async def test_a_version_that_is_asked_for_is_given_or_nothing() -> None:
    made = await world(version("1"), version("2"))
    found = await chosen(made, number="1")
    assert found is not None
    assert found.version == "1"
    assert await chosen(made, number="3") is None


OWN = [
    pytest.param({"status": "active"}, "stored", id="an active stored one comes before R4's own"),
    pytest.param({"status": "draft"}, "4.0.1", id="a draft does not hide R4's own"),
    pytest.param(
        {"status": "active", "content": "not-present"}, "4.0.1", id="one without content does not hide R4's own"
    ),
]


@pytest.mark.parametrize(("given", "expected"), OWN)
async def test_beside_r4s_own(given: dict[str, Any], expected: str) -> None:
    made = await world(system(concept("x"), url=GENDER, **({"version": "stored"} | given)))
    found = await chosen(made, GENDER)
    assert found is not None
    assert found.version == expected


async def test_another_tenant_sees_only_its_own() -> None:
    made = await world(version("1"))
    async with made.store.view("south") as view:
        assert await made.terminology.over(view).code_system(SYSTEM) is None


async def test_what_is_written_is_seen_at_once_and_what_is_deleted_no_more() -> None:
    made = await world()
    assert await chosen(made) is None
    await made.put(version("1", id="s"))
    assert (await chosen(made) or decode({})).concepts["a"].display == "1"
    await made.put(version("1", id="s") | {"concept": [concept("b")]})
    found = await chosen(made)
    assert found is not None
    assert list(found.concepts) == ["b"]


async def test_what_a_transaction_takes_back_is_not_remembered() -> None:
    made = await world(version("1", id="s"))

    async def work(tx: Transaction) -> None:
        await made.write(tx, version("1", id="s") | {"concept": [concept("ghost")]})
        found = await made.terminology.over(tx).code_system(SYSTEM)
        assert found is not None
        assert list(found.concepts) == ["ghost"]
        raise Unprocessable("taken back")

    with pytest.raises(Unprocessable):
        await made.store.transact(TENANT, work)
    found = await chosen(made)
    assert found is not None
    assert list(found.concepts) == ["a"]


async def test_an_erased_code_system_that_comes_again_is_the_new_one() -> None:
    made = await world(version("1", id="s"))
    assert await chosen(made) is not None

    async def erase(tx: Transaction) -> None:
        await tx.erase("CodeSystem", "s")
        await tx.bump_epoch()

    await made.store.transact(TENANT, erase)
    made.versions.clear()
    await made.put(version("1", id="s") | {"concept": [concept("b")]})
    found = await chosen(made)
    assert found is not None
    assert list(found.concepts) == ["b"]


async def test_a_decoded_code_system_is_kept_until_it_changes() -> None:
    made = await world(version("1", id="s"))
    first = await chosen(made)
    assert await chosen(made) is first
    await made.put(version("9", id="other", url="http://elsewhere"))
    assert await chosen(made) is first
    await made.put(version("2", id="s"))
    assert await chosen(made) is not first


async def test_a_supplement_adds_texts_and_properties_but_no_codes() -> None:
    more = {
        "resourceType": "CodeSystem", "id": "fr", "url": "http://example.org/fr", "status": "active", "language": "fr",
        "content": "supplement", "supplements": SYSTEM,
        "concept": [{"code": "a", "display": "Un", "property": [{"code": "rank", "valueInteger": 1}]}, {"code": "z"}],
    }  # fmt: skip
    made = await world(version("1"))
    await made.put(more)
    found = await chosen(made)
    assert found is not None
    assert list(found.concepts) == ["a"]
    assert found.concepts["a"].designations == (Designation("fr", None, "Un"),)
    assert found.values(found.concepts["a"], "rank") == ["1"]
    await made.put(more | {"status": "retired"})
    found = await chosen(made)
    assert found is not None
    assert found.concepts["a"].designations == ()
    assert await chosen(made, "http://example.org/fr") is None


@pytest.mark.parametrize(
    ("supplemented", "version_asked", "adds"),
    [
        pytest.param(f"{SYSTEM}|1", "1", True, id="the version that it names"),
        pytest.param(f"{SYSTEM}|1", "2", False, id="another version than it names"),
        pytest.param(SYSTEM, "2", True, id="any version, where it names none"),
        pytest.param(f"{SYSTEM}|1", "", False, id="the newest one, which is not the one that it names"),
    ],
)
async def test_a_supplement_adds_to_the_version_that_it_names(
    supplemented: str, version_asked: str, adds: bool
) -> None:
    more = {
        "resourceType": "CodeSystem", "id": "fr", "url": "http://example.org/fr", "status": "active", "language": "fr",
        "content": "supplement", "supplements": supplemented, "concept": [{"code": "a", "display": "Un"}],
    }  # fmt: skip
    made = await world(version("1", id="one"), version("2", id="two"), more)
    async with made.view() as view:
        found = await made.terminology.over(view).code_system(SYSTEM, version_asked)
    assert found is not None
    assert bool(found.concepts["a"].designations) is adds


async def test_a_resource_of_the_request_comes_first_with_what_it_contains() -> None:
    made = await world(version("1"), value_set(include()))
    given = value_set(include(url="", valueSet=["#inner"]), contained=[value_set(include("q"), id="inner", url="")])
    async with made.view() as view:
        library = made.terminology.over(view, [given, version("request")])
        inner = await library.value_set("#inner")
        assert inner is not None
        assert inner.includes[0].concepts is not None
        assert list(inner.includes[0].concepts) == ["q"]
        found = await library.code_system(SYSTEM)
        assert found is not None
        assert found.version == "request"


PINS = [
    pytest.param(Pins(default={SYSTEM: "1"}), "", "1", id="a default holds where nothing is said"),
    pytest.param(Pins(default={SYSTEM: "1"}), "2", "2", id="what the value set says comes before a default"),
    pytest.param(Pins(force={SYSTEM: "1"}), "2", "1", id="a forced version holds whatever is said"),
    pytest.param(Pins(check={SYSTEM: "1"}), "", "1", id="a checked version holds where nothing is said"),
    pytest.param(Pins(check={SYSTEM: "1"}), "2", None, id="a checked version refuses another"),
]


@pytest.mark.parametrize(("pins", "said", "expected"), PINS)
async def test_versions_that_a_request_pins(pins: Pins, said: str, expected: str | None) -> None:
    made = await world(version("1"), version("2"))
    async with made.view() as view:
        library = Library(view, Shelf(), (), pins)
        if expected is None:
            with pytest.raises(Unprocessable):
                await library.code_system(SYSTEM, said)
        else:
            found = await library.code_system(SYSTEM, said)
            assert found is not None
            assert found.version == expected


IMPLIED = [
    pytest.param("http://snomed.info/sct?fhir_vs", (), id="all of SNOMED CT"),
    pytest.param(
        "http://snomed.info/sct?fhir_vs=isa/404684003", (("concept", "is-a", "404684003"),), id="below a concept"
    ),
    pytest.param("http://loinc.org/vs", (), id="all of LOINC"),
    pytest.param("http://snomed.info/sct?fhir_vs=ecl/x", None, id="what is not understood is unknown"),
]


@pytest.mark.parametrize(("url", "rules"), IMPLIED)
async def test_value_sets_that_their_url_defines(url: str, rules: tuple[tuple[str, str, str], ...] | None) -> None:
    made = await world()
    async with made.view() as view:
        found = await made.terminology.over(view).value_set(url)
    assert (None if found is None else found.includes[0].filters) == rules


def test_the_shelf_lets_go_of_what_was_not_asked_for_longest() -> None:
    shelf = Shelf(most=100)
    shelf.keep("a", 1, 40)
    shelf.keep("b", 2, 40)
    assert shelf.get("a") == 1
    shelf.keep("c", 3, 40)
    assert (shelf.get("a"), shelf.get("b"), shelf.get("c")) == (1, None, 3)
    shelf.keep("huge", 4, 1_000)
    shelf.keep("d", 5, 40)
    assert (shelf.get("huge"), shelf.get("d"), shelf.size) == (4, 5, 80)
    shelf.keep("larger", 6, 2_000)
    assert (shelf.get("huge"), shelf.get("larger")) == (None, 6)


HIERARCHIES = [
    pytest.param(system(concept("a", concept("b", concept("c")))), {"a", "b", "c"}, id="by nesting"),
    pytest.param(
        system(concept("a"), concept("b", parent="a"), concept("c", parent="b")), {"a", "b", "c"}, id="by the property parent"
    ),
    pytest.param(system(concept("a", child="b"), concept("b", child="c"), concept("c")), {"a", "b", "c"}, id="by the property child"),
    pytest.param(system(concept("a"), concept("b", subsumedBy="a")), {"a", "b"}, id="by subsumedBy, as v3 writes it"),
    pytest.param(
        system(concept("a"), concept("b", up="a"), property=[{"code": "up", "uri": "http://hl7.org/fhir/concept-properties#parent"}]),
        {"a", "b"}, id="by a property that means parent",
    ),
    pytest.param(system(concept("a", concept("b")), hierarchyMeaning="part-of"), {"a"}, id="a part subsumes nothing"),
    pytest.param(system(concept("a", concept("b")), hierarchyMeaning="grouped-by"), {"a"}, id="of a group nothing is known"),
    pytest.param(system(concept("a", concept("b")), hierarchyMeaning="is-a"), {"a", "b"}, id="is-a is what it says"),
    pytest.param(system(concept("a", parent="c"), concept("c", parent="a")), {"a", "c"}, id="a cycle ends"),
    pytest.param(system(concept("a", parent="a")), {"a"}, id="a concept above itself is one concept"),
    pytest.param(system(concept("a", child="nowhere")), {"a"}, id="a child that is not there is left out"),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "expected"), HIERARCHIES)
def test_what_stands_below(resource: Resource, expected: set[str]) -> None:
    made = decode(resource)
    assert made.below("a") == expected
    assert all("a" in made.above(code) for code in expected)
    assert made.below("unknown") == made.above("unknown") == frozenset()


def test_case_counts_unless_the_system_says_otherwise() -> None:
    assert decode(system(concept("Abc"))).find("abc") is None
    found = decode(system(concept("Abc", concept("Def")), caseSensitive=False))
    assert found.find("aBC") is not None
    assert found.below("ABC") == {"Abc", "Def"}
    assert found.has("x") is False


def test_expressions_of_a_compositional_system_may_be_codes() -> None:
    assert decode(system(concept("a"), compositional=True)).has("a+b") is None


LANGUAGES = [
    pytest.param("fr", "Loup", id="the language asked for"),
    pytest.param("fr-FR", "Loup", id="a region falls back on its language"),
    pytest.param("de, fr;q=0.5", "Loup", id="the next language where the first has no text"),
    pytest.param("en", "Wolf", id="the language of the system is its display"),
    pytest.param("de", "Wolf", id="a language without a text leaves the display"),
    pytest.param("", "Wolf", id="no language leaves the display"),
    pytest.param("es;q=0, *, pt-BR", "Lobo", id="a language of weight 0 is not wanted"),
    pytest.param("fr-CA", "Loup gris", id="the very region comes first"),
]


@pytest.mark.parametrize(("asked", "expected"), LANGUAGES)
def test_the_text_that_is_shown_for(asked: str, expected: str) -> None:
    given = (
        Designation("fr", {"code": "synonym"}, "Canis lupus"),
        Designation("fr", {"code": "display"}, "Loup"),
        Designation("fr-CA", None, "Loup gris"),
        Designation("pt", None, "Lobo"),
        Designation("es", None, "Lobo español"),
    )
    assert best("Wolf", "en-GB", given, wanted(asked)) == expected


async def test_french_texts_are_of_codes_that_r4_has() -> None:
    made = await world()
    for url, texts in french.texts().items():
        found = await chosen(made, url)
        assert found is not None, url
        assert set(texts) <= set(found.concepts), url
        for code, text in texts.items():
            assert best("", found.language, found.concepts[code].designations, ("fr",)) == text


async def test_a_stored_french_text_comes_before_ours() -> None:
    own = {"code": "male", "designation": [{"language": "fr", "value": "Homme"}]}
    made = await world(system(own, id="fr", url="http://o/fr", content="supplement", supplements=GENDER))
    found = await chosen(made, GENDER)
    assert found is not None
    shown = {code: best(c.display, "", c.designations, ("fr",)) for code, c in found.concepts.items()}
    assert (shown["male"], shown["female"]) == ("Homme", "Féminin")


def test_r4s_own_are_read_one_at_a_time() -> None:
    for type, least in (("CodeSystem", 1_000), ("ValueSet", 1_300), ("ConceptMap", 80), (r4.LISTED, 10)):
        assert len(r4.urls(type)) >= least, type
        assert sum(1 for _ in r4.every(type)) == len(r4.urls(type))
    place = r4.place("CodeSystem", GENDER)
    assert place is not None
    assert [c["code"] for c in r4.read(place)["concept"]] == ["male", "female", "other", "unknown"]
    assert r4.url_of("CodeSystem", place.id) == GENDER
    assert r4.place("CodeSystem", "http://none") is None
