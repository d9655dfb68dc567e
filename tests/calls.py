"""Operations called without HTTP: a hub over a memory store, composed as the program composes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

from fhir_server import gate
from fhir_server.app import Composed, opened
from fhir_server.interface import Answer, OperationCall
from fhir_server.model import Actor, Entry, Resource
from fhir_server.security.scopes import ALL
from fhir_server.settings import Settings

OPERATOR = Actor("default", "tester", ALL)


@asynccontextmanager
async def memory_hub() -> AsyncIterator[Composed]:
    """Give a hub over an empty memory store, dates in UTC."""
    async with opened(Settings(store="memory:", zone="UTC")) as composed:
        yield composed


async def put(composed: Composed, resources: Sequence[Resource], actor: Actor = OPERATOR) -> None:
    """Store resources under the ids that they have, in their order, in one transaction."""
    entries = [Entry("PUT", f"{resource['resourceType']}/{resource['id']}", resource) for resource in resources]
    await composed.hub.submit(entries, actor=actor, enrich=False)


async def call(composed: Composed, path: str, *, actor: Actor = OPERATOR, body: Resource | None = None) -> Answer:
    """Call an operation by its path, e.g. `Observation/$lastn?patient=1&code=x`."""
    place, _, query = path.partition("?")
    *segments, name = place.split("/")
    type, id = segments[0] if segments else "", segments[1] if len(segments) > 1 else ""
    parameters: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        parameters.setdefault(key, []).append(value)
    levels = (type, "*") if type else ("",)
    operation = next(
        o for o in composed.hub.operations if (o.name, o.instance) == (name[1:], bool(id)) and o.type in levels
    )
    method = "GET" if body is None else "POST"
    return await operation.run(OperationCall(actor, type, id, method, parameters, body, "", "en"))


def answered(answer: Answer) -> Any:
    """Return the JSON of an answer, decimals as they were written."""
    return gate.load(gate.write(answer.resource) if answer.resource is not None else answer.body)
