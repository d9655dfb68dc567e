"""`Patient/$summary`: a patient summary as a document, in the shape of the International Patient Summary.

Its sections, codes and structure follow IPS; it is not certified, declares no IPS profile, and says nothing that is
not in the store: an empty section is "unavailable", never "none known".
Source: https://hl7.org/fhir/uv/ips/ (operation: https://hl7.org/fhir/uv/ips/OperationDefinition-summary.html)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from fhir_server import gate
from fhir_server.errors import BadParameter, BadRequest, MultipleMatches, NotFound
from fhir_server.interactions.asking import split_query
from fhir_server.interactions.core import Hub
from fhir_server.interactions.ids import new_id
from fhir_server.interactions.instant import write_instant
from fhir_server.interface import Answer, Operation, OperationCall
from fhir_server.model import Resource, Version, Visibility
from fhir_server.operations.document import document
from fhir_server.operations.inputs import read_inputs, refuse_empty, text
from fhir_server.operations.latest import latest
from fhir_server.operations.references import References
from fhir_server.operations.sections import MOST_SHOWN, SECTIONS, Section, written
from fhir_server.settings import Settings
from fhir_server.store.protocol import View

_PROFILES: Final = tuple(
    f"http://hl7.org/fhir/uv/ips/StructureDefinition/{name}-uv-ips" for name in ("Bundle", "Composition")
)
"""Of `profile`: which summary is wanted."""
MOST_READ: Final = 1_000  # resources that a section is chosen from, the newest
MOST_SUPPORT: Final = 500
_TITLE: Final = ("Synthèse médicale", "Patient summary")
_NOTE: Final = (
    "Assemblé automatiquement de ce qui est enregistré et visible pour le demandeur ; ni validé ni certifié.",
    "Assembled automatically from what is recorded and visible to the caller; neither validated nor certified.",
)


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$summary` of a patient, by id or by identifier."""
    summaries = Summaries(hub, ZoneInfo(settings.zone))
    return tuple(
        Operation(
            name="summary",
            type="Patient",
            instance=instance,
            methods=("GET", "POST"),
            needs="r",
            run=summaries.run,
            documentation="A document in the shape of the International Patient Summary; not certified as one.",
            definition="http://hl7.org/fhir/uv/ips/OperationDefinition/summary",
        )
        for instance in (True, False)
    )


@dataclass(frozen=True, slots=True)
class _Filled:
    """A section with what is in it."""

    section: Section
    shown: list[Version]
    is_cut: bool


class Summaries:
    """Answers `$summary`.

    Args:
        hub: The core.
        zone: Of dates that name none.
    """

    def __init__(self, hub: Hub, zone: ZoneInfo) -> None:
        self._hub, self._zone = hub, zone
        self._references = References(hub.base_url)

    async def run(self, call: OperationCall) -> Answer:
        """Return the document.

        Raises:
            NotFound, Gone: There is no such patient for the caller.
            MultipleMatches: The identifier is that of several.
        """
        id = await self._patient(call)
        patient = await self._hub.read_one("Patient", id, actor=call.actor, request_id=call.request_id)
        async with self._hub.store.view(call.actor.tenant) as view:
            see = await self._hub.see(view, call.actor)
            filled = [await self._fill(view, see, section, id) for section in SECTIONS]
            shown = list({v.reference: v for each in filled for v in each.shown}.values())
            owners = frozenset({id})
            support = await self._references.follow(
                view, see, [patient, *shown], takes=lambda v: owners.issuperset(v.owners), most=MOST_SUPPORT, hops=3
            )
        versions = [patient, *shown, *support.versions]
        self._hub.audit(call.actor, "R", "$summary", patient.reference, (id,), 0, call.request_id)
        return Answer(200, self._document(call, patient, filled, versions))

    async def _patient(self, call: OperationCall) -> str:
        """Return the id of the patient: of the path, of the token, or by identifier."""
        inputs = read_inputs(call, ("profile",) if call.id else ("identifier", "profile"))
        refuse_empty(inputs)
        if text(inputs, "profile").partition("|")[0] not in ("", *_PROFILES):
            raise BadParameter("A summary has the shape of IPS (Bundle-uv-ips) here, and no other profile's.")
        if call.id:
            return call.id
        identifier = text(inputs, "identifier")
        if not identifier:
            if call.actor.patient:
                return call.actor.patient
            raise BadRequest("$summary needs a patient: Patient/ID/$summary, or identifier=system|value.")
        found = await self._hub.search_page(
            "Patient", [("identifier", identifier), ("_count", "2")], actor=call.actor, request_id=call.request_id
        )
        if len(found.matches) > 1:
            raise MultipleMatches("The identifier is that of several patients.")
        if not found.matches:
            raise NotFound("There is no such resource.")
        return found.matches[0].id

    async def _fill(self, view: View, see: Visibility, section: Section, id: str) -> _Filled:
        found: list[Version] = []
        is_cut = False
        for asked in section.queries:
            type, pairs = split_query(asked)
            code = "patient" if type != "CarePlan" else "subject"
            query = self._hub.query(type, [(code, f"Patient/{id}"), *pairs, ("_count", str(MOST_READ))])
            page = await view.search(replace(query, total="none"), see=see)
            is_cut = is_cut or page.after is not None
            found += [version for version in page.versions if section.takes(gate.load(version.body))]
        if section.is_latest:
            found = [seen.version for group in latest(found, 1, self._zone) for seen in group]
        return _Filled(section, found[:MOST_SHOWN], is_cut or len(found) > MOST_SHOWN)

    def _document(
        self, call: OperationCall, patient: Version, filled: list[_Filled], versions: list[Version]
    ) -> Resource:
        base, now = self._hub.base_url, self._hub.now()
        author, own = (str(UUID(hex=new_id())) for _ in range(2))
        device: Resource = {
            "resourceType": "Device",
            "id": author,
            "deviceName": [{"name": "predmp", "type": "model-name"}],
        }
        sections = [
            written(each.section, [gate.load(v.body) for v in each.shown], base, call.language, is_cut=each.is_cut)
            for each in filled
            if each.shown or each.section.is_required
        ]
        composition = _composition(call.language, own, f"{base}/{patient.reference}", author, write_instant(now))
        composition["section"] = sections
        stored = [(f"{base}/{version.reference}", gate.load(version.body)) for version in versions]
        return document([(f"urn:uuid:{own}", composition), *stored, (f"urn:uuid:{author}", device)], now)


def _composition(language: str, id: str, patient: str, author: str, at: str) -> dict[str, Any]:
    place = 0 if language == "fr" else 1
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><h1>{_TITLE[place]}</h1><p>{_NOTE[place]}</p></div>'
    return {
        "resourceType": "Composition",
        "id": id,
        "language": "fr-FR" if place == 0 else "en",
        "text": {"status": "generated", "div": div},
        "status": "preliminary",  # "may be incomplete or unverified": nobody has read it
        "type": {"coding": [{"system": "http://loinc.org", "code": "60591-5", "display": "Patient summary Document"}]},
        "subject": {"reference": patient},
        "date": at,
        "author": [{"reference": f"urn:uuid:{author}"}],
        "title": _TITLE[place],
        "confidentiality": "N",
    }
