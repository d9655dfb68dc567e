"""The code systems that consent rules are written in, as far as a decision rests on them.

Source: HL7 FHIR R4 4.0.1 definitions (CC0): CodeSystems v3-ActReason, v3-ActCode, v3-Confidentiality,
consentaction, v3-ParticipationType, v3-RoleCode, v3-RoleClass, extra-security-role-type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

SCOPE: Final = ("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")
CATEGORY: Final = ("http://loinc.org", "59284-0")
POLICY: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ACTION: Final = "http://terminology.hl7.org/CodeSystem/consentaction"
PURPOSE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
SENSITIVITY: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
RESOURCE_TYPE: Final = "http://hl7.org/fhir/resource-types"
PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"

RANKS: Final = {code: rank for rank, code in enumerate("ULMNRV")}
"""Confidentiality in its order: unrestricted, low, moderate, normal, restricted, very restricted."""

NORMAL: Final = RANKS["N"]  # of what carries no confidentiality label

READING: Final = "access"  # the action that a read or a search is
WIDER_THAN_READING: Final = frozenset({"use", "disclose"})  # they may include it: a permit of them alone is not enough

RECIPIENTS: Final = frozenset(
    {
        (PARTICIPATION, "IRCP"),
        (PARTICIPATION, "PRCP"),
        ("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "GRANTEE"),
        ("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "DELEGATEE"),
        ("http://terminology.hl7.org/CodeSystem/v3-RoleClass", "PROV"),
        ("http://terminology.hl7.org/CodeSystem/extra-security-role-type", "humanuser"),
        ("http://terminology.hl7.org/CodeSystem/extra-security-role-type", "dataprocessor"),
    }
)
"""Roles in which an actor is who receives data; in another role (custodian, author ...) a rule is about others."""


class Coding(NamedTuple):
    """A code with its system; "" where one is missing."""

    system: str
    code: str

    @property
    def is_whole(self) -> bool:
        """Whether both are there: else it cannot be compared."""
        return bool(self.system and self.code)


def _tree(text: str) -> Mapping[str, str]:
    """Read lines `parent: child child` as child -> parent."""
    parents = {}
    for line in text.strip().splitlines():
        parent, _, children = line.partition(":")
        parents.update(dict.fromkeys(children.split(), parent.strip()))
    return parents


PURPOSES: Final = _tree(
    """
    HOPERAT: CAREMGT DONAT FRAUD GOV HACCRED HCOMPL HDECD HDIRECT HDM HLEGAL HOUTCOMS HPRGRP HQUALIMP HSYSADMIN
    HOPERAT: MEMADMIN MILCDM PATADMIN PATSFTY PERFMSR RECORDMGT SYSDEV TRAIN
    HSYSADMIN: LABELING METAMGT
    SYSDEV: HTEST
    HPAYMT: CLMATTCH COVAUTH COVERAGE REMITADV
    COVERAGE: ELIGDTRM ELIGVER ENROLLM MILDCRG
    HRESCH: BIORCH CLINTRCH DSRCH POARCH TRANSRCH
    CLINTRCH: CLINTRCHNPC CLINTRCHPC PRECLINTRCH
    PATRQT: FAMRQT PWATRNY SUPNWK
    PUBHLTH: DISASTER THREAT
    TREAT: CLINTRL COC ETREAT POPHLTH
    ETREAT: BTG ERTREAT
    """
)
"""Purposes of use below each other (v3-ActReason, `PurposeOfUse`)."""

SENSITIVITIES: Final = _tree(
    """
    SPI: BH MH PSY PSYTHPN SUD
    BH: COGN DVD EMOTDIS
    SUD: ETHUD OPIOIDUD
    """
)
"""Sensitivity labels below each other (v3-ActCode, `_ActInformationSensitivityPolicy`)."""

ALSO_COVERS: Final = {"ETH": frozenset({"SUD", "ETHUD", "OPIOIDUD"})}
"""ETH, the older word for the same matter, covers what SUD covers: R4's table does not say so, its definition does."""


def covers(parents: Mapping[str, str], wide: str, narrow: str) -> bool:
    """Whether `wide` is `narrow` or stands above it."""
    step: str | None = narrow
    while step is not None:
        if step == wide:
            return True
        step = parents.get(step)
    return False


def covers_label(wide: str, narrow: str) -> bool:
    """Whether a sensitivity label covers another."""
    return covers(SENSITIVITIES, wide, narrow) or narrow in ALSO_COVERS.get(wide, ())
