"""What the terminology operations share: how codes are asked for, and in which state they are looked up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, NamedTuple

from fhir_server import gate
from fhir_server.definitions import terminology as r4
from fhir_server.errors import BadParameter, BadRequest, NotFound, UnknownParameter, Unprocessable
from fhir_server.interactions.core import Hub
from fhir_server.interface import OperationCall
from fhir_server.model import Resource
from fhir_server.operations.inputs import Inputs, element, read_inputs, text, texts
from fhir_server.search.query import Match
from fhir_server.search.values import Period
from fhir_server.terminology.library import NO_PINS, Library, Pins
from fhir_server.terminology.valueset import split

MOST_CODINGS: Final = 100
_LET_PASS: Final = frozenset({"required", "invariant", "code-invalid"})
_LONGEST: Final = 2_000  # characters of a code or url
_MOMENT: Final = 300_000_000  # microseconds: a caller's clock may go behind, and a request takes its way
_SOMEWHERE: Final = 26 * 3_600_000_000  # microseconds from the first to the last zone in which a day is today


class Code(NamedTuple):
    """A code that is asked about."""

    system: str  # "" where it was not said
    version: str
    code: str
    display: str


def read_call(call: OperationCall, known: Collection[str], resource: str = "") -> Inputs:
    """Return the parameters of a call.

    A resource of the type that the operation is about may be the whole body, with the other parameters in the query
    (https://hl7.org/fhir/R4/operations.html#request); it comes back under the name `resource`.
    """
    if resource and call.resource is not None and call.resource.get("resourceType") == call.type:
        return {**read_inputs(replace(call, resource=None), known), resource: [call.resource]}
    return read_inputs(call, known)


_NAMING: Final = frozenset({"url", "valueSet", "codeSystem", "conceptMap", "context"})
"""Parameters that name what an operation is about, on type level."""
_VERSIONS: Final = {"ValueSet": "valueSetVersion", "ConceptMap": "conceptMapVersion", "CodeSystem": "version"}
"""Parameters that say the version of what an operation is about."""


@asynccontextmanager
async def opened(
    hub: Hub, call: OperationCall, given: Sequence[Resource | None] = (), pins: Pins = NO_PINS
) -> AsyncIterator[Library]:
    """Give what the caller's tenant knows in one state; the call is audited when it ends well."""
    async with hub.store.view(call.actor.tenant) as view:
        yield hub.terminology.over(view, [resource for resource in given if resource is not None], pins)
    name = f"{call.type}/{call.id}" if call.id else call.type
    hub.audit(call.actor, "E", "terminology", name, (), 0, call.request_id)


async def instance(hub: Hub, call: OperationCall, inputs: Inputs) -> Resource | None:
    """Return the resource that an operation is called on; None on type level.

    R4's own resources answer under their ids where none is stored under it.

    Raises:
        NotFound, Gone: It is not there for the caller.
        BadParameter: The parameters name another one.
    """
    if not call.id:
        return None
    found = await _called_on(hub, call)
    for name in _NAMING.intersection(inputs) - {"url"}:
        raise BadParameter(f"The operation is called on an instance: the parameter '{name}' names another one.")
    check_named(inputs, found)
    return found


async def _called_on(hub: Hub, call: OperationCall) -> Resource:
    url = r4.url_of(call.type, call.id)
    if url is not None:
        async with hub.store.view(call.actor.tenant) as view:
            if await view.read(call.type, call.id) is None and (place := r4.place(call.type, url)) is not None:
                return r4.read(place)
    found = await hub.read_one(call.type, call.id, actor=call.actor, request_id=call.request_id)
    return gate.load(found.body)


def given_resource(hub: Hub, inputs: Inputs, name: str, type: str) -> Resource | None:
    """Return a resource that came as a parameter.

    What R4 asks for and is not there, a status for instance, is let pass; what is there must be of R4's form.

    Raises:
        BadParameter: It is of another type.
        Unprocessable: It is not of R4's form.
    """
    resource = element(inputs, name)
    if resource is None:
        return None
    if resource.get("resourceType") != type:
        raise BadParameter(f"The parameter '{name}' is a {type}.")
    found = [i for i in hub.validate(resource) if i.severity in ("error", "fatal") and i.code not in _LET_PASS]
    if found:
        raise Unprocessable("The resource of the request is not of R4's form.", issues=found)
    only_one(inputs, name, "context")
    check_named(inputs, resource)
    return resource


def only_one(inputs: Inputs, *names: str) -> None:
    """Raise BadParameter where several of these are given: all but one would be ignored."""
    if len(given := [name for name in names if name in inputs]) > 1:
        raise BadParameter(f"The parameters '{given[0]}' and '{given[1]}' say the same thing: send one of them.")


def check_named(inputs: Inputs, resource: Resource) -> None:
    """Raise BadParameter where `url`, or the parameter for its version, names another resource than the one at hand."""
    url, version = split(text(inputs, "url"))
    if url and url != resource.get("url"):
        raise BadParameter("The parameter 'url' names another resource than the one that the operation is about.")
    for asked in (version, text(inputs, _VERSIONS[resource["resourceType"]])):
        if asked and asked != resource.get("version"):
            raise BadParameter("The operation is about a resource of another version than the one that is named.")


def canonical(inputs: Inputs, name: str, version_name: str) -> str:
    """Return a canonical with its version, from the parameter itself or the one beside it."""
    url, version = split(bounded(inputs, name))
    version = bounded(inputs, version_name) or version
    return f"{url}|{version}" if version else url


def bounded(inputs: Inputs, name: str) -> str:
    """Return a text parameter of at most 2,000 characters."""
    value = text(inputs, name)
    if len(value) > _LONGEST:
        raise BadParameter(f"The parameter '{name}' is longer than 2,000 characters.")
    return value


def size(inputs: Inputs, name: str) -> int | None:
    """Return a parameter that is a whole number from 0; None where it is not given."""
    values = inputs.get(name, [])
    if not values:
        return None
    number = str(values[0])
    if (
        len(values) > 1
        or isinstance(values[0], bool)
        or not number.isascii()
        or not number.isdigit()
        or len(number) > 9
    ):
        raise BadParameter(f"The parameter '{name}' is one whole number from 0.")
    return int(number)


def read_code(inputs: Inputs, *, coding: str, code: str, version: str) -> Code | None:
    """Return the code asked for by `coding`, or by `code` with `system`; None where neither is given.

    Args:
        inputs: The parameters.
        coding: Name of the parameter that is a Coding.
        code: Name of the one that is a code.
        version: Name of the one that is the version of the system.
    """
    only_one(inputs, coding, code)
    given = element(inputs, coding)
    made = of_coding(given) if given is not None else Code("", "", bounded(inputs, code), "")
    said = zip(("system", version, "display"), (made.system, made.version, made.display), strict=True)
    system, of_version, display = (_agreed(inputs, name, own) for name, own in said)
    return Code(system, of_version, made.code, display) if made.code else None


def _agreed(inputs: Inputs, name: str, own: str) -> str:
    """Return what a coding says, or the parameter beside it; raise BadParameter where they differ."""
    beside = bounded(inputs, name)
    if own and beside and own != beside:
        raise BadParameter(f"The parameter '{name}' says otherwise than the coding.")
    return own or beside


def of_coding(given: Any) -> Code:
    """Return a Coding as a code; raise BadParameter where it is none."""
    if not isinstance(given, dict):
        raise BadParameter("A coding is an object with system and code.")
    parts = [given.get(key, "") for key in ("system", "version", "code", "display")]
    if not all(isinstance(part, str) and len(part) <= _LONGEST for part in parts) or not parts[2]:
        raise BadParameter("A coding has a code, and texts of at most 2,000 characters.")
    return Code(*parts)


def read_codings(inputs: Inputs, name: str, version: str) -> list[Code] | None:
    """Return the codings of a CodeableConcept, which may be said to be of a `version`; None where it is not given."""
    given = element(inputs, name)
    if given is None:
        return None
    for other in ("code", "coding", "system", "display"):
        only_one(inputs, name, other)
    codings = given.get("coding", [])
    if not isinstance(codings, list) or not codings or len(codings) > MOST_CODINGS:
        raise BadParameter(f"The parameter '{name}' has 1 to {MOST_CODINGS} codings.")
    codes = [of_coding(coding) for coding in codings]
    return [code._replace(version=_agreed(inputs, version, code.version)) for code in codes]


def read_pins(inputs: Inputs) -> Pins:
    """Return the versions of code systems that a request wants; raise BadParameter for one without a version."""

    def pairs(name: str) -> dict[str, str]:
        given = dict(map(split, texts(inputs, name)))
        if not all(url and version for url, version in given.items()):
            raise BadParameter(f"The parameter '{name}' is a code system with its version: system|version.")
        return given

    return Pins(pairs("system-version"), pairs("check-system-version"), pairs("force-system-version"))


def check_date(hub: Hub, inputs: Inputs) -> None:
    """Let `date` pass where it means what holds now: today, an instant from now on, or later.

    "Which date is appropriate is a matter for implementation policy"
    (https://hl7.org/fhir/R4/valueset-operation-expand.html): ours is that the past is asked for by versions.

    Raises:
        BadParameter: It is no date.
        UnknownParameter: It is past.
    """
    if not (value := text(inputs, "date")):
        return
    clause = hub.query("Patient", [("_lastUpdated", value)]).where[0]
    asked = clause.asks[0] if isinstance(clause, Match) and len(clause.asks) == 1 else None
    if asked is None or asked.prefix != "eq" or not isinstance(asked.value, Period):
        raise BadParameter("The parameter 'date' is a date, or an instant.")
    if asked.value.hi + (_MOMENT if "T" in value else _SOMEWHERE) < hub.now():
        raise UnknownParameter("What is answered holds now: leave 'date' out, or name the versions that held then.")


def needed(what: str) -> BadRequest:
    """Return the failure of a call that lacks something."""
    error = BadRequest(what)
    error.issues = (error.issues[0]._replace(code="required"),)
    return error


def unknown(type: str) -> NotFound:
    """Return the failure of a call that names a resource that nobody has loaded."""
    return NotFound(f"No {type} of this url and version is known here. Load it as a resource (predmp load, or PUT).")


def parameter(name: str, type: str, value: Any) -> dict[str, Any]:
    """Return one parameter of an answer."""
    return {"name": name, type: value}


def answered(parameters: Sequence[dict[str, Any]]) -> Resource:
    """Return Parameters."""
    return {"resourceType": "Parameters", "parameter": list(parameters)}
