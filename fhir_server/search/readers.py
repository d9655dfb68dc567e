"""FHIR values as search values: tokens, strings, references, numbers, quantities, uris, places.

Each reader takes the JSON of one value and returns its search values, none where it says nothing that can be
searched. Dates are read by `dates`. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, TypeAlias

from fhir_server.definitions import resource_types
from fhir_server.fhirpath.types import ancestors, suffixes
from fhir_server.search import dates
from fhir_server.search.values import Number, Period, Position, Quantity, Reference, Text, Token, Uri, Value

Json: TypeAlias = Mapping[str, Any]
Reader: TypeAlias = Callable[[Any], tuple[Value, ...]]

CURRENCIES: Final = "urn:iso:std:iso:4217"  # of Money.currency: https://hl7.org/fhir/R4/datatypes.html#Money
_TRUE: Final = (Token("", "true"),)
_FALSE: Final = (Token("", "false"),)
_LOCAL: Final = re.compile(r"([A-Za-z]{1,64})/([A-Za-z0-9.\-]{1,64})(?:/_history/([A-Za-z0-9.\-]{1,64}))?")
_BELOW: Final = frozenset({"<", "<="})
_ABOVE: Final = frozenset({">", ">="})


def _text(value: Any) -> str:
    """A string as it is; "" for anything else, which no valid resource has there."""
    return value if value.__class__ is str else ""


# --- token ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16384)
def _coding(system: Any, code: Any, text: Any) -> tuple[Token]:
    return (Token(_text(system), _text(code), _text(text)),)


@lru_cache(maxsize=4096)
def read_code(value: str) -> tuple[Token, ...]:
    """Read a code, a uri or a string as a token; its system is implied, not said."""
    return read_id(value)


def read_id(value: str) -> tuple[Token, ...]:
    """Read an id, of which there are too many to keep."""
    return (Token("", value),) if value.__class__ is str else ()


def read_boolean(value: bool) -> tuple[Token]:
    """Read a boolean."""
    return _TRUE if value else _FALSE


def read_coding(value: Json) -> tuple[Token, ...]:
    """Read a Coding."""
    return _coding(value.get("system"), value.get("code"), value.get("display"))


def read_concept(value: Json) -> tuple[Token, ...]:
    """Read a CodeableConcept: its codings; for :text, its text goes with the first of them too."""
    codings, text = value.get("coding"), _text(value.get("text"))
    if not codings:
        return (Token("", "", text),) if text else ()
    if len(codings) == 1:
        one = codings[0]
        found = _coding(one.get("system"), one.get("code"), one.get("display"))
        if not text or text == found[0].text:
            return found
        return (*found, Token(found[0].system, found[0].code, text))
    every = [_coding(one.get("system"), one.get("code"), one.get("display"))[0] for one in codings]
    if text and all(token.text != text for token in every):
        every.append(Token(every[0].system, every[0].code, text))
    return tuple(dict.fromkeys(every))


def read_identifier(value: Json) -> tuple[Token, ...]:
    """Read an Identifier, once for each coding of its type."""
    code = _text(value.get("value"))
    if not code:
        return ()
    system, type = _text(value.get("system")), value.get("type")
    if not type:
        return (Token(system, code),)
    text = _text(type.get("text"))
    kinds = [(_text(one.get("system")), _text(one.get("code"))) for one in type.get("coding", ()) if one.get("code")]
    return tuple(Token(system, code, text, kind) for kind in kinds) or (Token(system, code, text),)


def read_contact(value: Json) -> tuple[Token, ...]:
    """Read a ContactPoint; no system goes with it."""
    code = _text(value.get("value"))
    return (Token("", code),) if code else ()


# --- string, uri ------------------------------------------------------------------------------------------


def read_text(value: str) -> tuple[Text, ...]:
    """Read a string."""
    return (Text(value),) if value.__class__ is str else ()


def _texts(parts: list[str], whole: str, joined: str) -> tuple[Text, ...]:
    every = [part for part in (*parts, whole, joined) if part]
    return tuple(Text(part) for part in dict.fromkeys(every))


def _list(value: Json, key: str) -> list[str]:
    return [item for item in value.get(key, ()) if isinstance(item, str)]


def read_name(value: Json) -> tuple[Text, ...]:
    """Read a HumanName: each part, its text, and given and family names joined."""
    family, given = _text(value.get("family")), _list(value, "given")
    parts = [*_list(value, "prefix"), *given, family, *_list(value, "suffix")]
    return _texts(parts, _text(value.get("text")), " ".join(part for part in (*given, family) if part))


_PLACES: Final = ("city", "district", "state", "postalCode", "country")


def read_address(value: Json) -> tuple[Text, ...]:
    """Read an Address: each part, its text, and all parts joined."""
    parts = [*_list(value, "line"), *(_text(value.get(place)) for place in _PLACES)]
    return _texts(parts, _text(value.get("text")), " ".join(part for part in parts if part))


def read_uri(value: str) -> tuple[Uri, ...]:
    """Read a uri as it is written."""
    return (Uri(value),) if value.__class__ is str else ()


def read_versioned(value: str) -> tuple[Uri, ...]:
    """Read a canonical: as it is written, and without its version."""
    bare = value.split("|", 1)[0]
    return (Uri(value),) if bare == value else (Uri(value), Uri(bare))


# --- number, quantity, place ------------------------------------------------------------------------------


def _decimal(value: Any) -> Decimal | None:
    return Decimal(value) if isinstance(value, (int, Decimal)) and not isinstance(value, bool) else None


def read_number(value: int | Decimal) -> tuple[Number, ...]:
    """Read an integer or decimal."""
    number = _decimal(value)
    return () if number is None else (Number(number, number),)


def read_number_range(value: Json) -> tuple[Number, ...]:
    """Read a Range as a number; one that is open on a side is none."""
    low, high = (_decimal((value.get(side) or {}).get("value")) for side in ("low", "high"))
    return () if low is None or high is None else (Number(low, high),)


@lru_cache(maxsize=4096)
def _unit(system: Any, code: Any, unit: Any) -> tuple[str, str, str]:
    return _text(system), _text(code), _text(unit)


def read_quantity(value: Json) -> tuple[Quantity, ...]:
    """Read a Quantity; a comparator opens a side."""
    number = value.get("value")
    if number.__class__ is not Decimal:
        number = _decimal(number)
        if number is None:
            return ()
    low: Decimal | None = number
    high: Decimal | None = number
    comparator = value.get("comparator")
    if comparator is not None:
        if comparator in _BELOW:
            low = None
        elif comparator in _ABOVE:
            high = None
    return (Quantity(low, high, *_unit(value.get("system"), value.get("code"), value.get("unit"))),)


def read_money(value: Json) -> tuple[Quantity, ...]:
    """Read Money; its currency is the code."""
    number, currency = _decimal(value.get("value")), _text(value.get("currency"))
    return () if number is None else (Quantity(number, number, CURRENCIES if currency else "", currency, currency),)


def read_range(value: Json) -> tuple[Quantity, ...]:
    """Read a Range, open where it has no low or high; its unit is that of the side that says one."""
    low, high = value.get("low") or {}, value.get("high") or {}
    least, most = _decimal(low.get("value")), _decimal(high.get("value"))
    if least is None and most is None:
        return ()
    said = low if low.get("code") or low.get("unit") else high
    return (Quantity(least, most, *_unit(said.get("system"), said.get("code"), said.get("unit"))),)


def read_position(value: Json) -> tuple[Position, ...]:
    """Read Location.position."""
    latitude, longitude = _decimal(value.get("latitude")), _decimal(value.get("longitude"))
    if latitude is None or longitude is None:
        return ()
    return (Position(float(latitude), float(longitude)),)


# --- reference --------------------------------------------------------------------------------------------


def reference_parser(base_url: str) -> Callable[[str], Reference | None]:
    """Return what reads the text of a reference, under a server's base url; None of one to a contained resource."""
    own = base_url.rstrip("/") + "/" if base_url else "\0"

    @lru_cache(maxsize=16384)
    def parse(text: str) -> Reference | None:
        if not text or text.startswith("#"):
            return None
        relative = text.removeprefix(own)
        match = _LOCAL.fullmatch(relative)
        if match and match[1] in resource_types():
            return Reference(match[1], match[2], "", match[3] or "")
        url, _, version = text.partition("|")
        if "://" in text and "|" not in text:
            tail = _LOCAL.fullmatch("/".join(text.split("/_history/")[0].rsplit("/", 2)[-2:]))
            if tail and tail[1] in resource_types():
                return Reference(tail[1], "", text)
        return Reference("", "", url, version)

    return parse


