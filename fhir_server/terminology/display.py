"""Which text of a concept is shown: by the language asked for.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/valueset-operation-expand.html (displayLanguage); languages are matched
by RFC 4647 §3.4 (lookup), https://www.rfc-editor.org/rfc/rfc4647
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from fhir_server.terminology.codesystem import Designation

DISPLAY: Final = "display"  # of http://terminology.hl7.org/CodeSystem/designation-usage
_MOST: Final = 20  # languages that are asked for


def wanted(text: str) -> tuple[str, ...]:
    """Return the languages of a displayLanguage (`fr`, `fr-FR, en;q=0.5`), the best first, in lower case."""
    found = []
    for number, part in enumerate(text.split(",")[:_MOST]):
        tag, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            quality = 0.0
        if tag and tag != "*" and quality > 0:
            found.append((-quality, number, tag.strip().lower()))
    return tuple(tag for _, _, tag in sorted(found))


def is_of(language: str, asked: str) -> bool:
    """Whether a text's language serves one that is asked for: fr-CA serves fr, and fr serves fr-CA."""
    one, other = language.lower(), asked.lower()
    return one == other or one.startswith(f"{other}-") or other.startswith(f"{one}-")


def best(display: str, own_language: str, designations: Sequence[Designation], languages: Iterable[str]) -> str:
    """Return the text to show: the first language that there is a text in, else the concept's own display."""
    for asked in languages:
        fitting = [d for d in designations if d.language and is_of(d.language, asked)]
        exact = [d for d in fitting if d.language.lower() == asked]
        for found in (exact, fitting):
            if found:
                return min(found, key=_distance).value
        if own_language and is_of(own_language, asked):
            return display
    return display


def _distance(designation: Designation) -> int:
    """How far a designation is from being the display."""
    if designation.use is None:
        return 1
    return 0 if designation.use.get("code") == DISPLAY else 2
