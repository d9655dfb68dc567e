"""The French national health identity (INS), and when it says for sure who somebody is.

Source: FR Core, profile PatientINS and extension identity-reliability, https://hl7.fr/ig/fhir/core/ ; the rules of
identity vigilance (RNIV) let an identity be used without further proof only once it is qualified.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fhir_server.model import Resource

SYSTEMS: Final = frozenset(f"urn:oid:1.2.250.1.213.1.4.{n}" for n in (8, 9, 10, 11))
"""NIR, NIA, and the numbers for tests and demonstrations."""

_QUALIFIED: Final = frozenset({"VALI", "QUAL"})  # an INS with a validated identity is what later versions call QUAL
_RELIABILITY: Final = "fr-core-identity-reliability"


def ins_of(patient: Resource) -> Iterator[tuple[str, str]]:
    """Yield (system, value) of each INS of a Patient that is in force."""
    for identifier in patient.get("identifier", ()):
        system, value = identifier.get("system", ""), identifier.get("value", "")
        if system in SYSTEMS and value and identifier.get("use") != "old":
            yield system, "".join(value.split())


def is_qualified(patient: Resource) -> bool:
    """Whether the Patient says that its identity is validated, which with an INS means qualified."""
    for extension in patient.get("extension", ()):
        if extension.get("url", "").endswith(_RELIABILITY):
            return any(code in _QUALIFIED for code in _codes(extension))
    return False


def _codes(extension: dict[str, Any]) -> Iterator[str]:
    for part in extension.get("extension", ()):
        if part.get("url") == "identityStatus":
            yield part.get("valueCoding", {}).get("code", "")
            yield part.get("valueCode", "")
            for coding in part.get("valueCodeableConcept", {}).get("coding", ()):
                yield coding.get("code", "")
