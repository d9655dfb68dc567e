"""Search over HTTP: of a type, of the system, within a compartment, by GET and by POST.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#search and https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlencode

from fhir_server import gate
from fhir_server.errors import BadParameter, BadRequest, Issue, UnsupportedMediaType
from fhir_server.http.formats import in_xml
from fhir_server.http.message import MAX_QUERY, XML, Request, Response, read_pairs, wanted_format
from fhir_server.interactions import bundle
from fhir_server.interactions.core import Hub
from fhir_server.interactions.includes import MOST_INCLUDED
from fhir_server.interactions.searching import Results
from fhir_server.search.parse import SKIPPED
from fhir_server.search.query import Query

FORM = "application/x-www-form-urlencoded"
TRAIL = "_before"  # in page links beside `_cursor`: the cursors of the pages before that one
MAX_TRAIL = 1_000  # characters of it; from further on the way back begins at the first page
_CUT = "0"  # in a trail's first place: pages are missing there
_OF_PAGES = frozenset({"_cursor", TRAIL})
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
    try:
        form = read_pairs(request.body.decode())
    except UnicodeDecodeError:  # another character set would be searched for as other characters
        raise BadRequest("The form is not UTF-8.") from None
    place = request.segments[:-1]
    path = "/".join((*place, "*") if len(place) == 2 else place)
    found = await _search(hub, request, path, [*request.pairs, *form])
    asked = next((value for name, value in form if name == "_format"), "")
    return await in_xml(found, may_refuse=True) if asked and wanted_format(f"_format={asked}", {}) == XML else found


async def _search(hub: Hub, request: Request, types: str, pairs: list[tuple[str, str]]) -> Response:
    place = _place(pairs)
    asked = hub.query(types, [pair for pair in pairs if pair[0] not in _OF_PAGES], request.is_lenient)
    results = await hub.search_page(types, pairs, actor=request.actor, query=asked, request_id=request.id)
    cursor = "" if results.after is None else hub.cursors.write(results.after, request.actor, hub.signature(asked))
    links = _links(f"{hub.base_url}/{types}" if types else hub.base_url, _shown(asked, pairs), place, cursor)
    body = bundle.searchset(
        hub.base_url,
        results.matches,
        results.included,
        query=asked,
        total=results.total,
        links=links,
        notes=[*_notes(results), *_beyond(links)],
    )
    return Response(200, body)


def _place(pairs: Sequence[tuple[str, str]]) -> tuple[str, list[str]]:
    """Return the cursor of the page that is asked for, "" of the first, and those of the pages before it."""
    found = [pair for pair in pairs if pair[0] in _OF_PAGES]
    if not found:
        return "", []
    said = dict(found)
    if len(said) < len(found) or "_cursor" not in said:
        raise BadParameter("The page link does not hold for this caller and query.")
    trail = said.get(TRAIL, "")
    return said["_cursor"], [_CUT] if len(trail) > MAX_TRAIL else [part for part in trail.split(",") if part]


def _shown(asked: Query, pairs: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Return the parameters of a link: those that ran, and the format, which the next page is to have too."""
    form = [pair for pair in pairs if pair[0] in SKIPPED and pair[0] not in asked.ignored]
    return [*asked.text, *form] if form else asked.text


def _links(
    base: str, shown: Sequence[tuple[str, str]], place: tuple[str, Sequence[str]], following: str
) -> list[tuple[str, str]]:
    """Return the links of a page: itself and, where there are several, the first, the one before and the next.

    The way back is in the links themselves, so that nothing is kept between two requests.
    Source: https://hl7.org/fhir/R4/http.html#paging

    Args:
        base: What is searched.
        shown: Its parameters.
        place: The cursor of this page, "" of the first, and those of the pages before it.
        following: The cursor of the next page; "" where there is none.
    """
    (here, trail), first = place, link(base, shown)
    links = [("self", _page(base, shown, here, trail) if here else first)]
    if here or following:
        links.append(("first", first))
    if here and not trail:
        links.append(("previous", first))
    elif here and trail[-1] != _CUT:
        links.append(("previous", _page(base, shown, trail[-1], trail[:-1])))
    if following:
        links.append(("next", _page(base, shown, following, [*trail, here] if here else [])))
    return links


def _beyond(links: Sequence[tuple[str, str]]) -> list[Issue]:
    """Return what is to be said where the next page cannot be had by its link."""
    if links[-1][0] != "next" or len(links[-1][1].partition("?")[2]) <= MAX_QUERY:
        return []
    text = "The link of the next page is longer than a url may be. Send the same form with the _cursor of that link."
    return [Issue("informational", text, severity="information")]


def _page(base: str, shown: Sequence[tuple[str, str]], cursor: str, trail: Sequence[str]) -> str:
    """Return the link of a page that is not the first."""
    kept, length = list(trail), sum(map(len, trail)) + len(trail)
    while length > MAX_TRAIL:
        length -= len(kept.pop(1 if kept[0] == _CUT else 0)) + 1
        kept[:0] = [] if kept and kept[0] == _CUT else [_CUT]
    return link(base, [*shown, ("_cursor", cursor), *([(TRAIL, ",".join(kept))] if kept else [])])


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
