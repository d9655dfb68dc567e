"""XML Patch (RFC 5261) on resources."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server import gate
from fhir_server.errors import BadRequest, FhirError, Malformed, TooCostly, Unprocessable
from fhir_server.patch import read

DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><!-- kept --><p title="a">Text</p><p></p></div>'
BEFORE: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "meta": {"versionId": "3"},
    "text": {"status": "generated", "div": DIV},
    "identifier": [{"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "2"}],
    "name": [{"family": "Exemple", "given": ["Anne", "Zoé"]}],
    "gender": "female",
}
FHIR = 'xmlns:f="http://hl7.org/fhir"'


def patched(operations: str, namespaces: str = FHIR) -> dict[str, Any]:
    body = f"<diff {namespaces}>{operations}</diff>".encode()
    return read("application/xml-patch+xml", body)(gate.parse(gate.write(BEFORE)))


@pytest.mark.parametrize(
    ("operations", "change"),
    [
        pytest.param(
            '<replace sel="f:Patient/f:gender/@value">male</replace>', {"gender": "male"}, id="a value is replaced"
        ),
        pytest.param(
            '<replace sel="/f:Patient/f:gender"><f:gender value="other"/></replace>',
            {"gender": "other"},
            id="an element is replaced",
        ),
        pytest.param('<remove sel="f:Patient/f:gender"/>', {"gender": None}, id="an element is removed"),
        pytest.param(
            '<add sel="f:Patient"><f:birthDate value="1980-01-01"/></add>',
            {"birthDate": "1980-01-01"},
            id="an element is added at the end",
        ),
        pytest.param(
            '<add sel="f:Patient/f:name" pos="before">\n  <f:active value="true"/>\n</add>',
            {"active": True},
            id="an element is added before another, blanks around it aside",
        ),
        pytest.param(
            '<add sel="f:Patient/f:name/f:given[1]" pos="after"><f:given value="Lou"/></add>',
            {"name": [{"family": "Exemple", "given": ["Anne", "Lou", "Zoé"]}]},
            id="one of several, by its place",
        ),
        pytest.param(
            '<add sel="f:Patient/f:name" pos="prepend"><f:use value="official"/></add>',
            {"name": [{"use": "official", "family": "Exemple", "given": ["Anne", "Zoé"]}]},
            id="an element is added as the first",
        ),
        pytest.param(
            "<remove sel=\"f:Patient/f:identifier[f:system/@value='urn:a']\"/>",
            {"identifier": [{"system": "urn:b", "value": "2"}]},
            id="one of several, by a value below it",
        ),
        pytest.param(
            "<replace sel=\"f:Patient/f:name/f:given[@value='Zoé']/@value\">Chloé</replace>",
            {"name": [{"family": "Exemple", "given": ["Anne", "Chloé"]}]},
            id="one of several, by its value",
        ),
        pytest.param(
            '<add sel="f:Patient/f:gender" type="@id">g</add>', {"_gender": {"id": "g"}}, id="an attribute is added"
        ),
        pytest.param(
            '<replace sel="f:Patient/f:gender/@value">x</replace><remove sel="f:Patient/f:name"/>',
            {"gender": "x", "name": None},
            id="operations follow each other",
        ),
    ],
)
def test_a_patch_changes(operations: str, change: dict[str, Any]) -> None:
    expected = {**BEFORE, **change}
    assert patched(operations) == {key: value for key, value in expected.items() if value is not None}


def test_a_name_without_a_prefix_is_in_the_default_namespace() -> None:
    made = patched('<replace sel="Patient/gender/@value">male</replace>', 'xmlns="http://hl7.org/fhir"')
    assert made["gender"] == "male"


def test_the_narrative_is_changed_by_its_own_namespace() -> None:
    namespaces = f'{FHIR} xmlns:h="http://www.w3.org/1999/xhtml"'
    made = patched('<replace sel="f:Patient/f:text/h:div/h:p[1]/text()">New</replace>', namespaces)
    assert '<p title="a">New</p>' in made["text"]["div"]


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        pytest.param('<replace sel="f:Patient/f:active/@value">true</replace>', Unprocessable, id="nothing there"),
        pytest.param('<remove sel="f:Patient/f:identifier"/>', Unprocessable, id="more than one"),
        pytest.param('<add sel="f:Patient"><f:active value="true"/></add>', Unprocessable, id="out of R4's order"),
        pytest.param('<add sel="f:Patient"><f:nonsense value="true"/></add>', Unprocessable, id="no element of R4"),
        pytest.param('<remove sel="f:Patient"/>', Unprocessable, id="nothing left"),
        pytest.param('<replace sel="f:Patient/f:id/@value">q</replace>', Unprocessable, id="another id"),
        pytest.param('<remove sel="f:Patient/f:gender/@value"/>', Unprocessable, id="an element without a value"),
        pytest.param('<add sel="f:Patient/f:gender" type="@value">x</add>', Unprocessable, id="an attribute twice"),
        pytest.param('<replace sel="f:Patient/f:gender"/>', Unprocessable, id="an element replaced by none"),
        pytest.param('<add sel="f:Patient/f:gender/@value">x</add>', BadRequest, id="an addition to an attribute"),
        pytest.param('<move sel="f:Patient/f:gender"/>', BadRequest, id="no such operation"),
        pytest.param('<remove sel="g:Patient"/>', BadRequest, id="a prefix that nobody declared"),
        pytest.param('<remove sel="//f:gender"/>', BadRequest, id="a path that RFC 5261 does not have"),
        pytest.param('<remove sel="f:Patient/f:name[last()]"/>', BadRequest, id="a predicate that it does not have"),
        pytest.param("<remove/>", BadRequest, id="no path"),
        pytest.param('<add sel="f:Patient" pos="inside"/>', BadRequest, id="no such place"),
        pytest.param('<add sel="f:Patient" type="namespace::x">y</add>', BadRequest, id="a namespace is added"),
        pytest.param('<remove sel="f:Patient/f:gender"/>' * 1_001, TooCostly, id="too many operations"),
        pytest.param("<a>" * 80 + "</a>" * 80, TooCostly, id="too deep"),
        pytest.param("<remove", Malformed, id="no XML"),
    ],
)
def test_a_patch_is_refused(operations: str, error: type[FhirError]) -> None:
    with pytest.raises(error):
        patched(operations)


def test_a_long_text_of_a_narrative_is_one_text() -> None:
    long = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{"a &amp; b" * 3_000}</p></div>'
    before = {**BEFORE, "text": {"status": "generated", "div": long}}
    sel = "f:Patient/f:text/h:div/h:p/text()"
    body = f'<diff {FHIR} xmlns:h="http://www.w3.org/1999/xhtml"><replace sel="{sel}">New</replace></diff>'
    made = read("application/xml-patch+xml", body.encode())(before)
    assert made["text"]["div"] == '<div xmlns="http://www.w3.org/1999/xhtml"><p>New</p></div>'


def test_what_no_operation_touches_stays_as_it_is_written_also_inside() -> None:
    other = '<div xmlns="http://www.w3.org/1999/xhtml"><br></br><!-- also kept -->&#233;</div>'
    inside = {"resourceType": "Patient", "id": "c", "text": {"status": "generated", "div": other}}
    number = {"code": "a", "value": gate.number("1.500")}
    extension = [{"valueQuantity": number, "url": "urn:x"}]
    before = {**BEFORE, "contained": [inside], "extension": extension}
    body = f'<diff {FHIR}><replace sel="f:Patient/f:gender/@value">male</replace></diff>'.encode()
    made = read("application/xml-patch+xml", body)(before)
    assert gate.parse(gate.write(made)) == {**gate.parse(gate.write(before)), "gender": "male"}
    assert str(made["extension"][0]["valueQuantity"]["value"]) == "1.500"


PREFIXES = [f"xmlns:p{n}='u'" for n in range(17)]
EQUAL, SAID = "[f:value/@value='1']", "[.='x']"
BREAKS = f'<div xmlns="http://www.w3.org/1999/xhtml">x{"<br/>" * 5_000}</div>'
MANY = {**BEFORE, "text": {"status": "generated", "div": BREAKS}, "identifier": [{"value": "1"}] * 5_000}


@pytest.mark.parametrize(
    "operations",
    [
        pytest.param('<replace sel="f:Patient/f:gender/@value">male</replace>' * 50, id="many operations"),
        pytest.param(f'<remove sel="f:Patient/f:identifier{EQUAL * 30}"/>', id="many predicates"),
        pytest.param('<replace sel="f:Patient/f:text/h:div/text()">x</replace>' * 50, id="a text among elements"),
        pytest.param(f'<remove sel="f:Patient/f:text/h:div{SAID * 50}"/>', id="a text that is compared"),
    ],
)
def test_what_the_paths_of_a_patch_look_at_is_bounded(operations: str) -> None:
    namespaces = f'{FHIR} xmlns:h="http://www.w3.org/1999/xhtml"'
    patch = read("application/xml-patch+xml", f"<diff {namespaces}>{operations}</diff>".encode())
    with pytest.raises(TooCostly):
        patch(MANY)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(f"<diff {' '.join(PREFIXES)}/>", TooCostly, id="of one element"),
        pytest.param("".join(f"<a {one}>" for one in PREFIXES) + "</a>" * 17, TooCostly, id="inside another"),
        pytest.param(f"<diff {' '.join(PREFIXES * 4)}/>", Malformed, id="attributes of one element"),
        pytest.param('<?xml version="1.0" encoding="latin1"?><diff/>', Malformed, id="another encoding"),
    ],
)
def test_names_of_a_patch_document_are_few(body: str, error: type[FhirError]) -> None:
    with pytest.raises(error):
        read("application/xml-patch+xml", body.encode())


@pytest.mark.parametrize("body", [b"<patch/>", b'<!DOCTYPE d [<!ENTITY a "b">]><diff/>', b"\xff<diff/>", b""])
def test_what_is_no_patch_document(body: bytes) -> None:
    with pytest.raises((BadRequest, Malformed)):
        read("application/xml-patch+xml", body)
