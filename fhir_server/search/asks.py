"""Values of a search as questions: one text and a parameter make one `Ask`.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#ptypes
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Final

from fhir_server.definitions import resource_types
from fhir_server.errors import BadParameter, TooCostly, UnknownParameter
from fhir_server.search.escape import split, unescape
from fhir_server.search.parameters import holds_media_types, implied_codes, placed_components
from fhir_server.search.prefix import date_ask, number_ask, quantity_ask
from fhir_server.search.query import Ask, Match, Parameter
from fhir_server.search.values import Composite, Position, Quantity, Reference, Text, Token, Uri
from fhir_server.ucum import convert

MOST_ALTERNATIVES: Final = 1_000
MAX_VALUE: Final = 2_000  # characters of one alternative
MAX_VALUES: Final = 100_000  # characters of all alternatives of a parameter

MODIFIERS: Final = {
    "string": frozenset({"exact", "contains"}),
    "token": frozenset({"not", "text", "of-type", "in", "not-in", "above", "below"}),
    "reference": frozenset({"identifier", "above", "below"}),
    "uri": frozenset({"above", "below"}),
}
"""Modifiers by parameter type, beside :missing (all but composite) and, on a reference, a type."""

NEAR_KM: Final = Decimal(50)
"""Reach of `near` without a distance: R4 leaves it to the server (https://hl7.org/fhir/R4/location.html#search)."""

_OF_BOOLEANS: Final = ("http://terminology.hl7.org/CodeSystem/special-values", "http://hl7.org/fhir/special-values")
"""The system that R4 says a boolean has, which none is stored with: https://hl7.org/fhir/R4/search.html#token"""

_PLAIN: Final = re.compile(r"-?[0-9]{1,7}(?:\.[0-9]{1,20})?")
_LOCAL: Final = re.compile(r"(?:([A-Z][A-Za-z]*)/)?([A-Za-z0-9.\-]{1,64})(?:/_history/([A-Za-z0-9.\-]{1,64}))?")
_HIERARCHY: Final = ("above", "below")
_VALUE_SET: Final = re.compile(r"ValueSet/[A-Za-z0-9.\-]{1,64}")
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")


class UnsupportedModifier(UnknownParameter):
    """A modifier that the parameter does not take; refused even where handling is lenient.

    Source: https://hl7.org/fhir/R4/search.html#modifiers: a server "SHALL reject any search request that
    contains is suffixed by a modifier that the server does not support for that parameter".
    """


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the values of parameters.

    Args:
        zone: Of a date or time that has none.
        now: Microseconds since 1970.
        base_url: Of this server, without a closing slash; absolute references below it are local ones.
    """

    zone: tzinfo
    now: int
    base_url: str = ""

    def match(self, name: str, parameter: Parameter, modifier: str, text: str) -> Match:
        """Read one parameter.

        Args:
            name: As it was sent, for error texts.
            parameter: Its definition.
            modifier: Without the colon; "" for none.
            text: Its value, percent-decoded.

        Raises:
            BadParameter: The value cannot be read.
            UnsupportedModifier: The parameter does not take the modifier.
            TooCostly: The value is beyond its bounds.
        """
        if modifier == "missing" and parameter.type != "composite":
            if text not in ("true", "false"):
                raise BadParameter(f"The parameter '{name}' takes true or false.")
            return Match(parameter, (), modifier, missing=text == "true")
        if modifier == "text" and parameter.type == "string":
            modifier = "contains"  # R4 has :text for tokens only; other servers take it on strings, and look inside
        typed = parameter.type == "reference" and modifier in (targets(parameter) or resource_types())
        if modifier and not typed and modifier not in MODIFIERS.get(parameter.type, ()):
            raise UnsupportedModifier(f"The parameter '{name}' has a modifier that is not supported.")
        asks = tuple(self.ask(name, parameter, modifier, part) for part in alternatives(name, text))
        return Match(parameter, asks, "" if typed else modifier)

    def ask(self, name: str, parameter: Parameter, modifier: str, text: str) -> Ask:
        """Read one alternative of a value, its escapes still in it."""
        if not text:
            raise BadParameter(f"The parameter '{name}' has an empty value.")
        match parameter.type:
            case "number":
                return number_ask(name, text)
            case "quantity":
                return quantity_ask(name, text)
            case "date":
                return date_ask(name, text, self.zone, self.now)
            case "string":
                return Ask(Text(_said(name, text)))
            case "uri":
                return uri_ask(name, modifier, unescape(text))
            case "token":
                if modifier in _HIERARCHY and holds_media_types(parameter):
                    return Ask(Token(None, unescape(split(text, "|")[-1])))  # of one system, which may be said
                return _implied(parameter, modifier, token_ask(name, modifier, text))
            case "reference":
                return (
                    token_ask(name, "", text)
                    if modifier == "identifier"
                    else self.reference_ask(name, parameter, "" if modifier in _HIERARCHY else modifier, text)
                )
            case "composite":
                return self.composite_ask(name, parameter, text)
            case _:
                return near_ask(name, parameter, text)

    def reference_ask(self, name: str, parameter: Parameter, modifier: str, text: str) -> Ask:
        """Read `id`, `Type/id`, either with `/_history/version`, or an absolute url or `urn:`.

        Source: https://hl7.org/fhir/R4/search.html#reference
        """
        whole = unescape(text)
        local = whole.removeprefix(self.base_url + "/") if self.base_url else whole
        if (found := _LOCAL.fullmatch(local)) is not None:
            type = found[1] or modifier or _only(targets(parameter))
            if (type and type not in resource_types()) or (modifier and type != modifier):
                raise BadParameter(f"The parameter '{name}' refers to a type that it cannot.")
            return Ask(Reference(type, found[2], version=found[3] or ""))
        if _ABSOLUTE.fullmatch(whole) is None or modifier:
            raise BadParameter(f"The parameter '{name}' takes an id, Type/id or an absolute url.")
        url, *version = split(text, "|", 1)
        return Ask(Reference("", "", unescape(url), unescape(version[0]) if version else ""))

    def composite_ask(self, name: str, parameter: Parameter, text: str) -> Ask:
        """Read values joined by `$`, one for each component.

        Source: https://hl7.org/fhir/R4/search.html#composite
        """
        texts = split(text, "$")
        if len(texts) != len(parameter.components):
            raise BadParameter(f"The parameter '{name}' takes {len(parameter.components)} values joined by $.")
        components = placed_components(parameter)
        parts = tuple(self.ask(name, part, "", t) for part, t in zip(components, texts, strict=True))
        if any(part.type == "token" for part in parameter.components):
            parts = tuple(replace(part, of_code=isinstance(part.value, Quantity)) for part in parts)
        return Ask(Composite(tuple(part.value for part in parts)), parts=parts)


def alternatives(name: str, text: str) -> list[str]:
    """Split a value at its commas, bounded."""
    if len(text) > MAX_VALUES:
        raise TooCostly(f"The value of '{name}' is longer than {MAX_VALUES} characters.")
    parts = split(text, ",")
    if len(parts) > MOST_ALTERNATIVES:
        raise TooCostly(f"The parameter '{name}' has more than {MOST_ALTERNATIVES} alternatives.")
    if any(len(part) > MAX_VALUE for part in parts):
        raise TooCostly(f"The value of '{name}' is longer than {MAX_VALUE} characters.")
    return parts


def targets(parameter: Parameter) -> tuple[str, ...]:
    """Return the types that a reference parameter may point to; empty for any."""
    return () if "Resource" in parameter.targets else parameter.targets


def token_ask(name: str, modifier: str, text: str) -> Ask:
    """Read `code`, `system|code`, `|code` or `system|`; with :text a string, with :of-type three parts.

    With :in and :not-in it is a value set; :above and :below take system|code, since systems have the hierarchies.

    Source: https://hl7.org/fhir/R4/search.html#token
    """
    if modifier == "text":
        return Ask(Text(_said(name, text)))
    if modifier in ("in", "not-in"):
        return Ask(Uri(value_set(name, unescape(text))))
    parts = [unescape(part) for part in split(text, "|")]
    if modifier == "of-type":
        if len(parts) != 3 or not all(parts):
            raise BadParameter(f"The parameter '{name}' takes system|code|value.")
        return Ask(Token(None, parts[2], kind=(parts[0], parts[1])))
    if modifier in _HIERARCHY and not (len(parts) == 2 and all(parts)):
        raise BadParameter(f"The parameter '{name}' takes system|code.")
    if len(parts) == 1:
        return Ask(Token(None, parts[0]))
    if len(parts) > 2:
        raise BadParameter(
            f"The parameter '{name}' takes code, system|code, |code or system|; a | in it is written \\|."
        )
    system, code = parts
    if not system and not code:
        raise BadParameter(f"The parameter '{name}' takes code, system|code, |code or system|.")
    return Ask(Token(system, code or None))


def _implied(parameter: Parameter, modifier: str, ask: Ask) -> Ask:
    """Take the system out of a question where the elements that it goes to hold codes alone, of just that system."""
    token = ask.value
    if modifier not in ("", "not") or not isinstance(token, Token) or not token.system:
        return ask
    implied = implied_codes(parameter)
    if token.code is None:
        is_implied = {system for system, _ in implied} == {token.system}
    else:
        is_boolean = token.system in _OF_BOOLEANS and token.code in ("true", "false")
        is_implied = is_boolean or (token.system, token.code) in implied
    return replace(ask, value=token._replace(system="")) if is_implied else ask


def value_set(name: str, text: str) -> str:
    """Read what names a value set: a canonical url, or `ValueSet/id` of this server.

    Source: https://hl7.org/fhir/R4/search.html#token
    """
    if _ABSOLUTE.fullmatch(text) is None and _VALUE_SET.fullmatch(text) is None:
        raise BadParameter(f"The parameter '{name}' takes the url of a value set, or ValueSet/id.")
    return text


def uri_ask(name: str, modifier: str, text: str) -> Ask:
    """Read a uri; :above and :below "only apply to URLs, and not URNS such as OIDs".

    Source: https://hl7.org/fhir/R4/search.html#uri
    """
    if modifier and "://" not in text:
        raise BadParameter(f"The parameter '{name}' takes a URL.")
    return Ask(Uri(text))


def near_ask(name: str, parameter: Parameter, text: str) -> Ask:
    """Read `latitude|longitude|distance|units`, the last two optional.

    The unit is one of length, in UCUM; without one R4 assumes km.
    Source: https://hl7.org/fhir/R4/location.html#search
    """
    if parameter.code != "near":
        raise UnknownParameter(f"The parameter '{name}' is not supported.")
    parts = [unescape(part) for part in split(text, "|")]
    latitude, longitude, distance, unit = (*parts, "", "", "", "")[:4]
    plain = all(_PLAIN.fullmatch(part) for part in (latitude, longitude, distance or "0"))
    if not plain or len(parts) > 4:
        raise BadParameter(f"The parameter '{name}' takes latitude|longitude|distance|units.")
    km = convert(Decimal(distance), unit or "km", "km") if distance else Fraction(NEAR_KM)
    if km is None:
        raise BadParameter(f"The units of the parameter '{name}' are a length in UCUM, such as km, m or [mi_i].")
    if abs(Decimal(latitude)) > 90 or abs(Decimal(longitude)) > 180 or km < 0:
        raise BadParameter(f"The parameter '{name}' takes latitude|longitude|distance|units.")
    reach = Decimal(km.numerator) / Decimal(km.denominator)
    return Ask(Position(float(latitude), float(longitude)), exact=reach)


def _said(name: str, text: str) -> str:
    """Return a string without its escapes; blanks alone are the start of every text, and ask for nothing."""
    said = unescape(text)
    if not said.strip():
        raise BadParameter(f"The parameter '{name}' has an empty value.")
    return said


def _only(types: tuple[str, ...]) -> str:
    return types[0] if len(types) == 1 else ""
