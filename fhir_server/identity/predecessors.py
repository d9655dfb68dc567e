"""Who was merged into a Patient: the same person under another id.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/patient.html#links
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fhir_server import gate
from fhir_server.errors import TooCostly
from fhir_server.model import Resource
from fhir_server.search.parameters import parameters_of
from fhir_server.search.query import Ask, Match, Query
from fhir_server.search.values import Reference
from fhir_server.store.protocol import View

MOST: Final = 200  # Patients merged into one
_PAGE: Final = 100


def replaced_by(patient: Resource, base_url: str) -> str:
    """Return the id of the Patient that replaced one; "" where none here did."""
    links = (link["other"].get("reference") for link in patient.get("link", ()) if link.get("type") == "replaced-by")
    text = next(links, None)
    type, _, id = (text if isinstance(text, str) else "").removeprefix(f"{base_url}/").partition("/")
    return id if type == "Patient" and "/" not in id else ""


async def merged_into(view: View, id: str, base_url: str) -> tuple[str, ...]:
    """Return the ids of the Patients that were merged into one, at once or by way of another.

    Args:
        view: The state; all of it is looked at.
        id: Of the Patient that stands.
        base_url: Of this server's FHIR root.

    Raises:
        TooCostly: They are more than anybody has.
    """
    people = [id]
    for person in people:  # which grows
        link = Match(parameters_of("Patient")["link"], (Ask(Reference("Patient", person)),))
        query = Query(("Patient",), (link,), count=_PAGE, total="none")
        while True:
            found = await view.search(query)
            here = [v.id for v in found.versions if replaced_by(gate.load(v.body), base_url) == person]
            people += [one for one in here if one not in people]
            if len(people) > MOST:
                raise TooCostly(f"More than {MOST} Patients were merged into this one.")
            if found.after is None:
                break
            query = replace(query, after=found.after)
    return tuple(people[1:])
