"""In what order lists stand that several fields feed: that of the fields, whichever message came first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.hl7.maps import french, pd1, pid, pv1, pv2
from adapters.hl7.maps.rows import Row
from fhir_server.model import Resource

PATIENT: Final[tuple[Row, ...]] = (*pid.PID_TO_PATIENT, *pd1.PD1_TO_PATIENT, *french.PATIENT_ROWS)
ENCOUNTER: Final[tuple[Row, ...]] = (*pv1.PV1_TO_ENCOUNTER, *pv2.PV2_TO_ENCOUNTER, *french.ENCOUNTER_ROWS)


def arranged(resource: Resource, rows: Sequence[Row]) -> Resource:
    """Return a resource with such lists in the order of the rows; what stems from no row goes first.

    Args:
        resource: Not changed.
        rows: All that feed resources of its type.
    """
    made = dict(resource)
    for name in {row.element for row in rows if row.owns is not None}:
        owners = [row.owns for row in rows if row.element == name and row.owns is not None]
        items = made.get(name)
        if isinstance(items, list) and len(items) > 1:
            made[name] = sorted(items, key=lambda item: next((n for n, owns in enumerate(owners) if owns(item)), -1))
    return made
