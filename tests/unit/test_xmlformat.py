"""FHIR XML, table by table: each JSON form beside its XML, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from fhir_server import gate, xmlformat
from fhir_server.errors import Malformed, NotAcceptable

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'


def patient(inside: str, attributes: str = "") -> str:
    return f'<Patient xmlns="http://hl7.org/fhir"{attributes}>{inside}</Patient>'


def read(text: str) -> Any:
    return xmlformat.read(text.encode())


BOTH_WAYS = [
    pytest.param(
        '{"resourceType":"Patient","id":"a","active":true}',
        patient('<id value="a"/><active value="true"/>'),
        id="the id of a resource is an element",
    ),
    pytest.param(
        '{"resourceType":"Patient","name":[{"id":"n1","family":"É"}]}',
        patient('<name id="n1"><family value="É"/></name>'),
        id="the id of an element is an attribute",
    ),
    pytest.param(
        '{"resourceType":"Patient","birthDate":"1970","_birthDate":{"id":"b","extension":[{"url":"u","valueCode":"x"}]}}',
        patient('<birthDate id="b" value="1970"><extension url="u"><valueCode value="x"/></extension></birthDate>'),
        id="a primitive has its id and extensions beside its value",
    ),
    pytest.param(
        '{"resourceType":"Patient","_birthDate":{"extension":[{"url":"u","valueCode":"x"}]}}',
        patient('<birthDate><extension url="u"><valueCode value="x"/></extension></birthDate>'),
        id="a primitive may have extensions only",
    ),
    pytest.param(
        '{"resourceType":"Patient","name":[{"given":["A",null,"C"],"_given":[null,{"id":"b"},null]}]}',
        patient('<name><given value="A"/><given id="b"/><given value="C"/></name>'),
        id="the two lists of a repeated primitive are filled with null",
    ),
    pytest.param(
        '{"resourceType":"Patient","name":[{"_given":[{"id":"a"},{"id":"b"}]}]}',
        patient('<name><given id="a"/><given id="b"/></name>'),
        id="a repeated primitive without any value has one list",
    ),
    pytest.param(
        '{"resourceType":"Patient","extension":[{"extension":[{"url":"i","valueInteger":-3}],"url":"o"}]}',
        patient('<extension url="o"><extension url="i"><valueInteger value="-3"/></extension></extension>'),
        id="an extension within an extension",
    ),
    pytest.param(
        '{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o"},'
        '{"resourceType":"Practitioner","id":"p"}]}',
        patient(
            '<contained><Organization><id value="o"/></Organization></contained>'
            '<contained><Practitioner><id value="p"/></Practitioner></contained>'
        ),
        id="each contained resource stands in its own element",
    ),
    pytest.param(
        '{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:x","resource":'
        '{"resourceType":"Parameters","parameter":[{"name":"r","resource":{"resourceType":"Basic"}}]}}]}',
        '<Bundle xmlns="http://hl7.org/fhir"><type value="collection"/><entry><fullUrl value="urn:x"/><resource>'
        '<Parameters><parameter><name value="r"/><resource><Basic/></resource></parameter></Parameters>'
        "</resource></entry></Bundle>",
        id="resources in a Bundle and in Parameters",
    ),
    pytest.param(
        '{"resourceType":"Observation","valueQuantity":{"value":1.10,"unit":"\\u00b5g"}}',
        '<Observation xmlns="http://hl7.org/fhir"><valueQuantity><value value="1.10"/><unit value="µg"/>'
        "</valueQuantity></Observation>",
        id="a decimal keeps its digits and a choice its type",
    ),
    pytest.param(
        '{"resourceType":"Observation","valueQuantity":{"value":1.0e2}}',
        '<Observation xmlns="http://hl7.org/fhir"><valueQuantity><value value="1.0e2"/></valueQuantity></Observation>',
        id="a decimal keeps its exponent",
    ),
    pytest.param(
        '{"resourceType":"Basic","code":{"text":" a\\t\\n\\r\\"<>&\' "}}',
        '<Basic xmlns="http://hl7.org/fhir"><code><text value=" a&#9;&#10;&#13;&quot;&lt;&gt;&amp;\' "/></code></Basic>',
        id="blanks and marks of a string are kept",
    ),
    pytest.param(
        '{"resourceType":"Patient","text":{"status":"generated","div":'
        '"<div xmlns=\\"http://www.w3.org/1999/xhtml\\">é &amp; <b id=\'x\'>b</b>&#160;<!-- c --><br/></div>"}}',
        patient(f"<text><status value=\"generated\"/>{DIV}é &amp; <b id='x'>b</b>&#160;<!-- c --><br/></div></text>"),
        id="a narrative is kept as it is written",
    ),
]


@pytest.mark.parametrize(("json", "xml"), BOTH_WAYS)
def test_json_and_xml_say_the_same(json: str, xml: str) -> None:
    resource = gate.parse_resource(json.encode())
    assert xmlformat.write(resource).decode() == HEAD + xml
    assert gate.write(xmlformat.read((HEAD + xml).encode())) == gate.write(resource)


@pytest.mark.parametrize(
    ("xml", "resource"),
    [
        pytest.param(
            '\ufeff<?xml version="1.0"?>\n<!-- c --><?p i?>\n' + patient("\n <!-- c -->\n <active value='true' />\n"),
            {"active": True},
            id="byte order mark, comments, instructions and blanks",
        ),
        pytest.param(
            '<f:Patient xmlns:f="http://hl7.org/fhir"><f:active value="true"></f:active></f:Patient>',
            {"active": True},
            id="a prefix for the namespace",
        ),
        pytest.param(
            patient(
                '<active value="true"/>',
                ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://hl7.org/fhir x.xsd"',
            ),
            {"active": True},
            id="a hint to a schema",
        ),
        pytest.param(
            patient('<text><div xmlns="http://www.w3.org/1999/xhtml"/></text>'),
            {"text": {"div": '<div xmlns="http://www.w3.org/1999/xhtml"/>'}},
            id="an empty narrative, for the validator to judge",
        ),
        pytest.param(
            patient('<text><h:div xmlns:h="http://www.w3.org/1999/xhtml">a/></h:div ></text>'),
            {"text": {"div": '<h:div xmlns:h="http://www.w3.org/1999/xhtml">a/></h:div >'}},
            id="a narrative with a prefix of its own",
        ),
    ],
)
def test_other_ways_to_write_it_are_read(xml: str, resource: dict[str, Any]) -> None:
    assert read(xml) == {"resourceType": "Patient", **resource}


@pytest.mark.parametrize(
    "xml",
    [
        pytest.param("", id="nothing"),
        pytest.param("{}", id="JSON"),
        pytest.param("<Patient/>", id="no namespace"),
        pytest.param('<Patient xmlns="urn:hl7-org:v3"/>', id="another namespace"),
        pytest.param('<Nonsense xmlns="http://hl7.org/fhir"/>', id="no resource type"),
        pytest.param('<Resource xmlns="http://hl7.org/fhir"/>', id="an abstract type"),
        pytest.param('<HumanName xmlns="http://hl7.org/fhir"/>', id="a data type"),
        pytest.param(patient("<colour/>"), id="an unknown element"),
        pytest.param(patient('<resourceType value="x"/>'), id="a key of JSON only"),
        pytest.param(patient('<_active value="true"/>'), id="a key of extensions in JSON"),
        pytest.param(patient("", ' id="x"'), id="the id of a resource as attribute"),
        pytest.param(patient("<name><id value='x'/></name>"), id="the id of an element as element"),
        pytest.param(patient("<extension><url value='u'/></extension>"), id="the url of an extension as element"),
        pytest.param(patient('<name colour="red"/>'), id="an unknown attribute"),
        pytest.param(patient('<name value="red"/>'), id="a value of what has none"),
        pytest.param(patient('<active xmlns:x="urn:x" x:value="true"/>'), id="an attribute of another namespace"),
        pytest.param(patient('<active xmlns="urn:x" value="true"/>'), id="an element of another namespace"),
        pytest.param(patient('<gender value="male"/><active value="true"/>'), id="elements out of order"),
        pytest.param(patient('<active value="true"/><active value="true"/>'), id="one element twice"),
        pytest.param(
            patient('<deceasedBoolean value="true"/><deceasedDateTime value="2020"/>'), id="two of one choice"
        ),
        pytest.param(patient("<active/>"), id="a primitive with nothing"),
        pytest.param(patient('<active value="1"/>'), id="a boolean in digits"),
        pytest.param(patient('<multipleBirthInteger value="+1"/>'), id="an integer with a plus"),
        pytest.param(patient('<multipleBirthInteger value="1.0"/>'), id="an integer with a fraction"),
        pytest.param(patient('<multipleBirthInteger value="01"/>'), id="an integer with a leading zero"),
        pytest.param(patient('<multipleBirthInteger value="٣"/>'), id="an integer in other digits"),
        pytest.param(patient(f'<multipleBirthInteger value="{"9" * 61}"/>'), id="an integer of 61 digits"),
        pytest.param(patient("text"), id="text between elements"),
        pytest.param(patient("<![CDATA[text]]>"), id="marked text between elements"),
        pytest.param(patient("<contained/>"), id="a slot that is empty"),
        pytest.param(patient("<contained><Basic/><Basic/></contained>"), id="a slot with two resources"),
        pytest.param(patient("<contained><name/></contained>"), id="a slot with no resource"),
        pytest.param(patient('<contained id="x"><Basic/></contained>'), id="a slot with an attribute"),
        pytest.param(patient("<text><div>x</div></text>"), id="a narrative in the namespace of FHIR"),
        pytest.param(patient(f"<text>{DIV}&nbsp;</div></text>"), id="an entity that XML does not have"),
        pytest.param(
            '<Patient xmlns="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml"><text><h:div>x</h:div></text>'
            "</Patient>",
            id="a narrative that gets its namespace from outside",
        ),
        pytest.param('<?xml version="1.0" encoding="ISO-8859-1"?>' + patient(""), id="another encoding"),
        pytest.param("<!DOCTYPE Patient>" + patient(""), id="a document type"),
        pytest.param(patient('<active value="true">'), id="tags that do not match"),
        pytest.param(patient("") + patient(""), id="two documents"),
        pytest.param(patient('<name><text value="&#0;"/></name>'), id="a character that is none"),
        pytest.param(patient("", " " + " ".join(f'a{i}=""' for i in range(65))), id="65 attributes"),
    ],
)
def test_what_is_no_fhir_xml_is_refused_without_showing_it(xml: str) -> None:
    with pytest.raises(Malformed) as refused:
        read(xml)
    assert "red" not in refused.value.text and "colour" not in refused.value.text


@pytest.mark.parametrize("body", [b"\xff\xfe<\x00", b'<Patient xmlns="http://hl7.org/fhir">\xe9</Patient>'])
def test_bytes_that_are_no_utf8_are_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        xmlformat.read(body)


def nested(levels: int) -> str:
    """A Parameters with parts in parts; each is a list and an object of JSON."""
    inside = "<part><name value='x'/>" * levels + "</part>" * levels
    return f"<Parameters xmlns='http://hl7.org/fhir'><parameter><name value='x'/>{inside}</parameter></Parameters>"


def test_the_bound_of_depth_is_the_one_of_json() -> None:
    deepest = read(nested(30))
    assert gate.parse(gate.write(deepest)) == deepest
    with pytest.raises(Malformed, match="64 levels"):
        read(nested(31))
    inside = "<b>" * 63 + "x" + "</b>" * 63
    assert read(patient(f"<text>{DIV}{inside}</div></text>"))
    with pytest.raises(Malformed, match="64 levels"):
        read(patient(f"<text>{DIV}<b>{inside}</b></div></text>"))


@pytest.mark.parametrize(
    "resource",
    [
        pytest.param({"resourceType": "Basic", "code": {"text": "a\x01"}}, id="a control character"),
        pytest.param({"resourceType": "Basic", "code": {"text": "\ufffe"}}, id="a code point that is no character"),
        pytest.param({"resourceType": "Basic", "colour": "red"}, id="an unknown key"),
        pytest.param({"resourceType": "Basic", "_code": {"id": "x"}}, id="extensions beside what is no primitive"),
        pytest.param({"resourceType": "Basic", "code": "red"}, id="text where an object belongs"),
        pytest.param({"resourceType": "Basic", "code": []}, id="a list where none belongs"),
        pytest.param({"resourceType": "Basic", "identifier": {}}, id="an object where a list belongs"),
        pytest.param({"resourceType": "Basic", "created": {}}, id="an object where text belongs"),
        pytest.param({"resourceType": "Nonsense"}, id="an unknown type"),
        pytest.param({}, id="no type"),
        pytest.param({"resourceType": "Basic", "text": {"div": "</div><script/>"}}, id="a narrative that is no XML"),
        pytest.param({"resourceType": "Basic", "text": {"div": "<div>x</div>"}}, id="a narrative without namespace"),
        pytest.param({"resourceType": "Basic", "text": {"div": 1}}, id="a narrative that is no text"),
    ],
)
def test_what_xml_cannot_carry_is_not_acceptable(resource: dict[str, Any]) -> None:
    with pytest.raises(NotAcceptable) as refused:
        xmlformat.write(resource)
    assert "red" not in refused.value.text


ATTACKS = {
    "billion laughs": """b'<!DOCTYPE l [<!ENTITY a0 "ha">' + b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10)
        for i in range(1, 10)) + b"]><Patient>&a9;</Patient>" """,
    "quadratic blow-up": """b'<!DOCTYPE l [<!ENTITY a "' + b"x" * 100_000 + b'">]><l>' + b"&a;" * 100_000 + b"</l>" """,
    "200,000 nested tags": """b"<a>" * 200_000""",
    "11 million nested tags": """b"<a>" * 11_000_000""",
    "200,000 nested tags in a narrative": """b'<Patient xmlns="http://hl7.org/fhir"><text>'
        b'<div xmlns="http://www.w3.org/1999/xhtml">' + b"<b>" * 200_000""",
    "a million attributes": """b"<Patient " + b" ".join(b'a%d=""' % i for i in range(1_000_000)) + b"/>" """,
    "a million namespaces": """b"<Patient " + b" ".join(b'xmlns:a%d="u"' % i for i in range(1_000_000)) + b"/>" """,
    "a tag that never ends": """b"<a" + b" " * 30_000_000""",
    "a comment that never ends": """b"<!--" + b"- " * 15_000_000""",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_ends_within_ten_seconds_and_512_mib(attack: str) -> None:
    """The kernel holds the bounds: a process that goes over them dies."""
    code = f"""
