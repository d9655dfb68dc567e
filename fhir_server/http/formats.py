"""FHIR XML at the edge: bodies become JSON before they are served, answers XML after.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#mime-type
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from fhir_server import gate, xmlformat
from fhir_server.errors import FhirError, NotAcceptable
from fhir_server.http.message import JSON, PLAIN, XML, Response, wanted_format

LARGE: Final = 65_536  # bytes from which XML is read and written in a thread, so that others are served meanwhile


def speaks_json(query: bytes, headers: Mapping[str, str]) -> bool:
    """Whether a request is seen at a glance to be in JSON and to be answered so, as most are."""
    accept, kind = headers.get("accept", "*/*"), headers.get("content-type", JSON)
    return (accept == "*/*" or accept in PLAIN) and kind in PLAIN and b"_format" not in query


def wants_xml(query: bytes, headers: Mapping[str, str]) -> bool:
    """Whether the answer, be it a failure, goes out as XML."""
    accept = headers.get("accept", "").lower()
    asked = "xml" in accept or "q=0" in accept or "xml" in headers.get("content-type", "").lower()
    if not asked and b"xml" not in query.lower():
        return False
    try:
        return wanted_format(query.decode("latin-1"), headers) == XML
    except FhirError:
        return False  # nothing that can be written was asked for: JSON says so


async def in_json(body: bytes) -> bytes:
    """Return a body in FHIR XML as JSON; raise Malformed where it is none."""
    return await _off_loop(_to_json, body)


async def in_xml(response: Response, *, may_refuse: bool) -> Response:
    """Return a response with its FHIR JSON rewritten as XML; any other as it is.

    Args:
        response: What an interaction answered.
        may_refuse: Whether what XML cannot carry raises NotAcceptable. It must not where something was
            written already, or where a failure is told: then JSON goes out.
    """
    if response.media_type != JSON or not response.body:
        return response
    try:
        return response._replace(body=await _off_loop(_to_xml, response.body), media_type=XML)
    except NotAcceptable:
        if may_refuse:
            raise
        return response


async def _off_loop(work: Callable[[bytes], bytes], body: bytes) -> bytes:
    return await asyncio.to_thread(work, body) if len(body) > LARGE else work(body)


def _to_json(body: bytes) -> bytes:
    return gate.write(xmlformat.read(body))


def _to_xml(body: bytes) -> bytes:
    return xmlformat.write(gate.load(body))
