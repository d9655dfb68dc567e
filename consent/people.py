"""What people and organisations are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from consent.provisions import local
from fhir_server.interface import Asking


async def names_of_all(asking: Asking, references: Iterable[str]) -> dict[str, str]:
    """Return what each of these is called; the reference itself where nothing says it."""
    return {reference: await _name(asking, reference) or reference for reference in set(references) if reference}


async def _name(asking: Asking, reference: str) -> str:
    resource = await asking.resource(reference)
    if resource is None:
        return ""
    if resource["resourceType"] == "PractitionerRole":
        practitioner = await asking.resource(local(resource.get("practitioner")) or "Practitioner/-")
        organization = await asking.resource(local(resource.get("organization")) or "Organization/-")
        return ", ".join(name for one in (practitioner, organization) if one and (name := name_in(one)))
    return name_in(resource)


def name_in(resource: Mapping[str, Any]) -> str:
    """Return the name that a resource carries: `Organization.name`, or a HumanName in reading order; "" for none."""
    name = resource.get("name", "")
    if isinstance(name, str):
        return name
    chosen = next((one for one in name if one.get("use") in ("official", "usual")), name[0] if name else {})
    parts = [*chosen.get("prefix", ()), *chosen.get("given", ()), chosen.get("family", "")]
    return chosen.get("text") or " ".join(part for part in parts if part)
