"""A FHIR request and its response, free of any web framework; batch entries are requests too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl

from fhir_server import gate
from fhir_server.errors import BadRequest, NotAcceptable, TooCostly, Unauthorized, UnsupportedMediaType
from fhir_server.model import Actor, Resource

JSON, XML = "application/fhir+json", "application/fhir+xml"
JSON_TYPES = frozenset({JSON, "application/json", "json", "text/json"})
XML_TYPES = frozenset({XML, "application/xml", "text/xml", "xml"})
PLAIN = frozenset({JSON, "application/json", f"{JSON}; charset=utf-8", "application/json; charset=utf-8"})
"""How most clients name FHIR JSON, letter by letter."""

MAX_FIELDS = 1_000
MAX_QUERY = 65_536  # characters of a query string: page links of a search by POST repeat all that it asks
VERSIONS = frozenset({"4.0", "4.0.1"})  # values of a media type's parameter fhirVersion


@dataclass(slots=True)
class Request:
    """One interaction asked for."""

    method: str
    segments: tuple[str, ...]  # of the path below the base, decoded
    query: str  # raw
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    id: str  # of the request, for the log and the audit
    signed_in: Actor | None = None
    parts: AsyncIterator[bytes] | None = None  # the body as it arrives, in place of `body`
    metadata: Callable[[Request], Response] | None = None  # answers `metadata` in an entry of a Bundle
    _pairs: list[tuple[str, str]] | None = field(default=None, init=False, repr=False)
    _preferences: dict[str, str] | None = field(default=None, init=False, repr=False)

    @property
    def actor(self) -> Actor:
        """Who calls; raises Unauthorized where nobody is named."""
        if self.signed_in is None:
            error = Unauthorized("A bearer token is needed.")
            error.headers["WWW-Authenticate"] = 'Bearer realm="predmp"'
            raise error
        return self.signed_in

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The decoded pairs of the query string."""
        if self._pairs is None:
            self._pairs = read_pairs(self.query) if self.query else []
        return self._pairs

    @property
    def preferences(self) -> dict[str, str]:
        """The Prefer header: `{"return": "minimal", "handling": "lenient"}`."""
        if self._preferences is None:
            self._preferences = _read_prefer(self.headers["prefer"]) if "prefer" in self.headers else {}
        return self._preferences

    @property
    def is_lenient(self) -> bool:
        """Whether unknown search parameters may be left out."""
        return self.preferences.get("handling") == "lenient"

    def resource(self) -> Resource:
        """Read the body as a resource.

        Raises:
            UnsupportedMediaType: It is not FHIR JSON in UTF-8.
            Malformed: It is no JSON that FHIR allows.
        """
        check_content_type(self.headers.get("content-type", ""))
        return gate.parse_resource(self.body)


class Response(NamedTuple):
    """What an interaction answers."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = "application/fhir+json"
    chunks: AsyncIterator[bytes] | None = None  # sent one after the other in place of `body`
    at: int | None = None  # when the version that it is about was written, microseconds since 1970


def _read_prefer(header: str) -> dict[str, str]:
    found = {}
    for part in header.replace(",", ";").split(";"):
        name, _, value = part.strip().partition("=")
        if name:
            found[name.strip().lower()] = value.strip().strip('"')
    return found


def read_pairs(query: str) -> list[tuple[str, str]]:
    """Decode a query string strictly.

    Raises:
        BadRequest: It is not percent-encoded UTF-8.
        TooCostly: It has more than 1,000 fields.
    """
    if "%" not in query and "+" not in query and query.count("&") < MAX_FIELDS:  # as it is, there is nothing to decode
        return [(name, value) for name, _, value in (part.partition("=") for part in query.split("&") if part)]
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise BadRequest("The query string is not UTF-8.") from None
    except ValueError:
        raise TooCostly("The query string has more than 1,000 fields.") from None


def check_content_type(text: str) -> None:
    """Raise UnsupportedMediaType unless a body of that type is FHIR JSON in UTF-8."""
    if text in PLAIN:
        return
    if media_kind(text) not in JSON_TYPES:
        raise UnsupportedMediaType("The body's type is not known here; send application/fhir+json or fhir+xml.")
    _check_charset(text)


def is_xml(content_type: str) -> bool:
    """Whether a body of that type is FHIR XML; raise UnsupportedMediaType where it is not in UTF-8."""
    if media_kind(content_type) not in XML_TYPES:
        return False
    _check_charset(content_type)
    return True


def media_kind(text: str) -> str:
    """Return a media type without its parameters, in lower case."""
    return text.partition(";")[0].strip().lower()


def _check_charset(text: str) -> None:
    for parameter in text.partition(";")[2].lower().split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('" ') not in ("utf-8", "utf8"):
            raise UnsupportedMediaType("FHIR is UTF-8 here.")
        if name == "fhirversion" and value.strip('" ') not in VERSIONS:
            raise UnsupportedMediaType("The FHIR version here is 4.0.")


def _is_version(text: str) -> bool:
    """Whether a media type names this FHIR version, or none (https://hl7.org/fhir/R4/http.html#version-parameter)."""
    parts = (part.strip().partition("=") for part in text.lower().split(";")[1:])
    return all(value.strip('" ') in VERSIONS for name, _, value in parts if name == "fhirversion")


def wanted_format(query: str, headers: Mapping[str, str]) -> str:
    """Return the media type to answer in: `_format`, else Accept, else that of the body, else JSON.

    Source: https://hl7.org/fhir/R4/http.html#mime-type

    Raises:
        NotAcceptable: None of the formats asked for can be written.
    """
    if "_format=" in query:
        asked = next((value for name, value in read_pairs(query) if name == "_format"), "json")
        found = _format(media_kind(asked).replace(" ", "+")) if _is_version(asked) else ""
    elif accept := headers.get("accept", ""):
        found = JSON if accept in (JSON, "*/*") else _best(accept)
    else:
        found = XML if media_kind(headers.get("content-type", "")) in XML_TYPES else JSON
    if not found:
        raise NotAcceptable(f"The format asked for is not known here; {JSON} and {XML} are.")
    return found


def _format(kind: str) -> str:
    if kind in JSON_TYPES or kind in ("*/*", "application/*"):
        return JSON
    return XML if kind in XML_TYPES else ""


def _best(accept: str) -> str:
    """Return the format of the best quality; among equals one that is named, and of those the first."""
    best, found = (0.0, False), ""
    parts = accept.split(",")
    refused = {_format(media_kind(part)) for part in parts if _quality(part) <= 0} if "q=0" in accept.lower() else ()
    for part in parts:
        kind = media_kind(part)
        rank, format = (_quality(part), "*" not in kind), _format(kind)
        if "*" in kind and format in refused:
            format = "" if XML in refused else XML
        if rank[0] > 0 and rank > best and format and _is_version(part):
            best, found = rank, format
    return found


def _quality(part: str) -> float:
    for parameter in part.lower().split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
