"""`$import`: NDJSON into the store, as a job.

Source: the bulk import proposal of SMART, https://github.com/smart-on-fhir/bulk-import
"""

from __future__ import annotations

from typing import Any, Final

from fhir_server.bulk.import_ import KIND, Import
from fhir_server.bulk.sources import is_ndjson, read_manifest
from fhir_server.errors import BadParameter, Forbidden
from fhir_server.interactions.core import Hub
from fhir_server.interactions.steps import forbidden
from fhir_server.interface import Answer, Operation, OperationCall, OperationParameter
from fhir_server.operations.export import kicked_off
from fhir_server.settings import Settings
from fhir_server.subscriptions.outbound import Outbound

_DOCUMENTATION: Final = (
    "Stores NDJSON, as a job: the lines as the body (application/fhir+ndjson), or a manifest that names https inputs. "
    "Resources keep their ids; equal ones make no version; lines that are not valid are told in a file of errors. "
    "What is imported is history: triage looks at it only where triage=true."
)

_PARAMETERS: Final = (
    OperationParameter("triage", "boolean", "Whether triage looks at what is imported; in the query of the request."),
    OperationParameter("inputFormat", "code", "application/fhir+ndjson"),
    OperationParameter("inputSource", "uri", "Where it comes from; it is not looked at."),
    OperationParameter(
        "storageDetail", "", "How files are fetched.", parts=(OperationParameter("type", "code", "https"),)
    ),
    OperationParameter(
        "input",
        "",
        "A file that is fetched, where the lines are not the body.",
        most="*",
        parts=(
            OperationParameter("url", "url", "An https url of NDJSON.", least=1),
            OperationParameter("type", "code", "The type of its resources."),
        ),
    ),
)


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$import`."""
    importing = Importing(hub, settings)
    return (
        Operation(
            name="import",
            type="",
            instance=False,
            methods=("POST",),
            needs="u",
            run=importing.run,
            documentation=_DOCUMENTATION,
            takes_any_body=True,
            takes_stream=True,
            is_job=True,
            parameters=_PARAMETERS,
        ),
    )


class Importing:
    """Answers `$import`."""

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self._hub = hub
        self._outbound = Outbound(settings.outbound_allow)
        hub.jobs.register(Import(hub, self._outbound, settings).kind)

    async def run(self, call: OperationCall) -> Answer:
        """Start an import.

        Raises:
            Forbidden: The caller is not the operator.
            BadRequest: There is nothing to import, or an input may not be called.
        """
        if not call.actor.is_operator:
            raise Forbidden("An import is for the operator: it writes into every record.")
        if not call.actor.may("c", "*"):
            raise forbidden()
        triage = _flag(call)
        if call.parts is not None:
            asked: dict[str, Any] = {"urls": [], "triage": triage}
            return await self._start(call, asked)
        if is_ndjson(call.content_type):
            raise BadParameter("The body is empty.")
        asked = read_manifest(call)
        for number, url in enumerate(asked["urls"]):
            self._outbound.check(url, f"input[{number}].url")
        return await self._start(call, asked | {"triage": asked["triage"] or triage})

    async def _start(self, call: OperationCall, asked: dict[str, Any]) -> Answer:
        url = f"{self._hub.base_url}/$import"
        id = await self._hub.jobs.start(KIND, asked, call.actor, payload=call.parts, request=url)
        return kicked_off(self._hub, id)


def _flag(call: OperationCall) -> bool:
    strange = sorted(set(call.parameters) - {"triage", "_format", "_pretty"})
    if strange:
        raise BadParameter(f"An import has no parameter {strange[0][:60]!a}.")
    values = call.parameters.get("triage", ["false"])
    if list(values) not in (["true"], ["false"]):
        raise BadParameter("triage is true or false.")
    return values[0] == "true"
