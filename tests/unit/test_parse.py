"""Query strings become queries: names, modifiers, chains, bounds. Over R4's own parameters."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import parse_qsl

import pytest

from fhir_server.errors import BadParameter, BadRequest, FhirError, NotSupported, TooCostly, UnknownParameter
from fhir_server.search.parse import parse
from fhir_server.search.query import Chain, Has, Match, Query
from fhir_server.search.values import Composite, Position, Quantity, Reference, Text, Token, Uri, Value
from tests.contract.small import SmallRegistry

NOW = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z
BASE = "http://hub.example/fhir"


def read(url: str, *, lenient: bool = False) -> Query:
    types, _, query = url.partition("?")
    pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    return parse(
        tuple(types.split(",")) if types else (), pairs, zone="Europe/Paris", now=NOW, base_url=BASE, lenient=lenient
    )


def only(url: str) -> Match:
    (clause,) = read(url).where
    assert isinstance(clause, Match)
    return clause


def values(url: str) -> list[Value]:
    return [ask.value for ask in only(url).asks]


UCUM = "http://unitsofmeasure.org"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("Patient?gender=male", [Token(None, "male")], id="token: a code"),
        pytest.param("Patient?identifier=urn:a|1", [Token("urn:a", "1")], id="token: system and code"),
        pytest.param("Patient?identifier=|1", [Token("", "1")], id="token: no system"),
        pytest.param("Patient?identifier=urn:a|", [Token("urn:a", None)], id="token: any code"),
        pytest.param(r"Patient?identifier=urn:a|1\|2", [Token("urn:a", "1|2")], id="token: an escaped bar in a code"),
        pytest.param(r"Patient?identifier=a\|1", [Token(None, "a|1")], id="token: an escaped bar"),
        pytest.param(
            r"Patient?identifier=a\,b,c\\\,d",
            [Token(None, "a,b"), Token(None, "c\\,d")],
            id="escaped commas and backslash",
        ),
        pytest.param(
            "Patient?identifier:of-type=s|c|v", [Token(None, "v", kind=("s", "c"))], id="of-type: three parts"
        ),
        pytest.param("Patient?name:text=ohn", [Text("ohn")], id="text of a string looks inside"),
        pytest.param("Condition?code:text=head ache", [Text("head ache")], id="text of a token is a string"),
        pytest.param(r"Patient?name=O\,Hara,Zoé", [Text("O,Hara"), Text("Zoé")], id="string"),
        pytest.param(r"Patient?name=a\b|c$d", [Text(r"a\b|c$d")], id="string: bars, dollars, lone backslashes stay"),
        pytest.param("ValueSet?url=urn:oid:1.2", [Uri("urn:oid:1.2")], id="uri"),
        pytest.param(
            "Observation?patient=1", [Reference("Patient", "1")], id="reference: an id where one type is possible"
        ),
        pytest.param("Observation?subject=1", [Reference("", "1")], id="reference: an id where several are"),
        pytest.param("Observation?subject=Device/1", [Reference("Device", "1")], id="reference: type and id"),
        pytest.param("Observation?subject:Device=1", [Reference("Device", "1")], id="reference: type as modifier"),
        pytest.param("Observation?subject:Device=Device/1", [Reference("Device", "1")], id="reference: type twice"),
        pytest.param(
            f"Observation?subject={BASE}/Device/1", [Reference("Device", "1")], id="reference: absolute, here"
        ),
        pytest.param(
            "Observation?subject=http://x.example/fhir/Device/1",
            [Reference("", "", "http://x.example/fhir/Device/1")],
            id="reference: absolute, elsewhere",
        ),
        pytest.param(
            "Observation?subject=Patient/1/_history/2",
            [Reference("Patient", "1", version="2")],
            id="reference: version",
        ),
        pytest.param("Observation?subject=urn:uuid:6", [Reference("", "", "urn:uuid:6")], id="reference: a urn"),
        pytest.param(
            "PlanDefinition?definition=http://x.example/A|2",
            [Reference("", "", "http://x.example/A", "2")],
            id="reference: a canonical with its version",
        ),
        pytest.param("Observation?subject:identifier=s|v", [Token("s", "v")], id="reference: by identifier"),
        pytest.param("Location?near=48.85|2.35|5|km", [Position(48.85, 2.35)], id="near"),
    ],
)
def test_values(url: str, expected: list[Value]) -> None:
    assert values(url) == expected


@pytest.mark.parametrize(
    ("text", "lo", "hi", "exact"),
    [
        pytest.param("100", "99.5", "100.5", "100", id="whole"),
        pytest.param("100.00", "99.995", "100.005", "100.00", id="two decimals"),
        pytest.param("5.40", "5.395", "5.405", "5.40", id="a trailing zero counts"),
        pytest.param("5.4", "5.35", "5.45", "5.4", id="without it"),
        pytest.param("1e2", "95", "105", "100", id="R4's own example of an exponent"),
        pytest.param("1.00e2", "99.5", "100.5", "100", id="three digits, as 100"),
        pytest.param("5.40e-3", "0.005395", "0.005405", "0.00540", id="a small one"),
        pytest.param("-2", "-2.5", "-1.5", "-2", id="negative"),
        pytest.param("+2", "1.5", "2.5", "2", id="with a plus"),
        pytest.param("0", "-0.5", "0.5", "0", id="zero"),
        pytest.param("ap200", "180", "220", "200", id="ap: a tenth"),
        pytest.param("ap-200", "-220", "-180", "-200", id="ap: of a negative one"),
        pytest.param("ap1", "0.5", "1.5", "1", id="ap: never less than the precision"),
        pytest.param(
            "1234567890123456789012345678901234567890",
            "1234567890123456789012345678901234567889.5",
            "1234567890123456789012345678901234567890.5",
            "1234567890123456789012345678901234567890",
            id="more digits than Python's default context keeps",
        ),
    ],
)
def test_implicit_precision(text: str, lo: str, hi: str, exact: str) -> None:
    (ask,) = only(f"RiskAssessment?probability={text}").asks
    assert (ask.value, ask.exact) == ((Decimal(lo), Decimal(hi)), Decimal(exact))


@pytest.mark.parametrize("prefix", ["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"])
def test_prefixes(prefix: str) -> None:
    for url in (
        f"Patient?birthdate={prefix}2020",
        f"Observation?value-quantity={prefix}5||mg",
        f"RiskAssessment?probability={prefix}5",
    ):
        assert [ask.prefix for ask in only(url).asks] == [prefix]


@pytest.mark.parametrize(
    ("text", "system", "code", "unit"),
    [
        pytest.param("5.4", "", "", "", id="any unit"),
        pytest.param(f"5.4|{UCUM}|mg", UCUM, "mg", "", id="system and code"),
        pytest.param("5.4||mg", "", "", "mg", id="code or human unit"),
    ],
)
def test_quantities(text: str, system: str, code: str, unit: str) -> None:
    (value,) = values(f"Observation?value-quantity={text}")
    assert value == Quantity(Decimal("5.35"), Decimal("5.45"), system, code, unit)


def test_a_bare_date_is_in_the_zone_and_a_zoned_one_is_not() -> None:
    midnight = 1_704_063_600_000_000  # 2023-12-31T23:00Z, 2024-01-01T00:00 in Paris
    assert values("Patient?birthdate=2024-01-01") == [(midnight, midnight + 86_400_000_000)]
    assert values("Patient?_lastUpdated=2024-01-01T00:00:00Z") == [(midnight + 3_600_000_000, midnight + 3_601_000_000)]
    assert values("Patient?_lastUpdated=2024-01-01T00:00+01:00") == [(midnight, midnight + 60_000_000)]


def test_a_plus_that_was_not_escaped_is_taken_for_one() -> None:
    query = parse(("Patient",), [("_lastUpdated", "2024-01-01T00:00 01:00")], zone="UTC", now=NOW)
    assert query.where == parse(("Patient",), [("_lastUpdated", "2024-01-01T00:00+01:00")], zone="UTC", now=NOW).where


def test_ap_on_dates_reaches_a_tenth_of_the_gap_to_now() -> None:
    day = 86_400_000_000
    now = 1_704_063_600_000_000 + 101 * day  # a hundred days after the end of 2024-01-01
    query = parse(("Patient",), [("birthdate", "ap2024-01-01")], zone="Europe/Paris", now=now)
    (clause,) = query.where
    assert isinstance(clause, Match)
    start = 1_704_063_600_000_000
    assert clause.asks[0].value == (start - 10 * day, start + 11 * day)


def test_a_composite_asks_each_component() -> None:
    (ask,) = only("Observation?code-value-quantity=http://loinc.org|8480-6$gt140||mm[Hg]").asks
    assert isinstance(ask.value, Composite)
    assert [part.prefix for part in ask.parts] == ["eq", "gt"]
    assert ask.parts[0].value == Token("http://loinc.org", "8480-6")
    assert ask.parts[1].exact == Decimal(140)


def test_missing_takes_no_value() -> None:
    clause = only("Patient?birthdate:missing=true")
    assert (clause.asks, clause.modifier, clause.missing) == ((), "missing", True)
    assert only("Patient?birthdate:missing=false").missing is False


def test_a_chain_goes_to_each_type_that_knows_the_parameter() -> None:
    (clause,) = read("Observation?subject.name=x").where
    assert isinstance(clause, Chain)
    assert set(clause.targets) == {"Patient", "Location"}
    assert [then.parameter.base for then in clause.then if isinstance(then, Match)] == list(clause.targets)


def test_a_chain_over_a_reference_to_any_type_must_name_one() -> None:
    pairs = [("target.name", "x")]
    with pytest.raises(BadParameter):
        parse(("Provenance",), pairs, registry=SmallRegistry(), zone="UTC", now=NOW)
    pairs = [("target:Patient.name", "x")]
    (clause,) = parse(("Provenance",), pairs, registry=SmallRegistry(), zone="UTC", now=NOW).where
    assert isinstance(clause, Chain) and clause.targets == ("Patient",)


def test_a_chain_may_go_through_has_and_has_through_a_chain() -> None:
    (clause,) = read("Observation?patient._has:Encounter:patient:service-provider.name:exact=x").where
    assert isinstance(clause, Chain) and isinstance(has := clause.then[0], Has)
    assert isinstance(chain := has.then, Chain) and chain.targets == ("Organization",)
    assert isinstance(then := chain.then[0], Match) and then.modifier == "exact"


def test_several_types_share_what_both_have() -> None:
    (clause,) = read("Encounter,Observation?patient=1").where
    assert isinstance(clause, Match) and clause.asks[0].value == Reference("Patient", "1")
    assert read("?_type=Patient,Observation&_lastUpdated=gt2020").types == ("Patient", "Observation")
    assert read("?_lastUpdated=gt2020&_type=Patient").types == ("Patient",)
    assert len(read("?_id=1").types) == 146


KNOWN_AND_NOT = [
    ("Patient?nonsense=1", UnknownParameter, "a name that is nowhere"),
    ("Patient?code=1", UnknownParameter, "a name of another type"),
    ("Patient?Name=1", UnknownParameter, "names are case sensitive"),
    ("Patient?=1", UnknownParameter, "an empty name"),
    ("Patient?_query=a", UnknownParameter, "one that nothing here evaluates"),
    ("Patient?_text:exact=a", UnknownParameter, "a modifier on full text"),
    ("Patient?_text=(a", BadParameter, "full text with half a parenthesis"),
    ("Patient?_content=and", BadParameter, "full text without a word"),
    ("Patient?_list=$current-problems", UnknownParameter, "a list that is not kept"),
    ("Patient?_list=a b", BadParameter, "a List that no id names"),
    ("Patient?identifier=a|b|c", BadParameter, "a token with a third part"),
    ("Location?near=48|2|1|mi", BadParameter, "a distance in what UCUM does not have"),
    ("Location?near=48|2|1|kg", BadParameter, "a distance in kilograms"),
    ("Patient?_containedType=both", BadParameter, "what is neither container nor contained"),
    ("Patient?_contained=maybe", BadParameter, "no such containment"),
    ("Patient?_explain=maybe", BadParameter, "half a plan"),
    ("Patient?_type=Patient", UnknownParameter, "_type where the type is given"),
    ("Patient,Observation?birthdate=2020", UnknownParameter, "one that not all types have"),
    ("Patient?name:nonsense=1", UnknownParameter, "a modifier that is nowhere"),
    ("Patient?name:not=1", UnknownParameter, "a modifier of another type of parameter"),
    ("Patient?name:=1", UnknownParameter, "an empty modifier"),
    ("Patient?name:exact:exact=1", UnknownParameter, "two modifiers"),
    ("Condition?code:in=x", BadParameter, "a value set that no url names"),
    ("Condition?code:not-in=ValueSet/", BadParameter, "a value set without its id"),
    ("Condition?code:below=1", BadParameter, "a hierarchy of no system"),
    ("Condition?code:above=http://x|", BadParameter, "a hierarchy above no code"),
    ("Condition?_sort=subject.nonsense", BadParameter, "a sort over what no target has"),
    ("Condition?_sort=code.family", UnknownParameter, "a sort over no reference"),
    ("Condition?_sort=subject:Device.family", UnknownParameter, "a sort over what cannot be"),
    ("Condition?_sort=subject.identifier", BadParameter, "a sort over several types"),
    ("Condition?_sort=" + "a." * 11 + "b", TooCostly, "a sort over eleven references"),
    ("Patient/1/Nonsense?_id=1", NotSupported, "a compartment of no such type"),
    ("Patient/1/Location?_id=1", BadRequest, "a type that is in no such compartment"),
    ("Location/1/Patient?_id=1", NotSupported, "no such compartment"),
    ("Patient/1/*?_type=Location", BadParameter, "_type outside the compartment"),
    ("Patient?birthdate:exact=2020", UnknownParameter, "exact on a date"),
    ("Observation?subject:Practitioner=1", UnknownParameter, "a type that the reference cannot point to"),
    ("Observation?code-value-quantity:missing=true", UnknownParameter, "missing on a composite"),
    ("Patient?_count:exact=1", UnknownParameter, "a modifier on a result parameter"),
    ("Observation?_include:nonsense=Observation:patient", UnknownParameter, "a modifier on _include"),
    ("Observation?subject:Practitioner.name=x", UnknownParameter, "a chain to a type that cannot be"),
    ("Observation?patient.nonsense=x", UnknownParameter, "a chain to a name that is nowhere"),
    ("Observation?subject.nonsense=x", UnknownParameter, "a chain to a name that no target has"),
    ("Observation?code.name=x", UnknownParameter, "a chain over no reference"),
    ("Patient?_has:Observation=x", UnknownParameter, "_has without its parts"),
    ("Patient?_has:Nonsense:patient:code=x", UnknownParameter, "_has from no type"),
    ("Patient?_has:Observation:code:code=x", UnknownParameter, "_has by no reference"),
    ("Patient?_has:Encounter:service-provider:class=x", UnknownParameter, "_has by a reference elsewhere"),
    ("Patient?_has:Observation:patient:nonsense=x", UnknownParameter, "_has with a name that is nowhere"),
    ("Patient?_sort=nonsense", UnknownParameter, "a sort by nothing"),
    ("Observation?_sort=code-value-quantity", UnknownParameter, "a sort by a composite"),
    ("Observation?_include=Observation:nonsense", UnknownParameter, "an include by nothing"),
    ("Observation?_include=Observation:code", UnknownParameter, "an include by no reference"),
    ("Patient?name=", BadParameter, "an empty value"),
    ("Patient?name= ", BadParameter, "blanks are the start of every name"),
    ("Patient?name:contains=Zoé, ", BadParameter, "blanks are in every name"),
    ("Condition?code:text= ", BadParameter, "blanks are the start of every text"),
    ("Observation?code-value-string=a$ ", BadParameter, "blanks in a composite"),
    ('Patient?_filter=name co " "', BadParameter, "blanks in a filter"),
    ("Procedure?code:below=A", BadParameter, "a hierarchy of codes without a system"),
    ("Patient?name=a,,b", BadParameter, "an empty alternative"),
    ("Patient?gender=|", BadParameter, "a bar alone"),
    ("Patient?birthdate=ge2020-99", BadParameter, "no such month"),
    ("Patient?birthdate=2023-02-29", BadParameter, "no such day"),
    ("Patient?birthdate=xx2020", BadParameter, "no such prefix"),
    ("Patient?birthdate=2020-01-01T10", BadParameter, "an hour without minutes"),
    ("Patient?birthdate:missing=1", BadParameter, "missing is true or false"),
    ("RiskAssessment?probability=abc", BadParameter, "no number"),
    ("RiskAssessment?probability=NaN", BadParameter, "NaN"),
    ("RiskAssessment?probability=1e99999", BadParameter, "an exponent beyond its bound"),
    ("RiskAssessment?probability=1_000", BadParameter, "Python's own way to write numbers"),
    ("RiskAssessment?probability=١", BadParameter, "digits of another script"),
    ("RiskAssessment?probability=" + "1" * 61, BadParameter, "too many digits"),
    ("Observation?value-quantity=5|mg", BadParameter, "a quantity of two parts"),
    ("Observation?value-quantity=5|http://x|", BadParameter, "a system without a code"),
    ("Observation?code-value-quantity=a", BadParameter, "a composite of one part"),
    ("Observation?code-value-quantity=a$1$2", BadParameter, "a composite of three parts"),
    ("Observation?code-value-quantity=a$b", BadParameter, "a composite whose part is no number"),
    ("Observation?subject=Nonsense/1", BadParameter, "a reference to no type"),
    ("Observation?subject=a b", BadParameter, "a reference that is none"),
    ("Observation?subject:Patient=Device/1", BadParameter, "a reference against its modifier"),
    ("Observation?subject:Patient=http://x/Patient/1", BadParameter, "a type for a reference elsewhere"),
    ("Patient?identifier:of-type=a|b", BadParameter, "of-type needs three parts"),
    ("Patient?identifier:of-type=a||b", BadParameter, "of-type needs all three"),
    ("ValueSet?url:below=urn:oid:1.2", BadParameter, "below is for URLs"),
    ("Location?near=91|0", BadParameter, "no such latitude"),
    ("Location?near=NaN|NaN|1e9|km", BadParameter, "no place"),
    ("Location?near=1|2|3|feet", BadParameter, "no such unit"),
    ("Location?near=1", BadParameter, "half a place"),
    ("Patient?_count=-1", BadParameter, "a negative count"),
    ("Patient?_count=abc", BadParameter, "no count"),
    ("Patient?_count=1.5", BadParameter, "half a count"),
    ("Patient?_count=1&_count=2", BadParameter, "two counts"),
    ("Patient?_total=maybe", BadParameter, "no such total"),
    ("Patient?_summary=maybe", BadParameter, "no such summary"),
    ("Patient?_elements=", BadParameter, "no elements"),
    ("Patient?_elements=a.b;c", BadParameter, "no names of elements"),
    ("Patient?_elements=name,nonsense", BadParameter, "an element that the type does not have"),
    ("Patient?_elements=name.nonsense", BadParameter, "an element that is not below another"),
    ("Patient?_elements=birthDate.x", BadParameter, "an element below one that has none"),
    ("Patient?_elements=Observation.status", BadParameter, "an element of a type that is not searched"),
    ("?_elements=nonsense", BadParameter, "an element that no type has"),
    ("Patient?_summary=text&_include=Patient:organization", BadParameter, "includes beside texts"),
    ("Patient?_revinclude=Observation:patient&_summary=text", BadParameter, "reverse includes beside texts"),
    ("Patient?_pretty=maybe", BadParameter, "neither pretty nor not"),
    ("Observation?_include=Observation", BadParameter, "an include without parameter"),
    ("Observation?_include=Nonsense:patient", BadParameter, "an include from no type"),
    ("Observation?_include=Observation:patient:Device", BadParameter, "an include to what it cannot point to"),
    ("?_type=Nonsense", BadParameter, "_type with no type"),
    ("Patient?name=" + "a," * 1000 + "a", TooCostly, "1,001 alternatives"),
    ("Patient?name=" + "a" * 2001, TooCostly, "a long alternative"),
    ("Patient?name=" + "&name=".join("a" * 101), TooCostly, "101 parameters"),
    ("Patient?organization." + "partof." * 10 + "name=a", TooCostly, "a chain over eleven references"),
    (
        "Patient?_has:Observation:patient:_has:Provenance:target:" + "_has:List:item:" * 5 + "code=1",
        TooCostly,
        "seven _has inside each other",
    ),
    ("Patient?_sort=" + ",".join(["name"] * 6), TooCostly, "six keys"),
    ("Patient?" + "a" * 301 + "=1", TooCostly, "a long name"),
    (
        "Provenance?_id=1&" + "&".join(["entity.agent.patient.general-practitioner.name=1"] * 50),
        FhirError,
        "chains that fan out",
    ),
]


@pytest.mark.parametrize(("url", "error"), [pytest.param(url, error, id=claim) for url, error, claim in KNOWN_AND_NOT])
def test_refused(url: str, error: type[FhirError]) -> None:
    with pytest.raises(error) as raised:
        read(url)
    assert raised.value.status in (400, 404) and len(raised.value.text) < 200


@pytest.mark.parametrize(
    "url",
    [
        "Patient?_sort=secretvalue",
        "Patient?_type=secretvalue",
        "Patient?_summary=secretvalue",
        "Observation?_include=secretvalue:secretvalue",
        "Observation?_include=Observation:secretvalue",
        "Patient?birthdate=secretvalue",
        "RiskAssessment?probability=secretvalue",
        "Observation?value-quantity=1|secretvalue",
        "Observation?subject=secretvalue/secretvalue",
        "Observation?code-value-quantity=secretvalue",
        "Patient?identifier:of-type=secretvalue",
        "Patient?name:missing=secretvalue",
        "Patient?_count=secretvalue",
        "Patient?_elements=secret value",
        "Location?near=secretvalue",
    ],
)
def test_an_error_names_the_parameter_and_never_shows_the_value(url: str) -> None:
    with pytest.raises((BadParameter, UnknownParameter)) as raised:
        read(url)
    assert url.partition("?")[2].partition("=")[0] in raised.value.text
    assert "secret" not in raised.value.text


def test_a_name_in_an_error_is_short_and_of_one_line() -> None:
    with pytest.raises(UnknownParameter) as raised:
        read("Patient?nonsense%0d%0aSet-Cookie:x" + "y" * 200 + "=1")
    assert "\n" not in raised.value.text and "\r" not in raised.value.text and len(raised.value.text) < 130


def test_lenient_handling_leaves_out_and_names_what_it_left_out() -> None:
    query = read("Patient?nonsense=1&name=a&birthdate=x&_count=abc&nonsense=2&_sort=none", lenient=True)
    assert query.ignored == ("nonsense", "birthdate", "_count", "_sort")
    assert query.text == (("name", "a"),) and len(query.where) == 1 and query.count == 20 and query.sort == ()


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("Patient?name:nonsense=1", id="an unknown modifier: R4 says SHALL reject"),
        pytest.param("Patient?name=" + "a" * 2001, id="what costs too much"),
    ],
)
def test_lenient_handling_still_refuses(url: str) -> None:
    with pytest.raises(FhirError):
        read(url, lenient=True)


def test_result_parameters() -> None:
    query = read("Patient?_sort=-birthdate,name&_count=7&_total=none&_summary=text&_elements=name,birthDate")
    assert [(sort.parameter.code, sort.descending) for sort in query.sort] == [("birthdate", True), ("name", False)]
    assert (query.count, query.total, query.summary, query.elements) == (7, "none", "text", ("name", "birthDate"))


def test_the_defaults() -> None:
    query = read("Patient")
    assert (query.count, query.total, query.summary, query.sort, query.where) == (20, "accurate", "false", (), ())


def test_a_large_count_is_cut_and_the_self_link_says_so() -> None:
    query = read("Patient?_count=1000000000")
    assert query.count == 1000 and query.text == (("_count", "1000"),)


def test_a_count_of_zero_is_the_count_alone() -> None:
    query = read("Patient?_count=0")
    assert (query.count, query.summary) == (0, "count")


def test_includes() -> None:
    includes = read(
        "Observation?_include=Observation:patient&_include:iterate=Patient:organization&_include=Observation:subject:Device"
        "&_include=*&_include=Observation:*&_revinclude=Provenance:target"
    ).includes
    told = [(i.source, i.parameter and i.parameter.code, i.target, i.iterate, i.reverse) for i in includes]
    assert told == [
        ("Observation", "patient", "", False, False),
        ("Patient", "organization", "", True, False),
        ("Observation", "subject", "Device", False, False),
        ("*", None, "", False, False),
        ("Observation", None, "", False, False),
        ("Provenance", "target", "", False, True),
    ]


def test_every_reverse_include_names_each_type_that_may_refer_here() -> None:
    includes = read("Organization?_revinclude=*").includes
    sources = {include.source for include in includes}
    assert {"Patient", "Encounter", "Provenance"} <= sources and "CodeSystem" not in sources
    assert all(include.reverse and include.parameter is None for include in includes)


def test_what_http_answers_is_passed_over() -> None:
    query = read("Patient?_format=json&_pretty=true&name=a")
    assert query.text == (("name", "a"),) and query.ignored == ()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "Patient?_elements=name.family,Patient.gender,id,meta.tag,resourceType", id="paths and root elements"
        ),
        pytest.param(
            "Observation?_elements=value,valueQuantity.unit,value.unit", id="a choice with and without its type"
        ),
        pytest.param("?_type=Bundle,Patient&_elements=entry.resource,contained", id="resources inside"),
        pytest.param("Observation?_elements=code,name&_include=Observation:subject", id="elements of what is included"),
        pytest.param("?_type=Patient,Observation&_elements=name,code", id="elements of one of several types"),
    ],
)
def test_elements_that_are_there_are_taken(text: str) -> None:
    assert read(text).elements


def test_what_contradicts_is_left_out_and_named_where_handling_is_lenient() -> None:
    query = read("Patient?_summary=text&_include=Patient:organization&_elements=name,nonsense&name=a", lenient=True)
    assert (query.includes, query.elements, query.summary) == ((), (), "text")
    assert query.ignored == ("_include", "_elements")
    assert query.text == (("_summary", "text"), ("name", "a"))


@pytest.mark.parametrize(
    "system", ["http://terminology.hl7.org/CodeSystem/special-values", "http://hl7.org/fhir/special-values"]
)
def test_a_boolean_has_the_system_that_r4_says(system: str) -> None:
    assert read(f"Patient?active={system}|true").where == read("Patient?active=|true").where
