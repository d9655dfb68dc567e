"""What French senders tell of a document in OBX rows of its own: whether it is masked, and where it is to go.

Rows whose OBX-3 is of the system `MetaDMPMSS` (CI-SIS, transmission of CDA documents in HL7 v2) are no results and no
content. Source: the public examples of that interface, its text was not checked; the codes of masking are those of
TRE_A07, as the national record's documents carry them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json
from adapters.hl7.maps import obx as obx_map
from adapters.hl7.maps.extensions import OWN
from adapters.hl7.position import Told

METADATA: Final = "MetaDMPMSS"
MASKING: Final = "urn:oid:1.2.250.1.213.1.1.4.13"
MASKS: Final = frozenset({"MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX"})
MEANS: Final = {"Y": True, "N": False}  # table 0136 and its French extension
TOLD: Final = OWN + "document-metadata"


class Flags(NamedTuple):
    """What such rows say."""

    labels: list[Json]  # of masking, as CodeableConcepts
    others: list[Json]  # the rest, as extensions
    speaks_of_masking: bool  # also where it says that nothing is masked


NOTHING: Final = Flags([], [], False)


def take_out(context: Context, rows: list[Told]) -> Flags:
    """Take the rows about a document out of those of its content or its results, and read them.

    A mask whose answer is neither yes nor no is kept as masked: nobody shall see more for a word that is not known.
    """
    found = [told for told in rows if METADATA in told.segment.raw(3) and told.segment.text(3, 3) == METADATA]
    if not found:
        return NOTHING
    labels, others, speaks = [], [], False
    for told in found:
        rows.remove(told)
        obx = told.segment
        context.take(obx, obx_map.USED)
        code, answer = obx.text(3).strip(), obx.text(5).strip()
        if code in MASKS:
            speaks = True
            if answer not in MEANS:
                context.note(obx, 5, "code-not-mapped", answer)
            if MEANS.get(answer, True):
                labels.append({"coding": [{"system": MASKING, "code": code}]})
        elif code and answer:
            inner = [{"url": "code", "valueString": code}, {"url": "value", "valueString": answer}]
            others.append({"url": TOLD, "extension": inner})
    return Flags(labels, others, speaks)
