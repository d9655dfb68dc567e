"""People and places that a resource holds inside itself: a role with its organization, addresses and telecoms.

Used where a message says more of them than a reference can carry. Guide: HL7/v2-to-fhir at 8c9b414, rows
`requester(PractitionerRole.organization(Organization.address))` and their like; ours: contained, since such a role has
no number of its own by which it would be known again.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.hl7.datatypes import Json, missing_code

ROLES = "http://terminology.hl7.org/CodeSystem/v2-0912"


def organization(id: str, named: Json | None, addresses: Sequence[Json], telecoms: Sequence[Json]) -> Json | None:
    """Return an Organization made of the reference that names it and of its addresses; None where nothing is told."""
    made: Json = {"resourceType": "Organization", "id": id}
    if named and "identifier" in named:
        made["identifier"] = [named["identifier"]]
    if named and "display" in named:
        made["name"] = named["display"]
    elif "identifier" not in made:
        made |= {"_name": missing_code()}  # R4 asks for a name or a number
    if telecoms:
        made["telecom"] = [_not_home(one) for one in telecoms]
    if addresses:
        made["address"] = [_not_home(one) for one in addresses]
    return made if named or telecoms or addresses else None


def _not_home(one: Json) -> Json:
    """Return an address or telecom without the use home, which R4 forbids for an organization."""
    return {key: value for key, value in one.items() if (key, value) != ("use", "home")}


def practitioner(id: str, named: Json, addresses: Sequence[Json]) -> Json:
    """Return a Practitioner made of the reference that names them and of their addresses."""
    made: Json = {"resourceType": "Practitioner", "id": id}
    if "identifier" in named:
        made["identifier"] = [named["identifier"]]
    if "display" in named:
        made["name"] = [{"text": named["display"]}]
    return {**made, "address": list(addresses)} if addresses else made


def role(id: str, person: Json, place: Json | None, code: str = "") -> tuple[Json, Json]:
    """Return a PractitionerRole and the reference to it, which names the person too.

    Args:
        id: Of the role, inside the resource.
        person: A reference to the person; empty where none is named.
        place: The Organization, contained beside it.
        code: Its role, of table 0912; "" for none.
    """
    made: Json = {"resourceType": "PractitionerRole", "id": id}
    if person:
        made["practitioner"] = person
    if place:
        made["organization"] = {"reference": f"#{place['id']}"}
    if code:
        made["code"] = [{"coding": [{"system": ROLES, "code": code}]}]
    reference: Json = {"reference": f"#{id}"}
    return made, reference | {key: person[key] for key in ("identifier", "display") if key in person}
