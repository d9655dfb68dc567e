"""`Patient/$match`: who a described person may be, with how likely that is.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/patient-operation-match.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from fhir_server.errors import BadParameter, BadRequest, Unprocessable
from fhir_server.identity import candidates
from fhir_server.identity.score import CERTAIN, NOT, Person, Score, compare
from fhir_server.interactions.core import Hub
from fhir_server.interactions.steps import forbidden
from fhir_server.interface import Answer, Operation, OperationCall
from fhir_server.model import Resource
from fhir_server.operations.inputs import flag, read_inputs, whole
from fhir_server.settings import Settings

GRADE: Final = "http://hl7.org/fhir/StructureDefinition/match-grade"
SHOWN: Final = 20
MOST: Final = 100
_DOCUMENTATION: Final = (
    "Finds Patients that may be the one described, most likely first, with a score from 0 to 1 and a match-grade. "
    "Weights: fhir_server/identity/score.py; not clinically validated."
)


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$match`."""
    return (
        Operation(
            name="match",
            type="Patient",
            instance=False,
            methods=("POST",),
            needs="s",
            run=Matching(hub).run,
            documentation=_DOCUMENTATION,
            definition="http://hl7.org/fhir/OperationDefinition/Patient-match",
        ),
    )


class Matching:
    """Answers `$match`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def run(self, call: OperationCall) -> Answer:
        """Return the Patients that may be the one sent, as a searchset.

        Raises:
            BadRequest: There is no Patient to match.
            Unprocessable: It is not valid.
        """
        if not call.actor.may("r", "Patient"):
            raise forbidden()
        patient, only_certain, count = read_match(call)
        if errors := [i for i in self._hub.validate(patient) if i.severity in ("error", "fatal")]:
            raise Unprocessable("The Patient to match is not valid.", issues=errors)
        wanted = Person(patient)
        async with self._hub.store.view(call.actor.tenant) as view:
            see = await self._hub.see(view, call.actor)
            found = await candidates.find(self._hub, view, see, wanted)
            standing = await candidates.successors(view, see, found, self._hub.base_url)
        scored = [(compare(wanted, Person(resource)), standing[id]) for id, resource in found.items()]
        scored = [pair for pair in scored if pair[0].grade == CERTAIN or not (only_certain or pair[0].grade == NOT)]
        scored.sort(key=_likeliest)
        scored = list({resource["id"]: (score, resource) for score, resource in reversed(scored)}.values())
        scored.sort(key=_likeliest)  # a Patient who stands for several has the best of their scores
        shown = scored[:count]
        patients = tuple(sorted(resource["id"] for _, resource in shown))
        self._hub.audit(call.actor, "E", "$match", "Patient", patients, 0, call.request_id)
        return Answer(200, self._bundle(shown, len(scored)))

    def _bundle(self, shown: Sequence[tuple[Score, Resource]], total: int) -> Resource:
        made: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": total}
        entries = [
            {
                "fullUrl": f"{self._hub.base_url}/Patient/{resource['id']}",
                "resource": resource,
                "search": {
                    "extension": [{"url": GRADE, "valueCode": score.grade}],
                    "mode": "match",
                    "score": round(score.probability, 4),
                },
            }
            for score, resource in shown
        ]
        return made | {"entry": entries} if entries else made


def _likeliest(pair: tuple[Score, Resource]) -> tuple[bool, float, str]:
    score, resource = pair
    return score.grade != CERTAIN, -score.bits, resource["id"]


def read_match(call: OperationCall) -> tuple[Resource, bool, int]:
    """Return the Patient to match, whether only certain ones are wanted, and how many at most."""
    if call.resource is not None and call.resource.get("resourceType") == "Patient":
        beside = read_inputs(replace(call, resource=None), ("onlyCertainMatches", "count"))
        return call.resource, flag(beside, "onlyCertainMatches"), whole(beside, "count", default=SHOWN, most=MOST)
    inputs = read_inputs(call, ("resource", "onlyCertainMatches", "count"))
    given = inputs.get("resource", [])
    if len(given) != 1 or not isinstance(given[0], dict):
        raise BadRequest("Send Parameters with one parameter resource, the Patient to match.")
    if given[0].get("resourceType") != "Patient":
        raise BadParameter("The parameter resource is a Patient.")
    return given[0], flag(inputs, "onlyCertainMatches"), whole(inputs, "count", default=SHOWN, most=MOST)
