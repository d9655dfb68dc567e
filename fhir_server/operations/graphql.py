"""`$graphql`: a query in GraphQL over the system or one resource.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/graphql.html and
https://hl7.org/fhir/R4/resource-operation-graphql.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from fhir_server import gate
from fhir_server.errors import FhirError
from fhir_server.graphql import QueryError, read
from fhir_server.graphql.checking import check
from fhir_server.graphql.execution import Item, execute
from fhir_server.graphql.fields import SYSTEM
from fhir_server.graphql.loading import Loader
from fhir_server.graphql.parser import operation_of
from fhir_server.graphql.variables import coerced
from fhir_server.interactions.core import Hub
from fhir_server.interface import Answer, Operation, OperationCall
from fhir_server.operations.inputs import COMMON
from fhir_server.settings import Settings

JSON: Final = "application/json"
# In the URL: those of https://graphql.github.io/graphql-over-http/draft/#sec-Request-Parameters
_PARAMETERS: Final = frozenset({"query", "operationName", "variables", "extensions"})


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$graphql` on the system and on each instance."""
    graphql = GraphQL(hub)
    return tuple(
        Operation(
            name="graphql",
            type=type,
            instance=instance,
            methods=("GET", "POST"),
            needs="" if not type else "r",  # on the system, each resource that is read asks for its own
            run=graphql.run,
            documentation="Answers a query in GraphQL, as far as the caller may see; always as application/json.",
            definition="http://hl7.org/fhir/OperationDefinition/Resource-graphql",
            takes_any_body=True,
        )
        for type, instance in (("", False), ("*", True))
    )


class Asked(NamedTuple):
    """A request of GraphQL."""

    query: str
    name: str  # of the operation; "" where there is one only
    variables: Mapping[str, Any]


class GraphQL:
    """Answers `$graphql`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def run(self, call: OperationCall) -> Answer:
        """Answer data and errors; 400 where nothing could be run.

        Raises:
            NotFound, Gone: The instance is not there for the caller.
        """
        try:
            asked = read_request(call)
            document = read(asked.query)
            query = operation_of(document, asked.name)
            check(document, query, call.type or SYSTEM)
            variables = coerced(query, asked.variables)
            root = await self._root(call)
            async with self._hub.store.view(call.actor.tenant) as view:
                see = await self._hub.see(view, call.actor)
                loader = Loader(self._hub, view, see, call.actor, call.request_id)
                data, errors = await execute(document, query, variables, root, loader)
        except QueryError as error:
            return Answer(400, body=gate.write({"errors": [error.written()]}), media_type=JSON)
        made: dict[str, Any] = {"data": data} | ({"errors": errors} if errors else {})
        return Answer(200, body=gate.write(made), media_type=JSON)

    async def _root(self, call: OperationCall) -> Item:
        if not call.id:
            return Item({}, SYSTEM, None)
        version = await self._hub.read_one(call.type, call.id, actor=call.actor, request_id=call.request_id)
        resource = gate.load(version.body)
        return Item(resource, call.type, resource)


def read_request(call: OperationCall) -> Asked:
    """Read the query from the URL, a JSON body, or a body that is GraphQL; raise QueryError where there is none."""
    kind = call.content_type.partition(";")[0].strip().lower()
    if strange := sorted(set(call.parameters) - _PARAMETERS - COMMON):
        raise QueryError(f"The operation has no parameter {strange[0][:60]!a}.")
    given: dict[str, Any] = {name: values[0] for name, values in call.parameters.items() if values}
    if call.body and kind == "application/graphql":
        given["query"] = _utf8(call.body)
    elif call.body and kind in (JSON, "text/json", "application/fhir+json", ""):
        given |= _json(call.body)
    elif call.body:
        raise QueryError("The body is application/json or application/graphql.")
    variables = given.get("variables") or {}
    if isinstance(variables, str):
        variables = _json(variables.encode())
    query, name = given.get("query"), given.get("operationName") or ""
    if not isinstance(query, str) or not isinstance(name, str) or not isinstance(variables, dict):
        raise QueryError("Send query (text), and perhaps operationName (text) and variables (an object).")
    return Asked(query, name, variables)


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = gate.parse(body)
    except FhirError as error:
        raise QueryError(error.text) from None
    if not isinstance(found, dict):
        raise QueryError("The JSON of a query is an object.")
    if found.get("resourceType") == "Parameters":
        items = [item for item in found.get("parameter", ()) if isinstance(item, dict)]
        return {str(item.get("name")): item.get("valueString") for item in items}
    return found


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise QueryError("The query is not UTF-8.") from None
