"""Links of a transaction: what the fast way over the text makes is what a walk over the values makes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.definitions import properties, structure_names
from fhir_server.interactions.links import LINKING, NAMING, Links, conditional_references, relinked

URN = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"
OTHER = "urn:uuid:88f151c0-a954-468a-88bd-5ae15c08e059"
CONDITION = "Patient?identifier=urn:x|1"
BY_URL = "Patient?identifier=http://x.example|1"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><a href="%s">x</a></div>'
LINKS = {URN: "Patient/1", CONDITION: "Patient/2", BY_URL: "Patient/4", "http://x.example/fhir/Patient/9": "Patient/3"}


def made(links: dict[str, str]) -> Links:
    found = Links()
    for name, target in links.items():
        found.add(name, target)
    return found


def walked(value: Any, links: dict[str, str], name: str = "") -> Any:
    """Replace plainly."""
    if isinstance(value, dict):
        return {name: walked(item, links, name) for name, item in value.items()}
    if isinstance(value, list):
        return [
            walked(item, links, "" if not isinstance(item, str) or item.startswith("urn:") else "-") for item in value
        ]
    if name and name not in LINKING and not str(value).startswith("<div"):
        return value
    if isinstance(value, str) and value.startswith("<div"):
        for name, target in links.items():
            value = value.replace(f'"{name}"', f'"{target}"')
    return links.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"subject": {"reference": URN}}, id="a reference"),
        pytest.param({"subject": {"reference": CONDITION}}, id="a condition"),
        pytest.param({"subject": {"reference": "http://x.example/fhir/Patient/9"}}, id="a full url"),
        pytest.param({"subject": {"reference": BY_URL}}, id="a condition that holds a url"),
        pytest.param({"list": [{"reference": OTHER}, {"reference": URN}, {"valueUri": URN}]}, id="some of several"),
        pytest.param({"text": {"status": "generated", "div": DIV % URN}}, id="in a narrative"),
        pytest.param({"note": [{"text": f'say "{URN}"'}]}, id="quoted in a text that is no narrative: not a link"),
        pytest.param({"note": [{"text": f"{URN} and more"}]}, id="the beginning of a text: not a link"),
        pytest.param(
            {"valueDecimal": gate.number("1.50"), "subject": {"reference": URN}}, id="decimals keep their digits"
        ),
        pytest.param({"note": [{"text": 'a \\ "b" \n é'}], "subject": {"reference": URN}}, id="beside what is escaped"),
        pytest.param({}, id="nothing"),
    ],
)
def test_links_are_replaced_wherever_they_stand(part: dict[str, Any]) -> None:
    resource = {"resourceType": "Basic", **part}
    before = gate.write(resource)
    assert gate.write(relinked(resource, made(LINKS))) == gate.write(walked(resource, LINKS))
    assert gate.write(resource) == before


USUAL = {URN: "Patient/1", CONDITION: "Patient/2"}


@pytest.mark.parametrize("links", [LINKS, USUAL], ids=["urls too", "the usual ones"])
def test_references_are_replaced_by_every_way(links: dict[str, str]) -> None:
    resource = {
        "resourceType": "Basic",
        "a": [{"reference": name} for name in LINKS],
        "valueUri": URN,
        "c": {"reference": OTHER},
    }
    assert relinked(resource, made(links)) == walked(resource, links)


@given(
    st.recursive(
        st.just({"reference": CONDITION})
        | st.sampled_from([URN, OTHER, "x", '"', "\\", "http://x.example", ""])
        | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["a", "reference", "valueUuid"]), inner, max_size=3)
        ),
    ),
    st.dictionaries(
        st.sampled_from([URN, CONDITION, 'quoted"', "http://x.example", "x", "Patient/1"]),
        st.sampled_from(["A/1", 'B/"']),
        max_size=3,
    ),
)
def test_all_ways_agree(value: Any, links: dict[str, str]) -> None:
    assert relinked({"resourceType": "Basic", "value": value}, made(links)) == walked(
        {"resourceType": "Basic", "value": value}, links
    )


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        pytest.param(CONDITION, True, id="a condition"),
        pytest.param(
            "Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|9", True, id="a condition that holds a url"
        ),
        pytest.param("http://x.example/Patient?identifier=1", False, id="a url elsewhere"),
        pytest.param("Patient/1?x=1", False, id="a query behind an id"),
        pytest.param("#p?", False, id="a fragment"),
        pytest.param("Patient/1", False, id="a plain reference"),
    ],
)
def test_conditional_references_are_found(reference: str, found: bool) -> None:
    resource = {"resourceType": "Basic", "extension": [{"valueReference": {"display": "?", "reference": reference}}]}
    assert conditional_references(resource) == ({reference} if found else set())


def test_links_are_replaced_in_the_types_that_r4_names_for_it() -> None:
    uris = {"uri", "url", "oid", "uuid"}
    found = {key for name in structure_names() for key, (_, type) in properties(name).items() if type in uris}
    assert found | {"reference"} == LINKING | NAMING and not LINKING & NAMING


CANONICAL = "http://x.example/fhir/StructureDefinition/s"


@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"identifier": [{"system": "urn:ietf:rfc:3986", "value": URN}]}, id="the value of an identifier"),
        pytest.param({"extension": [{"url": "urn:x", "valueString": URN}]}, id="a string"),
        pytest.param({"instantiatesCanonical": [CANONICAL], "meta": {"profile": [CANONICAL]}}, id="canonicals"),
        pytest.param({"url": CANONICAL}, id="the canonical url of the resource itself"),
        pytest.param({"extension": [{"url": CANONICAL, "valueCode": "x"}]}, id="what an extension is"),
        pytest.param({"extension": [{"url": CANONICAL, "extension": [{"url": "x"}]}]}, id="a nested extension"),
        pytest.param({"coding": [{"system": CANONICAL, "code": "x"}]}, id="a code system"),
    ],
)
def test_what_names_a_thing_is_no_link(part: dict[str, Any]) -> None:
    links = made({URN: "Patient/1", CANONICAL: "StructureDefinition/s"})
    resource = {"resourceType": "Basic", "subject": {"reference": URN}, **part}
    assert relinked(resource, links) == {**resource, "subject": {"reference": "Patient/1"}}


def test_an_attachment_leads_where_its_url_does() -> None:
    attachment = {"contentType": "text/plain", "url": URN, "extension": [{"url": "x", "valueCode": "y"}]}
    assert relinked({"content": attachment}, made({URN: "Binary/1"}))["content"]["url"] == "Binary/1"


@pytest.mark.parametrize(
    ("own", "target"),
    [
        pytest.param("http://x.example/fhir/Observation/1", "Patient/new", id="below the same base"),
        pytest.param("https://y.example/Observation/1", "Patient/9", id="below another base"),
        pytest.param(URN, "Patient/9", id="below none"),
        pytest.param("", "Patient/9", id="without a fullUrl"),
    ],
)
def test_a_relative_reference_is_to_the_base_of_its_own_entry(own: str, target: str) -> None:
    links = made({"http://x.example/fhir/Patient/9": "Patient/new", "https://z.example/Patient/9": "Patient/other"})
    assert relinked({"subject": {"reference": "Patient/9"}}, links.of(own)) == {"subject": {"reference": target}}
