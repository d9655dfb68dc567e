"""`$export` of the system, of all patients and of a group.

Source: Bulk Data Access 2.0, https://hl7.org/fhir/uv/bulkdata/STU2/export.html
"""

from __future__ import annotations

from typing import Final

from fhir_server import gate
from fhir_server.bulk.export import KIND, Export, check_patients, export_input, group_members
from fhir_server.bulk.request import read_request
from fhir_server.errors import Issue
from fhir_server.interactions.core import Hub
from fhir_server.interface import Answer, Operation, OperationCall
from fhir_server.outcome import outcome
from fhir_server.settings import Settings

_LEVELS: Final = (("", False, "export"), ("Patient", False, "patient-export"), ("Group", True, "group-export"))
_DOCUMENTATION: Final = (
    "Exports as NDJSON files what the caller may see, as a job (Prefer: respond-async): _type, _since, _typeFilter, "
    "_elements, patient (by POST) and _outputFormat narrow it."
)


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$export` on its three levels."""
    exporting = Exporting(hub)
    return tuple(
        Operation(
            name="export",
            type=type,
            instance=instance,
            methods=("GET", "POST"),
            needs="",
            run=exporting.run,
            documentation=_DOCUMENTATION,
            definition=f"http://hl7.org/fhir/uv/bulkdata/OperationDefinition/{definition}",
            is_job=True,
        )
        for type, instance, definition in _LEVELS
    )


class Exporting:
    """Answers `$export`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        hub.jobs.register(Export(hub).kind)

    async def run(self, call: OperationCall) -> Answer:
        """Start an export.

        Raises:
            BadRequest: The request cannot be read, or does not say Prefer: respond-async.
            NotFound: The Group, or a Patient that is named, is not there for the caller.
        """
        asked = read_request(call, self._hub.query, self._hub.types, self._hub.base_url)
        actor, members = call.actor, None
        if call.id:
            members = await group_members(self._hub, actor, call.id, request_id=call.request_id)
        await check_patients(self._hub, actor, asked.patients, members)
        scope = {"": "system", "Patient": "patient", "Group": "group"}[call.type]
        path = "/".join(part for part in (call.type, call.id, "$export") if part)
        url = f"{self._hub.base_url}/{path}" + (f"?{call.query}" if call.query else "")
        id = await self._hub.jobs.start(KIND, export_input(asked, group=call.id, scope=scope), actor, request=url)
        return kicked_off(self._hub, id)


def kicked_off(hub: Hub, id: str) -> Answer:
    """Return the answer to what started a job."""
    text = "The job is started; its Content-Location says where its state is to be had."
    body = gate.write(outcome([Issue("informational", text, severity="information")]))
    return Answer(202, body=body, headers={"Content-Location": f"{hub.base_url}/_jobs/{id}"})
