"""`Patient/{id}/$pre-dmp` and `Patient/{id}/$validate-pre-dmp`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from adapters.dmp.document import Making, build_document
from adapters.dmp.record import may_read, read_record
from adapters.dmp.validation import standing, validate
from fhir_server.errors import BadParameter, NotAcceptable, UnknownParameter
from fhir_server.interface import Answer, Core, Operation, OperationCall, OperationParameter
from fhir_server.model import Actor, Resource

JSON: Final = frozenset({"application/fhir+json", "application/json", "text/json", "json"})
_COMMON: Final = frozenset({"_format", "_pretty"})


class Documents:
    """Makes documents and validations for operations and pages.

    Args:
        core: The door.
        new_id: Returns a new UUID as text.
    """

    def __init__(self, core: Core, new_id: Callable[[], str]) -> None:
        self._core = core
        self._new_id = new_id

    async def document(self, patient: str, *, actor: Actor, language: str) -> Resource:
        """Return the document Bundle of a record as the actor may see it."""
        record = await read_record(self._core, patient, actor=actor)
        validated = await standing(self._core, record, actor=actor)
        attester = None
        if validated is not None:
            party = validated["attester"][0]["party"]["reference"]
            attester = await may_read(self._core, party, actor=actor)
        making = Making(self._core.base_url, self._new_id(), self._core.now(), language, validated, attester)
        return build_document(record, making)

    async def pre_dmp(self, call: OperationCall) -> Answer:
        """Answer `$pre-dmp`."""
        check_format(call.accept, call.parameters)
        check_parameters(call, frozenset())
        bundle = await self.document(call.id, actor=call.actor, language=call.language)
        return Answer(200, bundle)

    async def validate_pre_dmp(self, call: OperationCall) -> Answer:
        """Answer `$validate-pre-dmp`: 201 with the Composition, 200 where the record is validated already."""
        given = check_parameters(call, frozenset({"fingerprint"}))
        composition, is_new = await validate(self._core, call.id, actor=call.actor, seen=given.get("fingerprint", ""))
        where = f"{self._core.base_url}/Composition/{composition['id']}"
        return Answer(201 if is_new else 200, composition, headers={"Location": where})


def check_format(accept: str, parameters: Mapping[str, Sequence[str]]) -> None:
    """Raise NotAcceptable where the caller wants no JSON; `_format` goes before Accept."""
    wanted = list(parameters.get("_format", ())) or [accept or "*/*"]
    kinds = [part.split(";")[0].strip().lower() for text in wanted for part in text.split(",")]
    if not any(kind in JSON or kind in ("*/*", "application/*") for kind in kinds):
        raise NotAcceptable("The pre-DMP record is available as application/fhir+json.")


def check_parameters(call: OperationCall, known: frozenset[str]) -> dict[str, str]:
    """Return the operation's parameters, from the query string and a Parameters body.

    Raises:
        UnknownParameter: One that the operation does not have: it is not ignored in silence.
        BadParameter: One that is given twice or is no text, or a body that is no Parameters.
    """
    pairs = [(name, value) for name, values in call.parameters.items() if name not in _COMMON for value in values]
    body = call.resource or {"resourceType": "Parameters"}
    if body.get("resourceType") != "Parameters":
        raise BadParameter("The body of the operation is a Parameters resource.")
    items = body.get("parameter", [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadParameter("Each parameter has a name and a value.")
    pairs += [(str(item.get("name", "")), item.get("valueString")) for item in items]
    made: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise UnknownParameter("The operation has no such parameter.")
        if name in made or not isinstance(value, str):
            raise BadParameter(f"The parameter {name} is one text.")
        made[name] = value
    return made


def operations_of(documents: Documents) -> tuple[Operation, ...]:
    """Return the operations that the room hands in."""
    return (
        Operation(
            "pre-dmp",
            "Patient",
            True,
            ("GET", "POST"),
            "r",
            documents.pre_dmp,
            "The pre-DMP record as a document Bundle, as far as the caller may see it. Preliminary until a physician "
            "has validated this very record, then final; a change of the clinical record makes it preliminary again.",
            parameters=(OperationParameter("return", "Bundle", "The document.", "out", 1),),
        ),
        Operation(
            "validate-pre-dmp",
            "Patient",
            True,
            ("POST",),
            "r",  # the right to change Composition or Patient is asked for inside
            documents.validate_pre_dmp,
            "A physician validates the record as it is now; `fingerprint` (string) refuses with 409 when it changed "
            "since it was read. Answers the Composition that states the validation.",
            parameters=(
                OperationParameter("fingerprint", "string", "The Composition's identifier, as it was read."),
                OperationParameter("return", "Composition", "It states the validation.", "out", 1),
            ),
        ),
    )