def reference_reader(parse: Callable[[str], Reference | None]) -> Reader:
    """Return what reads a Reference."""

    def read(value: Json) -> tuple[Reference, ...]:
        text, said = value.get("reference"), value.get("identifier")
        found = parse(text) if text is not None else None
        if said is None:
            return () if found is None else (found,)
        tokens = read_identifier(said)
        identifier = Token(tokens[0].system, tokens[0].code) if tokens else None
        if found is not None:
            return (found._replace(identifier=identifier),)
        return () if identifier is None or text is not None else (_by_identifier(value, identifier),)

    return read


def _by_identifier(value: Json, identifier: Token) -> Reference:
    return Reference(_text(value.get("type")), "", identifier=identifier)


def _canonical_reader(parse: Callable[[str], Reference | None]) -> Reader:
    def read(value: str) -> tuple[Reference, ...]:
        found = parse(value)
        return () if found is None else (found,)

    return read


def _read_resource(value: Json) -> tuple[Reference, ...]:
    """A resource that stands in a Bundle is what the parameter refers to."""
    type, id = _text(value.get("resourceType")), _text(value.get("id"))
    return (Reference(type, id),) if type and id else ()


# --- by type ----------------------------------------------------------------------------------------------


class Readers:
    """Finds the reader for a kind of search parameter and a FHIR type.

    Args:
        zone: Of dates that name none.
        base_url: Of this server; a reference under it is a local one. "" when there is none.
    """

    def __init__(self, zone: tzinfo, base_url: str = "") -> None:
        parse = reference_parser(base_url)
        reference, canonical = reference_reader(parse), _canonical_reader(parse)
        moment, period, timing = (
            self._dated(zone, read) for read in (dates.read, dates.read_period, dates.read_timing)
        )
        self._readers: dict[tuple[str, str], Reader] = {
            **{("token", type): read_code for type in ("code", "uri", "canonical", "markdown", "string")},
            ("token", "id"): read_id,
            ("token", "boolean"): read_boolean,
            ("token", "Coding"): read_coding,
            ("token", "CodeableConcept"): read_concept,
            ("token", "Identifier"): read_identifier,
            ("token", "ContactPoint"): read_contact,
            **{("string", type): read_text for type in ("string", "markdown", "code", "uri", "id")},
            ("string", "HumanName"): read_name,
            ("string", "Address"): read_address,
            ("reference", "Reference"): reference,
            **{("reference", type): canonical for type in ("canonical", "uri", "url")},
            **{("date", type): moment for type in ("date", "dateTime", "instant")},
            ("date", "Period"): period,
            ("date", "Timing"): timing,
            **{("number", type): read_number for type in ("integer", "decimal", "positiveInt", "unsignedInt")},
            ("number", "Range"): read_number_range,
            ("quantity", "Quantity"): read_quantity,
            ("quantity", "Money"): read_money,
            ("quantity", "Range"): read_range,
            **{("uri", type): read_uri for type in ("uri", "url", "oid", "uuid")},
            ("uri", "canonical"): read_versioned,
            ("special", "Location.position"): read_position,
        }

    @staticmethod
    def _dated(zone: tzinfo, read: Callable[[Any, tzinfo], Period | None]) -> Reader:
        def dated(value: Any) -> tuple[Period, ...]:
            found = read(value, zone)
            return () if found is None else (found,)

        return dated

    def find(self, search_type: str, type: str) -> Reader | None:
        """Return the reader; None where values of this type are not searched in this way (SampledData as quantity)."""
        if type == "Extension":
            return self._extension(search_type)
        if search_type == "reference" and type in resource_types():
            return _read_resource
        for own in (type, *sorted(ancestors(type) - {type})):
            if (search_type, own) in self._readers and (own == type or own == "Quantity"):
                return self._readers[search_type, own]
        return None

    def _extension(self, search_type: str) -> Reader:
        """Read the value of an extension, by the type that its key says."""

        def read(value: Json) -> tuple[Value, ...]:
            for key, inner in value.items():
                type = suffixes().get(key[5:]) if key.startswith("value") else None
                reader = self.find(search_type, type) if type else None
                if reader is not None:
                    return reader(inner)
            return ()

        return read
