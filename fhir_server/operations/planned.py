"""What would refuse a write beside R4 and profiles, asked while the write is only planned (`$validate`).

Rooms check what they know of (subscriptions, alerts), and active SearchParameters must be such as the hub can index by.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/resource-operation-validate.html (modes)
"""

from __future__ import annotations

from typing import Final

from fhir_server import gate
from fhir_server.errors import FhirError, Gone, Issue, NotFound
from fhir_server.interactions.asking import RoomView
from fhir_server.interactions.core import Hub
from fhir_server.interface import OperationCall
from fhir_server.model import Change, Resource, Version

METHODS: Final = {"create": "POST", "update": "PUT", "delete": "DELETE"}
"""By mode; `profile` plans no write, nor does a call without mode, which asks for the content alone."""


async def refusals(hub: Hub, call: OperationCall, resource: Resource, mode: str) -> list[Issue]:
    """Return what a write would be refused for, in the state of now.

    Args:
        hub: Whose rooms are asked.
        call: By whom, and of which instance.
        resource: Valid by R4; for a deletion the stored one.
        mode: Of the call.
    """
    type = str(resource["resourceType"])
    checks = [check for check in hub.checks if type in check.types]
    if mode not in METHODS or not (checks or type == "SearchParameter"):
        return []
    version = Version(type, call.id or str(resource.get("id", "")), 0, hub.now(), METHODS[mode], b"")
    change = Change(version, resource, await _before(hub, call, mode))
    found: list[Issue] = []
    async with hub.store.view(call.actor.tenant) as view:
        for check in checks:
            try:
                await check.run(RoomView(view, hub.query), change, call.actor)
            except FhirError as error:
                found += error.issues
        if type == "SearchParameter" and mode != "delete":
            try:
                await hub.definitions.foresee(view, version.id, resource, call.actor)
            except FhirError as error:
                found += error.issues
    return found


async def _before(hub: Hub, call: OperationCall, mode: str) -> Resource | None:
    """Return the stored resource that the write would follow, None where there is none for the caller."""
    if not call.id or mode == "create":
        return None
    try:
        version = await hub.read_one(call.type, call.id, actor=call.actor, request_id=call.request_id)
    except (NotFound, Gone):
        return None
    return gate.load(version.body)
