"""A FHIR request and its response, free of any web framework; batch entries are requests too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qsl

from fhir_server import gate
from fhir_server.errors import BadRequest, NotAcceptable, TooCostly, Unauthorized, UnsupportedMediaType
from fhir_server.model import Actor, Resource

JSON_TYPES = frozenset({"application/fhir+json", "application/json", "json", "text/json"})
MAX_FIELDS = 1_000


@dataclass
class Request:
    """One interaction asked for."""

    method: str
    segments: tuple[str, ...]  # of the path below the base, decoded
    query: str  # raw
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    id: str  # of the request, for the log and the audit
    signed_in: Actor | None = None

    @property
    def actor(self) -> Actor:
        """Who calls; raises Unauthorized where nobody is named."""
        if self.signed_in is None:
            error = Unauthorized("A bearer token is needed.")
            error.headers["WWW-Authenticate"] = 'Bearer realm="predmp"'
            raise error
        return self.signed_in

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The decoded pairs of the query string."""
        return read_pairs(self.query) if self.query else []

    @cached_property
    def preferences(self) -> dict[str, str]:
        """The Prefer header: `{"return": "minimal", "handling": "lenient"}`."""
        found = {}
        for part in self.headers.get("prefer", "").replace(",", ";").split(";"):
            name, _, value = part.strip().partition("=")
            if name:
                found[name.strip().lower()] = value.strip().strip('"')
        return found

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


@dataclass(frozen=True, slots=True)
class Response:
    """What an interaction answers."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = "application/fhir+json"
    resource_body: bytes = field(default=b"")  # of a batch entry: the resource, where `body` was left out


def read_pairs(query: str) -> list[tuple[str, str]]:
    """Decode a query string strictly.

    Raises:
        BadRequest: It is not percent-encoded UTF-8.
        TooCostly: It has more than 1,000 fields.
    """
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise BadRequest("The query string is not UTF-8.") from None
    except ValueError:
        raise TooCostly("The query string has more than 1,000 fields.") from None


def check_content_type(text: str) -> None:
    """Raise UnsupportedMediaType unless a body of that type is FHIR JSON in UTF-8."""
    kind, _, parameters = text.partition(";")
    if kind.strip().lower() not in JSON_TYPES:
        raise UnsupportedMediaType("The body's type is not known here; send application/fhir+json.")
    for parameter in parameters.lower().split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('" ') not in ("utf-8", "utf8"):
            raise UnsupportedMediaType("FHIR JSON is UTF-8.")


def check_accept(request: Request) -> None:
    """Raise NotAcceptable unless the answer may be FHIR JSON."""
    if "_format=" in request.query:
        asked = next((value for name, value in request.pairs if name == "_format"), "json")
        if asked.partition(";")[0].strip().lower().replace(" ", "+") not in JSON_TYPES:
            raise NotAcceptable("The format asked for is not known here; application/fhir+json is.")
        return
    accept = request.headers.get("accept", "")
    if not accept or "*/*" in accept:
        return
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if not kinds & (JSON_TYPES | {"application/*"}):
        raise NotAcceptable("The format asked for is not known here; application/fhir+json is.")