import resource
from fhir_server import xmlformat
from fhir_server.errors import Malformed
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
body = ({ATTACKS[attack]})
try:
    xmlformat.read(body)
except Malformed:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr[-500:]


SPACE = 'xmlns="http://hl7.org/fhir"'


@pytest.mark.parametrize(
    ("body", "place"),
    [
        pytest.param(f"<Patient {SPACE}><foo/></Patient>", "Patient", id="an element that R4 does not have, at its parent"),
        pytest.param(f'<Patient {SPACE}><name><given value="a"/><given/></name></Patient>', "Patient.name[0].given[1]", id="an empty primitive in lists"),
        pytest.param(f'<Patient {SPACE}><active value="1"/></Patient>', "Patient.active", id="a value that is none"),
        pytest.param(f"<Observation {SPACE}><contained><Patient/></contained><contained><Patient><foo/></Patient></contained></Observation>", "Observation.contained[1]", id="in a contained resource"),
        pytest.param(f'<Bundle {SPACE}><entry><resource><Observation><valueQuantity><value value="a"/></valueQuantity></Observation></resource></entry></Bundle>', "Bundle.entry[0].resource.value.value", id="below a choice, in an entry"),
        pytest.param(f"<Patient {SPACE}><name>x</name></Patient>", "Patient.name[0]", id="text between elements"),
        pytest.param(f"<Patient {SPACE}><name>", "Patient.name[0]", id="where the body ends too soon"),
        pytest.param("<Patient/>", "", id="before the first element"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_place(body: str, place: str) -> None:
    with pytest.raises(Malformed) as caught:
        read(body)
    assert [issue.expression for issue in caught.value.issues] == [place]
