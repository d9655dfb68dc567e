"""`$erase`: a patient's record, or one resource, removed for good with a proof (GDPR Art. 17).

The hub's own operation: docs/reference/identity.md.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import BadParameter, Forbidden
from fhir_server.identity.erasure import Eraser
from fhir_server.identity.record import Found
from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import write_instant
from fhir_server.interactions.steps import forbidden
from fhir_server.interface import Answer, Operation, OperationCall, OperationParameter
from fhir_server.model import Resource
from fhir_server.operations.inputs import flag, names, read_inputs, text
from fhir_server.settings import Settings

LONGEST: Final = 200  # characters of a reason
_DOCUMENTATION: Final = (
    "Removes every version of the resource, and of a Patient the whole record, with its index and what the hub's rooms "
    "keep of it. dry-run=true says what would go; a legal hold refuses it (409); the answer is a signed report."
)

_PARAMETERS: Final = (
    OperationParameter("dry-run", "boolean", "true says what would go; nothing is removed."),
    OperationParameter("reason", "string", f"For the audit row, without patient data; {LONGEST} characters."),
    OperationParameter("return", "Parameters", "The signed report, or of a dry run the plan.", "out", 1),
)


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$erase`."""
    system, _, code = settings.legal_hold.partition("|")
    return (
        Operation(
            name="erase",
            type="*",
            instance=True,
            methods=("POST",),
            needs="d",
            run=Erasing(hub, (system, code)).run,
            documentation=_DOCUMENTATION,
            parameters=_PARAMETERS,
        ),
    )


class Erasing:
    """Answers `$erase`."""

    def __init__(self, hub: Hub, hold: tuple[str, str]) -> None:
        self._hub, self._eraser = hub, Eraser(hub, hold)

    async def run(self, call: OperationCall) -> Answer:
        """Erase, or say what would be erased.

        Raises:
            Forbidden: The caller is not the operator.
            Conflict: A legal hold stands against it.
        """
        if not call.actor.is_operator:
            raise Forbidden("Erasing is for the operator.")
        if call.type == "Patient" and not call.actor.may("d", "*"):
            raise forbidden()
        inputs = read_inputs(call, names(_PARAMETERS))
        reason = text(inputs, "reason")
        if len(reason) > LONGEST:
            raise BadParameter(f"The reason has at most {LONGEST} characters.")
        if flag(inputs, "dry-run"):
            found, rows = await self._eraser.look(call.actor.tenant, call.type, call.id)
            return Answer(200, _plan(found, len(rows)))
        report = await self._eraser.erase(call.actor, call.type, call.id, reason, call.request_id)
        key = await self._hub.store.secret("erasure")
        signature = hmac.new(key, gate.write(report), hashlib.sha256).hexdigest()
        return Answer(200, _report(report, signature))


def _plan(found: Found, rows: int) -> Resource:
    parameters: list[dict[str, Any]] = [
        {"name": "dry-run", "valueBoolean": True},
        {"name": "resources", "valueInteger": len(found.references)},
        {"name": "rows", "valueInteger": rows},
        {"name": "shared", "valueInteger": len(found.shared)},
    ]
    parameters += [{"name": "merged", "valueString": f"Patient/{person}"} for person in found.people[1:]]
    parameters += [_type(type, count, digest="") for type, count in sorted(found.versions.items())]
    parameters += [{"name": "legal-hold", "valueString": reference} for reference in found.holds()]
    return {"resourceType": "Parameters", "parameter": parameters}


def _type(type: str, count: int, digest: str, after: int | None = None) -> dict[str, Any]:
    part: list[dict[str, Any]] = [{"name": "type", "valueCode": type}, {"name": "versions", "valueInteger": count}]
    if digest:
        part.append({"name": "sha256", "valueString": digest})
    if after is not None:
        part.append({"name": "after", "valueInteger": after})
    return {"name": "type", "part": part}


def _report(report: dict[str, Any], signature: str) -> Resource:
    parameters: list[dict[str, Any]] = [
        {"name": "resource", "valueString": report["resource"]},
        {"name": "at", "valueInstant": write_instant(report["at"])},
        {"name": "resources", "valueInteger": report["resources"]},
        {"name": "shared", "valueInteger": report["shared"]},
        {"name": "after", "valueInteger": report["after"]},
        {"name": "audit", "valueString": "Audit rows stay, as the law asks: they hold ids, and the text of searches."},
        {"name": "sha256", "valueString": report["sha256"]},
        {"name": "signature", "valueString": signature},
    ]
    parameters += [{"name": "merged", "valueString": reference} for reference in report["merged"]]
    parameters += [_type(type, count, report["hashes"][type], after=0) for type, count in report["versions"].items()]
    parameters += [
        {"name": "rows", "part": [{"name": "kind", "valueString": kind}, {"name": "count", "valueInteger": count}]}
        for kind, count in report["rows"].items()
    ]
    return {"resourceType": "Parameters", "parameter": parameters}
