"""`$reindex` of the system, of a type and of an instance: index values anew, as a job or at once.

R4 defines no such operation; other servers have it under this name.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import BadParameter, Forbidden, Issue, NotFound
from fhir_server.indexing.reindex import Reindexing, State, decode, encode
from fhir_server.indexing.room import KIND
from fhir_server.interactions.core import Hub
from fhir_server.interface import Answer, Operation, OperationCall, OperationParameter
from fhir_server.jobs import JobContext, Kind
from fhir_server.operations.inputs import names, read_inputs, texts
from fhir_server.outcome import outcome
from fhir_server.settings import Settings

_JOB = (
    "Indexes resources anew, as a job whose Content-Location says how far it is; the parameter 'type' narrows it and "
    "may repeat. New search parameters answer when it has ended. For the operator."
)
_ONE = "Indexes one resource anew, at once. For the operator."

_TYPE: Final = OperationParameter("type", "code", "Of the system: types of resources; all without it.", most="*")
_DONE: Final = (
    OperationParameter("resources", "integer", "How many were indexed; of a job, when it has ended.", "out", 1),
)


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$reindex` on its three levels, and make its job known."""
    running = Running(hub)
    hub.jobs.register(Kind(KIND, running.job))
    levels = (("", False), ("*", False), ("*", True))
    return tuple(
        Operation(
            name="reindex",
            type=type,
            instance=instance,
            methods=("POST",),
            needs="u",
            run=running.one if instance else running.start,
            documentation=_ONE if instance else _JOB,
            is_job=not instance,
            parameters=_DONE if type else (_TYPE, *_DONE),
        )
        for type, instance in levels
    )


class Running:
    """Answers `$reindex`, and does the work of its job."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._work = Reindexing(hub.store, hub.index, hub.registry, hub.definitions, hub.types)

    async def start(self, call: OperationCall) -> Answer:
        """Start a job over a type, some types or everything."""
        _check_operator(call)
        inputs = read_inputs(call, () if call.type else names([_TYPE]))
        types = [call.type] if call.type else [word for value in texts(inputs, "type") for word in value.split(",")]
        if not set(types) <= self._hub.types:
            raise BadParameter("The parameter 'type' names resource types of R4.")
        path = f"{call.type}/$reindex" if call.type else "$reindex"
        id = await self._hub.jobs.start(KIND, {"types": types}, call.actor, request=f"{self._hub.base_url}/{path}")
        self._hub.audit(call.actor, "E", "reindex", call.type, (), 0, call.request_id)
        text = "Indexing is started; its Content-Location says how far it is."
        body = gate.write(outcome([Issue("informational", text, severity="information")]))
        return Answer(202, body=body, headers={"Content-Location": f"{self._hub.base_url}/_jobs/{id}"})

    async def one(self, call: OperationCall) -> Answer:
        """Index one resource anew."""
        _check_operator(call)
        read_inputs(call, set())
        async with self._hub.store.view(call.actor.tenant) as view:
            version = await view.read(call.type, call.id)
        if version is None or version.is_deleted:
            raise NotFound("There is no such resource.")
        await self._work.write(call.actor.tenant, [version])
        self._hub.audit(call.actor, "E", "reindex", version.reference, version.owners, 0, call.request_id)
        return Answer(200, resource=_counted(1))

    async def job(self, context: JobContext) -> None:
        """Work on a job, from its last checkpoint."""
        if context.state:
            await self._hub.definitions.load()
            state = decode(context.state)
        else:
            state = await self._work.begin(context.input["types"])
        await self._wait(state)
        while await self._work.step(state):
            await context.checkpoint(encode(state), state.done, max(state.total, state.done))
        await self._work.end(state)
        context.result = _counted(state.done)

    async def _wait(self, state: State) -> None:
        """Wait until every process indexes what it writes by the new definitions."""
        if (left := state.not_before - self._hub.now()) > 0:
            await asyncio.sleep(left / 1_000_000)


def _check_operator(call: OperationCall) -> None:
    if not call.actor.is_operator:
        raise Forbidden("Indexing is the operator's.")


def _counted(number: int) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "resources", "valueInteger": number}]}
