"""Names and OIDs of code systems that all know, to those of FHIR.

Source: HL7 table 0396 (coding systems), https://hl7.org/fhir/R4/terminologies-systems.html; ours: spellings.
"""

from __future__ import annotations

import re
from typing import Final

CODE_SYSTEMS: Final = {
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    "SNM": "http://snomed.info/sct",
    "UCUM": "http://unitsofmeasure.org",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "I9C": "http://hl7.org/fhir/sid/icd-9-cm",
    "I10C": "http://hl7.org/fhir/sid/icd-10-cm",
    "CIM10": "http://hl7.org/fhir/sid/icd-10",
    "CVX": "http://hl7.org/fhir/sid/cvx",
    "NDC": "http://hl7.org/fhir/sid/ndc",
    "ATC": "http://www.whocc.no/atc",
    "RXNORM": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "C4": "http://www.ama-assn.org/go/cpt",
    "MDC": "urn:iso:std:iso:11073:10101",
    "ISO3166_1": "urn:iso:std:iso:3166",
}
"""Name in a message -> system in FHIR."""

KNOWN: Final = frozenset(CODE_SYSTEMS.values())

_OIDS: Final = {
    "2.16.840.1.113883.6.1": "LN", "2.16.840.1.113883.6.96": "SCT", "2.16.840.1.113883.6.8": "UCUM",
    "2.16.840.1.113883.6.3": "I10", "2.16.840.1.113883.6.90": "I10C", "2.16.840.1.113883.12.292": "CVX",
    "2.16.840.1.113883.6.69": "NDC", "2.16.840.1.113883.6.73": "ATC", "2.16.840.1.113883.6.88": "RXNORM",
    "2.16.840.1.113883.6.12": "C4", "2.16.840.1.113883.6.24": "MDC",
}  # fmt: skip

OIDS: Final = {oid: CODE_SYSTEMS[name] for oid, name in _OIDS.items()}
"""OID -> system in FHIR, which is written in its place."""

_SPELLINGS: Final = {"LOINC": "LN", "SNOMED": "SCT", "SNOMEDCT": "SCT", "ICD10": "I10", "CIM10": "I10"}


def spelt(name: str) -> str:
    """Return the system of a name that is written out (`LOINC`, `SNOMED-CT`, `CIM-10`), "" where it is none of them.

    Ours: such names are no codes of table 0396, but stand for nothing else; the sender's own systems begin with 99.
    """
    found = _SPELLINGS.get(re.sub(r"[ _-]", "", name).upper(), "")
    return CODE_SYSTEMS[found] if found else ""
