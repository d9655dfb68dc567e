"""Code tables: the guide's rows from tables.json, and our decisions where it has none.

`tables.json` is made by `python -m tools.v2_tables` from HL7/v2-to-fhir at commit 8c9b414 (Apache 2.0).
`DECISIONS` fills what the guide leaves blank and replaces what a FHIR element cannot hold; each is a
design choice of this project, not a statement of HL7.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

STATUS = "http://hl7.org/fhir/observation-status"
REPORT_STATUS = "http://hl7.org/fhir/diagnostic-report-status"
NAME_USE = "http://hl7.org/fhir/name-use"
CONTACT_USE = "http://hl7.org/fhir/contact-point-use"
CONTACT_SYSTEM = "http://hl7.org/fhir/contact-point-system"
ENCOUNTER_STATUS = "http://hl7.org/fhir/encounter-status"
TABLE_0078 = "http://terminology.hl7.org/CodeSystem/v2-0078"


class Target(NamedTuple):
    """What a v2 code becomes."""

    code: str
    display: str
    system: str


def _same(system: str, **rows: str) -> dict[str, Target]:
    return {source: Target(code, "", system) for source, code in rows.items()}


DECISIONS: Mapping[str, Mapping[str, Target]] = {
    # Table 0085: the guide leaves B I N O R S U V blank. V and U are final: verified, without change of value.
    "ObservationResultStatusCodesInterpretation": _same(
        STATUS, B="amended", I="registered", N="unknown", O="registered", R="preliminary", S="preliminary",
        U="final", V="final",
    ),
    # Table 0123: the guide leaves A M N blank; Y and Z say that nothing was found: no report.
    "ResultStatus[Non-Queries]": _same(REPORT_STATUS, A="partial", M="preliminary", N="registered"),
    # Table 0200: assigned names and pseudonyms are no legal names; NOUSE is a name of before.
    "NameType": _same(NAME_USE, A="anonymous", NOUSE="old", S="anonymous"),
    # Table 0201: PRS is a mobile phone's number by the guide; a vacation number is at home there.
    "TelecommunicationUseCode": _same(CONTACT_USE, ORN="temp", VHN="home", EMR="temp"),
    # Table 0202: the guide makes CP "mobile", which is a use and no system.
    "TelecommunicationEquipmentType": _same(CONTACT_SYSTEM, CP="phone"),
    # A04 is in-progress unless the patient's class is P: the guide's event map and its PV1 map differ here.
    "Event[EncounterStatus]": _same(ENCOUNTER_STATUS, A04="in-progress"),
    # Codes of table 0078 that v3-ObservationInterpretation no longer has keep their own system.
    "InterpretationCodes": {
        code: Target(code, "", TABLE_0078) for code in ("AC", "HM", "OBX", "QCF", "TOX", "MS", "VS")
    },
}  # fmt: skip


@cache
def _file() -> Any:
    return json.loads(files("adapters.hl7.maps").joinpath("tables.json").read_text("utf-8"))


@cache
def table(name: str) -> Mapping[str, Target]:
    """Return one table by its name in the guide; KeyError where there is none."""
    rows = {source: Target(*cells) for source, cells in _file()["tables"][name].items()}
    return {**rows, **DECISIONS.get(name, {})}


@cache
def structures() -> Mapping[str, str]:
    """Return message structures by type and trigger: `ADT^A04` -> `ADT_A01` (table 0354)."""
    found: dict[str, str] = _file()["structures"]
    return found
