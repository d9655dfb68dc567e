"""Search over HTTP: of a type, of the system, within a compartment, by GET and by POST.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#search and https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlencode

from fhir_server import gate
from fhir_server.errors import Issue, UnsupportedMediaType
from fhir_server.http.message import Request, Response, read_pairs
from fhir_server.interactions import bundle
from fhir_server.interactions.core import Hub
from fhir_server.interactions.includes import MOST_INCLUDED
from fhir_server.interactions.searching import Results

FORM = "application/x-www-form-urlencoded"
_PLAIN = re.compile(r"[A-Za-z0-9_.\-~:,|/=&]*")  # written into a link as it is, but for the bar of tokens


async def search_type(hub: Hub, request: Request) -> Response:
    """Serve search of one type."""
    return await _search(hub, request, request.segments[0], request.pairs)


async def search_system(hub: Hub, request: Request) -> Response:
    """Serve search over several types, named by `_type`."""
    return await _search(hub, request, "", request.pairs)


async def search_compartment(hub: Hub, request: Request) -> Response:
    """Serve search within a compartment: `Patient/1/Observation`, or `Patient/1/*` for all its types.

    Source: https://hl7.org/fhir/R4/http.html#vsearch
    """
    return await _search(hub, request, "/".join(request.segments), request.pairs)


async def search_post(hub: Hub, request: Request) -> Response:
    """Serve search by POST; parameters of the url and of the form are joined by AND."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM and (kind or request.body):  # all of it may stand in the url
        raise UnsupportedMediaType(f"A search by POST is {FORM}.")
    form = read_pairs(request.body.decode("utf-8", "replace"))
    place = request.segments[:-1]
    path = "/".join((*place, "*") if len(place) == 2 else place)
    return await _search(hub, request, path, [*request.pairs, *form])


async def _search(hub: Hub, request: Request, types: str, pairs: list[tuple[str, str]]) -> Response:
    asked = hub.query(types, [pair for pair in pairs if pair[0] != "_cursor"], request.is_lenient)
    results = await hub.search_page(types, pairs, actor=request.actor, query=asked, request_id=request.id)
    base = f"{hub.base_url}/{types}" if types else hub.base_url
    links = [("self", link(base, asked.text))]
    if results.after is not None:
        cursor = hub.cursors.write(results.after, request.actor, hub.signature(asked))
        links.append(("next", link(base, (*asked.text, ("_cursor", cursor)))))
    body = bundle.searchset(
        hub.base_url,
        results.matches,
        results.included,
        query=asked,
        total=results.total,
        links=links,
        notes=_notes(results),
    )
    return Response(200, body)


def link(base: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Return a link of a Bundle."""
    if not pairs:
        return base
    text = "&".join([f"{name}={value}" for name, value in pairs])
    if _PLAIN.fullmatch(text) and text.count("=") == len(pairs) and text.count("&") == len(pairs) - 1:
        return f"{base}?{text.replace('|', '%7C')}"
    return f"{base}?{urlencode(pairs, safe=':,/')}"


def _notes(results: Results) -> list[Issue]:
    """Return what a caller must know beside the results; it becomes one entry of mode outcome."""
    query = results.query
    notes = [Issue("not-supported", f"The parameter {name} was ignored.", severity="warning") for name in query.ignored]
    if results.cut:
        text = f"More would be included than the {MOST_INCLUDED:,} that a page may hold. Ask with a smaller _count."
        notes.append(Issue("too-costly", text, severity="warning"))
    if results.estimated:
        notes.append(Issue("informational", "The total is an estimate.", severity="information"))
    if results.plan is not None:
        notes.append(Issue("informational", gate.write(results.plan).decode(), severity="information"))
    return notes
