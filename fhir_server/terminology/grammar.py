"""Code systems whose codes a grammar decides: languages, media types, units; countries and currencies in part.

Sources: https://www.rfc-editor.org/rfc/rfc5646#section-2.1 (languages), https://www.rfc-editor.org/rfc/rfc6838#section-4.2
(media types), https://ucum.org/ucum (units), https://hl7.org/fhir/R4/terminologies-systems.html (which systems).
"""

from __future__ import annotations

import re
from typing import Final

from fhir_server.ucum import canonical, scale
from fhir_server.ucum.atoms import table
from fhir_server.ucum.expression import Power, parse

LANGUAGES: Final = "urn:ietf:bcp:47"
MEDIA_TYPES: Final = "urn:ietf:bcp:13"
UCUM: Final = "http://unitsofmeasure.org"
COUNTRIES: Final = "urn:iso:std:iso:3166"
SUBDIVISIONS: Final = "urn:iso:std:iso:3166:-2"
CURRENCIES: Final = "urn:iso:std:iso:4217"

# No language subtag of four to eight letters is registered, so none is taken here.
_LANGUAGE: Final = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"
    r"(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?|x(?:-[a-z0-9]{1,8})+"
    r"|i-(?:ami|bnn|default|enochian|hak|klingon|lux|mingo|navajo|pwn|tao|tay|tsu))",
    re.IGNORECASE,
)
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+\-]{0,126}"
_MEDIA_TYPE: Final = re.compile(rf"{_NAME}/{_NAME}(?: ?; ?{_NAME}=(?:{_NAME}|\"[^\"\\]{{0,200}}\"))*")
_COUNTRY: Final = re.compile(r"[A-Z]{2,3}|[0-9]{3}")
_SUBDIVISION: Final = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_MOST: Final = 300  # characters of a code


def has(system: str, code: str) -> bool | None:
    """Return whether a grammar says that the code is one of the system.

    None: no grammar is known, or it only says that the code could be one (countries, currencies).
    """
    if len(code) > _MOST:
        return False if system in GRAMMARS else None
    if system == LANGUAGES:
        return _LANGUAGE.fullmatch(code) is not None
    if system == MEDIA_TYPES:
        return _MEDIA_TYPE.fullmatch(code) is not None
    if system == UCUM:
        return is_unit(code)
    pattern = {COUNTRIES: _COUNTRY, SUBDIVISIONS: _SUBDIVISION, CURRENCIES: _CURRENCY}.get(system)
    return False if pattern is not None and pattern.fullmatch(code) is None else None


GRAMMARS: Final = frozenset({LANGUAGES, MEDIA_TYPES, UCUM, COUNTRIES, SUBDIVISIONS, CURRENCIES})
"""The systems that this module knows."""


def is_unit(code: str) -> bool:
    """Whether a code is a unit of UCUM; the special ones, such as [pH] and dB, among them."""
    if scale(code) is not None:
        return True
    expression = parse(code)
    if not isinstance(expression, Power) or expression.exponent != 1:
        return False
    known, symbol = table(), expression.symbol
    if symbol in known.atoms:
        return True
    rests = (symbol[len(prefix) :] for prefix in known.prefixes if symbol.startswith(prefix))
    return any(rest in known.atoms and known.atoms[rest].is_metric for rest in rests)


def is_same_kind(code: str, other: str) -> bool | None:
    """Whether two units of UCUM measure the same: R4's value sets of units ask for it by the property `canonical`.

    Source: https://hl7.org/fhir/R4/ucum.html. None where a unit stands on no ratio scale.
    """
    one, two = canonical(code), canonical(other)
    return None if one is None or two is None else one.dimension == two.dimension
