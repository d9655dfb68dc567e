"""Laws of FHIR XML: reading ends in a resource or a refusal, and what was read can be written and read again."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server import gate, xmlformat
from fhir_server.errors import FhirError, NotAcceptable
from tests.conformance.examples import bodies

PIECES = [
    b"<", b">", b"/>", b"</", b'"', b"'", b"=", b" ", b"&", b"&#", b"&#0;", b"&amp;", b";", b"<!--", b"-->", b"<![CDATA[",
    b"]]>", b"<!DOCTYPE a>", b"<?xml version='1.0'?>", b"<?p?>", b"\x00", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf", b"\r\n",
    b"value", b"id", b"url", b"div", b"xmlns", b"extension", b"contained", b"-1", b"1e9999", b"true",
    b'<div xmlns="http://www.w3.org/1999/xhtml">', b"</div>", b"<Patient>", b"</Patient>", b"<name/>",
]  # fmt: skip
EXAMPLES = [xmlformat.write(gate.load(body)) for body in list(bodies().values())[::20] if len(body) < 20_000]


def accept(body: bytes) -> None:
    """Read; what is read must survive the way through JSON and the way through XML."""
    try:
        resource = xmlformat.read(body)
    except FhirError as error:
        assert error.status == 400
        return
    assert gate.write(gate.parse_resource(gate.write(resource))) == gate.write(resource)
    assert xmlformat.read(xmlformat.write(resource)) == resource


@settings(max_examples=600, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=30).map(b"".join))
def test_reading_anything_ends_in_a_resource_or_a_refusal(body: bytes) -> None:
    accept(body)
    accept(b'<Patient xmlns="http://hl7.org/fhir">' + body + b"</Patient>")


@settings(max_examples=800, deadline=None)
@given(st.sampled_from(EXAMPLES), st.integers(0, 2**32), st.integers(1, 4))
def test_a_damaged_example_ends_in_a_resource_or_a_refusal(body: bytes, seed: int, times: int) -> None:
    chance = random.Random(seed)
    for _ in range(times):
        at, cut = chance.randrange(len(body)), chance.choice((0, 0, 1, 8, 40))
        body = body[:at] + chance.choice([b"", *PIECES, body[-60:]]) + body[at + cut :]
    accept(body)


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=40))
def test_a_string_that_xml_can_carry_comes_back_whole(text: str) -> None:
    resource = {"resourceType": "Basic", "code": {"text": text}}
    try:
        written = xmlformat.write(resource)
    except NotAcceptable:
        assert any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 or ord(c) in (0xFFFE, 0xFFFF) for c in text)
    else:
        assert xmlformat.read(written) == resource
