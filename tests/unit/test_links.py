"""Links of a transaction: what the fast way over the text makes is what a walk over the values makes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.interactions.links import Links, conditional_references, relinked

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


def walked(value: Any, links: dict[str, str]) -> Any:
    """Replace plainly."""
    if isinstance(value, dict):
        return {name: walked(item, links) for name, item in value.items()}
    if isinstance(value, list):
        return [walked(item, links) for item in value]
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
        "b": URN,
        "c": {"reference": OTHER},
    }
    assert relinked(resource, made(links)) == walked(resource, links)


@given(
    st.recursive(
        st.just({"reference": CONDITION})
        | st.sampled_from([URN, OTHER, "x", '"', "\\", "http://x.example", ""])
        | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
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
