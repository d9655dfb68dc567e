"""Search over real HTTP: a claim for each capability that some FHIR server of today has, and what each refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.http.search_world import UCUM, WORDS, bundle
from tests.running import RunningHub

pytestmark = pytest.mark.every_store

KG = f"{UCUM}|kg"


@pytest.fixture(scope="module")
def world(store_engine: str) -> Iterator[RunningHub]:
    """A hub that holds the small world and nothing else."""
    with RunningHub(engine=store_engine) as running:
        answer = running.request("POST", "/fhir", json=bundle())
        assert answer.status_code == 200, answer.text
        yield running


@pytest.fixture(scope="module")
def stranger(world: RunningHub) -> str:
    """A token of someone whom no rule lets see a patient."""
    return world.token(actor="Practitioner/stranger")


def get(world: RunningHub, query: str, **headers: str) -> Any:
    """Search by the pairs of a query as they are read, which the client encodes."""
    path, _, text = query.partition("?")
    pairs = [tuple(part.split("=", 1)) for part in text.split("&")] if text else []
    sent = {"Authorization": f"Bearer {world.operator}", **headers}
    return world.http.get(f"/fhir/{path}", params=pairs, headers=sent)  # type: ignore[arg-type]


def found(answer: Any, mode: str = "match") -> list[str]:
    """Return the ids of the entries of a mode, in order."""
    assert answer.status_code == 200, answer.text
    entries = answer.json().get("entry", [])
    return [entry["resource"]["id"] for entry in entries if entry["search"]["mode"] == mode]


# (row of the feature table, query, ids that it finds)
FOUND = [
    ("number", "RiskAssessment?probability=0.5", "risk"),
    ("number: the next one is another", "RiskAssessment?probability=0.6", ""),
    ("date", "Observation?date=2026-03-01", "bp1"),
    ("date: of a month", "Observation?date=2026-03", "bp1 bp2 kg lb"),
    ("string", "Patient?family=muller", "chloe"),
    ("token", "Patient?gender=male", "brian"),
    ("token: with its system", "Observation?code=http://loinc.org|85354-9", "bp1 bp2"),
    ("reference", "Observation?subject=Patient/chloe", "bp1 kg burn"),
    ("uri", "ValueSet?url=http://codes.example/fhir/ValueSet/hot", "hot"),
    ("composite", f"Observation?code-value-quantity=29463-7$lt71|{KG}", "kg lb"),
    ("composite: component level", "Observation?component-code-value-quantity=8480-6$gt140", "bp1"),
    ("composite: parts of one component", "Observation?component-code-value-quantity=8462-4$gt140", ""),
    ("quantity with unit", "Observation?value-quantity=154.3||[lb_av]", "lb"),
    ("UCUM normalisation (kg = lb)", f"Observation?value-quantity=70|{KG}", "kg lb"),
    ("near", "Location?near=47.08|2.40|5|km", "town"),
    ("near: elsewhere", "Location?near=48.85|2.35|5|km", ""),
    ("prefixes: eq", "Patient?birthdate=eq1950-06-15", "brian"),
    ("prefixes: ne", "Patient?birthdate=ne1950-06-15", "chloe"),
    ("prefixes: gt", "Observation?date=gt2026-03-01&code=85354-9", "bp2"),
    ("prefixes: lt", "Observation?date=lt2026-03-02&code=85354-9", "bp1"),
    ("prefixes: ge", "Observation?date=ge2026-03-01&code=85354-9", "bp1 bp2"),
    ("prefixes: le", "Observation?date=le2026-03-01&code=85354-9", "bp1"),
    ("prefixes: sa", "Encounter?date=sa2026-02-26", "visit"),
    ("prefixes: eb", "Encounter?date=eb2026-03-02", "visit"),
    ("prefixes: ap", f"Observation?value-quantity=ap75|{KG}", "kg lb"),
    (":missing", "Patient?organization:missing=true", "brian"),
    (":missing=false", "Patient?organization:missing=false", "chloe"),
    (":exact", "Patient?family:exact=Müller-Lefèvre", "chloe"),
    (":exact minds accents", "Patient?family:exact=Muller-Lefevre", ""),
    (":contains", "Patient?family:contains=LEFEVRE", "chloe"),
    (":not", "Patient?gender:not=male", "chloe"),
    (":text", "Condition?code:text=hypertension", "press"),
    (":text of a concept", "Condition?code:text=diabete", "sugar"),
    (":in", "Observation?code:in=http://codes.example/fhir/ValueSet/hot", "burn"),
    (":in by id", "Observation?code:in=ValueSet/hot", "burn"),
    (":not-in", "Observation?code:not-in=ValueSet/hot&patient=brian", "bp2 lb cut"),
    (":in inside a chain", "Patient?_has:Observation:patient:code:in=ValueSet/hot", "chloe"),
    (":above token", f"Observation?code:above={WORDS}|scald", "burn"),
    (":below token", f"Observation?code:below={WORDS}|wound", "burn cut"),
    (":below uri", "ValueSet?url:below=http://codes.example/fhir", "hot"),
    (":below reference", "Organization?partof:below=tours", "bourges"),
    (":below reference to another type", "Patient?organization:below=Organization/tours", "chloe"),
    (":above reference", "Patient?organization:above=bourges", "chloe"),
    (":above uri", "ValueSet?url:above=http://codes.example/fhir/ValueSet/hot/more", "hot"),
    (":identifier", "Observation?performer:identifier=urn:people|7", "burn"),
    (":of-type", "Patient?identifier:of-type=urn:types|INS|150", "chloe"),
    (":of-type of another type", "Patient?identifier:of-type=urn:types|NIR|150", ""),
    (":[type]", "Condition?subject:Patient=chloe", "sugar"),
    ("chaining", "Observation?patient.organization.partof.name=chu&code=29463-7", "kg"),
    ("chaining: by type", "Observation?subject:Patient.family=o'brien&code=29463-7", "lb"),
    ("_has", "Patient?_has:Observation:patient:code=29463-7", "chloe brian"),
    ("_has nested", "Practitioner?_has:Patient:general-practitioner:_has:Condition:patient:code=E11", "doc"),
    ("_has with a chain inside", "Patient?_has:Condition:patient:encounter.class=AMB", "chloe"),
    ("_filter", 'Patient?_filter=given sw "chlo" or family co "brien"', "chloe brian"),
    ("_filter: and", "Patient?_filter=(gender eq male) and (birthdate gt 1950-06-14)", "brian"),
    ("_filter: not", "Patient?_filter=not (gender eq male)", "chloe"),
    ("_filter: eq is the whole string", "Patient?_filter=family eq muller", ""),
    ("_filter: eq without accents", 'Patient?_filter=family eq "muller lefevre"', "chloe"),
    ("_filter: ne", "Patient?_filter=gender ne male", "chloe"),
    ("_filter: ew", "Patient?_filter=family ew lefevre", "chloe"),
    ("_filter: pr", "Patient?_filter=organization pr false", "brian"),
    ("_filter: po", "Encounter?_filter=date po 2026-02-28", "visit"),
    ("_filter: re", "Observation?_filter=subject re Patient/brian and code eq 85354-9", "bp2"),
    ("_filter: in", "Observation?_filter=code in ValueSet/hot", "burn"),
    ("_filter: ni", "Observation?_filter=patient eq chloe and code ni ValueSet/hot", "bp1 kg"),
    ("_filter: ss", f"Observation?_filter=code ss {WORDS}|wound", "burn cut"),
    ("_filter: sb", f"Observation?_filter=code sb {WORDS}|scald", "burn"),
    ("_filter: chain", "Observation?_filter=patient.organization.name co bourges and date eq 2026-03", "bp1 kg"),
    (
        "_filter: brackets",
        'Observation?_filter=subject:Patient[gender eq male].family sw "o" and code eq 29463-7',
        "lb",
    ),
    ("_filter: _has", "Patient?_filter=_has:Observation:patient:code eq 85354-9 and gender eq male", "brian"),
    (
        "_filter: left to right",
        "Patient?_filter=gender eq female or gender eq male and birthdate gt 1950-06-30",
        "",
    ),
    ("_text", "Condition?_text=diabete EQUILIBRE", "sugar"),
    ("_text is the narrative alone", "Condition?_text=médecin", ""),
    ("_content", 'Condition?_content="médecin traitant" and not hypertension', "sugar"),
    ("_content: or", "Condition?_content=hypertension or regime", "sugar press"),
    ("_content: a comma", "Condition?_content=hypertension,regime", "sugar press"),
    ("_content: a comma in quotes", 'Condition?_content="hypertension, regime"', ""),
    (
        "_content: a comma and words that belong together",
        "Condition?_content=hypertension regime,medecin traitant",
        "sugar",
    ),
    ("_content: begins so", "Observation?_content=coupur*", "cut"),
    ("_content in _has", "Patient?_has:Condition:patient:_content=essentielle", "brian"),
    ("_list", "Patient?_list=round", "chloe"),
    ("_list of another type", "Condition?_list=List/round", "press"),
    ("_id", "Patient?_id=chloe,nobody", "chloe"),
    ("_lastUpdated", "Patient?_lastUpdated=gt2020-01-01", "chloe brian"),
    ("_tag", "Patient?_tag=urn:tags|pilot", "chloe"),
    ("_security", "Patient?_security=R", "chloe"),
    ("_profile", "Patient?_profile=http://profiles.example/StructureDefinition/one", "chloe"),
    ("_source", "Patient?_source=urn:source:hospital", "chloe"),
    ("system-level search", "?_type=Patient,Condition&_list=round", "chloe press"),
    ("compartment URL", "Patient/chloe/Observation?code=85354-9", "bp1"),
    ("compartment URL: all types", "Patient/brian/*?_type=Observation,Condition", "bp2 lb cut press"),
    ("compartment URL: itself", "Patient/chloe/Patient", "chloe"),
    ("compartment URL: Encounter", "Encounter/visit/Condition", "sugar"),
    ("compartment URL: Practitioner", "Practitioner/doc/Patient", "chloe"),
    ("compartment URL: Device", "Device/none/Observation", ""),
    ("compartment URL: RelatedPerson", "RelatedPerson/none/Observation", ""),
    ("_contained=false", "Patient?_contained=false&gender=male", "brian"),
    ("_sort", "Patient?_sort=family", "chloe brian"),
    ("_sort: descending", "Patient?_sort=-family", "brian chloe"),
    ("_sort: several keys", "Observation?code=85354-9&_sort=status,-date", "bp2 bp1"),
    ("_sort: chained", "Observation?code=29463-7&_sort=-patient.family", "lb kg"),
    ("_sort: chained by type", "Observation?code=29463-7&_sort=subject:Patient.birthdate", "kg lb"),
    ("_sort: by score, then by id", "Patient?_sort=_score,_id", "brian chloe"),
]


@pytest.mark.parametrize(("query", "ids"), [pytest.param(query, ids, id=row) for row, query, ids in FOUND])
def test_a_search_finds(world: RunningHub, query: str, ids: str) -> None:
    answer = get(world, f"{query}{'&' if '?' in query else '?'}_total=accurate")
    wanted = ids.split()
    assert sorted(found(answer)) == sorted(wanted)
    assert answer.json()["total"] == len(wanted)
    if "_sort=" in query:
        assert found(answer) == wanted


INCLUDED = [
    ("_include", "Observation?_id=kg&_include=Observation:patient", "chloe"),
    ("_include :iterate", "Observation?_id=kg&_include=Observation:patient&_include:iterate=Patient:organization", "chloe bourges"),
    ("_include :iterate goes on", "Patient?_id=chloe&_include=Patient:organization&_include:iterate=Organization:partof", "bourges tours"),
    ("_include wildcard", "Patient?_id=chloe&_include=*", "bourges doc"),
    ("_include of a type", "Patient?_id=chloe&_include=Patient:*", "bourges doc"),
    ("_include of a canonical", "QuestionnaireResponse?_id=answer&_include=QuestionnaireResponse:questionnaire", "ask"),
    ("_include of a version", "Provenance?_id=old&_include=Provenance:target", "brian"),
    ("_revinclude", "Patient?_id=brian&_revinclude=Condition:patient", "press"),
    ("_revinclude :iterate", "Organization?_id=bourges&_revinclude=Patient:organization&_revinclude:iterate=Condition:patient", "chloe sugar"),
    ("_revinclude=*", "Encounter?_id=visit&_revinclude=*", "sugar"),
    ("_revinclude of a canonical", "Questionnaire?_id=ask&_revinclude=QuestionnaireResponse:questionnaire", "answer"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "ids"), [pytest.param(query, ids, id=row) for row, query, ids in INCLUDED])
def test_a_search_brings_along(world: RunningHub, query: str, ids: str) -> None:
    answer = get(world, query)
    assert sorted(found(answer, "include")) == sorted(ids.split())
    assert answer.json()["total"] == len(found(answer)) == 1


REFUSED = [
    ("an unknown parameter", "Patient?nonsense=1", 400, "not-supported"),
    ("a modifier that the parameter does not take", "Patient?gender:exact=male", 400, "not-supported"),
    ("a date that is none", "Patient?birthdate=1950-13", 400, "value"),
    ("a filter that cannot be read", "Patient?_filter=gender is male", 400, "value"),
    ("a filter over what is not known", "Patient?_filter=nonsense eq 1", 400, "not-supported"),
    ("a filter deeper than its bound", "Patient?_filter=" + "(" * 11 + "gender eq male" + ")" * 11, 400, "too-costly"),
    ("full text without words", "Patient?_content=and", 400, "value"),
    ("full text with nothing after a comma", "Patient?_content=zoe,", 400, "value"),
    ("a list that is not kept", "Patient?_list=$current-problems", 400, "not-supported"),
    ("_contained with a chain", "Patient?_contained=true&organization.name=x", 400, "value"),
    ("_contained of another word", "Patient?_contained=maybe", 400, "value"),
    ("a value set that nobody knows", "Observation?code:in=http://x.example/none", 400, "value"),
    ("a value set whose id nobody knows", "Observation?code:in=ValueSet/none", 400, "value"),
    ("a hierarchy that is not loaded", "Observation?code:below=http://x.example/none|1", 400, "value"),
    ("a hierarchy of what has none", "Observation?patient:below=chloe", 400, "value"),
    ("missing on a composite", "Observation?code-value-quantity:missing=true", 400, "not-supported"),
    ("a type outside the compartment", "Patient/chloe/Location", 400, "invalid"),
    ("_type outside the compartment", "Patient/chloe/*?_type=Location", 400, "value"),
    ("what is no compartment", "Location/town/Patient", 404, "not-supported"),
    ("a sort by nothing", "Patient?_sort=nonsense", 400, "not-supported"),
    ("an include of nothing", "Patient?_include=Patient:nonsense", 400, "not-supported"),
    ("an include that iterates another way", "Patient?_include:loop=Patient:organization", 400, "not-supported"),
]


@pytest.mark.parametrize(
    ("query", "status", "code"), [pytest.param(query, status, code, id=claim) for claim, query, status, code in REFUSED]
)
def test_a_search_refuses(world: RunningHub, query: str, status: int, code: str) -> None:
    answer = get(world, query)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (status, code), answer.text


@pytest.mark.parametrize(
    "parameter",
    ["nonsense=1", "birthdate=1950-13", "_filter=gender is male", "_content=and", "_sort=nonsense", "_explain=maybe",
     "_list=$current-problems", "_contained=maybe", "_elements=a b", "_include=Patient:nonsense"],
)  # fmt: skip
def test_lenient_handling_names_what_it_left_out_and_self_shows_what_ran(world: RunningHub, parameter: str) -> None:
    answer = get(world, f"Patient?gender=male&{parameter}", Prefer="handling=lenient")
    assert found(answer) == ["brian"]
    name = parameter.partition("=")[0]
    issues = answer.json()["entry"][-1]["resource"]["issue"]
    assert [issue["diagnostics"] for issue in issues] == [f"The parameter {name} was ignored."]
    assert answer.json()["link"][0]["url"].endswith("/Patient?gender=male")


@pytest.mark.parametrize(
    ("total", "shown"), [("none", False), ("estimate", True), ("accurate", True)], ids=["none", "estimate", "accurate"]
)
def test__total(world: RunningHub, total: str, shown: bool) -> None:
    body = get(world, f"Observation?_total={total}&_count=2").json()
    assert ("total" in body) is shown
    assert body.get("total", 6) == 6


SUMMARIES = [
    ("false", {"name", "gender", "generalPractitioner", "identifier"}, set()),
    ("true", {"name", "gender", "identifier"}, {"generalPractitioner"}),
    ("text", {"id"}, {"name", "gender"}),
    ("data", {"name", "gender", "generalPractitioner"}, {"text"}),
]


@pytest.mark.parametrize(("form", "there", "gone"), SUMMARIES, ids=[form for form, _, _ in SUMMARIES])
def test__summary(world: RunningHub, form: str, there: set[str], gone: set[str]) -> None:
    resource = get(world, f"Patient?_id=chloe&_summary={form}").json()["entry"][0]["resource"]
    assert there <= resource.keys() and not gone & resource.keys()
    codes = {tag["code"] for tag in resource["meta"].get("tag", [])}
    assert ("SUBSETTED" in codes) is (form != "false")


def test__summary_count_has_no_entries(world: RunningHub) -> None:
    body = get(world, "Patient?_summary=count").json()
    assert (body["total"], "entry" in body) == (2, False)


def test__elements_takes_paths(world: RunningHub) -> None:
    resource = get(world, "Patient?_id=chloe&_elements=name.family,birthDate").json()["entry"][0]["resource"]
    assert resource["name"] == [{"family": "Müller-Lefèvre"}]
    assert set(resource) == {"resourceType", "id", "meta", "name", "birthDate"}


@pytest.mark.parametrize("form", [b"name=\xe9ric", b"name=%E9ric"])
def test_a_form_of_another_character_set_is_refused(world: RunningHub, form: bytes) -> None:
    answer = world.request(
        "POST", "/fhir/Patient/_search", content=form, Content_Type="application/x-www-form-urlencoded"
    )
    assert (answer.status_code, "UTF-8" in answer.text) == (400, True)


def test_post__search_joins_the_url_and_the_form(world: RunningHub) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path, content in [
        ("Observation/_search?patient=chloe", b"code=29463-7"),
        ("Patient/chloe/Observation/_search", b"code=29463-7"),
        ("Patient/chloe/_search", b"_type=Observation&code=29463-7"),
        ("_search", b"_type=Observation&code=29463-7&patient=chloe"),
    ]:
        if path == "Patient/chloe/_search" or path == "_search":
            content = content.replace(b"&code=29463-7", b"&_id=kg").replace(b"&patient=chloe", b"")
        answer = world.request(
            "POST", f"/fhir/{path}", content=content, **{k.replace("-", "_"): v for k, v in form.items()}
        )
        assert found(answer) == ["kg"], path


def test_pages_give_each_match_once_in_order_while_others_write(world: RunningHub) -> None:
    answer = get(world, "Observation?_sort=-patient.family,code&_count=2")
    seen = found(answer)
    while following := [link["url"] for link in answer.json()["link"] if link["relation"] == "next"]:
        world.create({"resourceType": "Basic", "code": {"text": "a write between two pages"}})
        answer = world.request("GET", following[0].partition(str(world.http.base_url))[2])
        seen += found(answer)
    assert len(seen) == len(set(seen)) == 6
    assert set(seen[:3]) == {"bp2", "lb", "cut"}


def test_a_page_link_serves_its_own_search_only(world: RunningHub) -> None:
    answer = get(world, "Observation?_count=2")
    following = next(link["url"] for link in answer.json()["link"] if link["relation"] == "next")
    cursor = following.partition("_cursor=")[2]
    assert get(world, f"Observation?_count=2&code=85354-9&_cursor={cursor}").status_code == 400
    assert get(world, f"Patient/chloe/Observation?_count=2&_cursor={cursor}").status_code == 400


def test_explain_plan(world: RunningHub) -> None:
    answer = get(world, "Observation?code=29463-7&_explain=true")
    assert sorted(found(answer)) == ["kg", "lb"]
    issue = answer.json()["entry"][-1]["resource"]["issue"][0]
    assert (issue["severity"], '"engine"' in issue["diagnostics"]) == ("information", True)


def test_a_plan_is_not_for_those_from_whom_something_is_hidden(world: RunningHub, stranger: str) -> None:
    answer = world.request("GET", "/fhir/Observation?code=29463-7&_explain=true", token=stranger)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "query",
    [
        "Patient/chloe/Observation",
        "Patient/chloe/*?_type=Observation",
        "Condition?_content=diabete",
        "Patient?_list=round",
        "Patient?_filter=gender pr true",
        "Observation?code:in=ValueSet/hot",
        "Practitioner?_has:Patient:general-practitioner:_content=lefevre",
        "Organization?_filter=_has:Patient:organization:family sw m",
    ],
)
def test_consent_holds_on_every_way_to_ask(world: RunningHub, stranger: str, query: str) -> None:
    """Whom no rule lets see a patient, for them there is none: not found, not counted, not told by an error."""
    answer = get(world, query, Authorization=f"Bearer {stranger}")
    assert (found(answer), answer.json()["total"]) == ([], 0)
