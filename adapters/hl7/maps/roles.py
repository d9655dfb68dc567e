"""ROL and PRT: who takes part. Guide: HL7/v2-to-fhir at 8c9b414, segments/ROL and PRT.

PRT came with version 2.7; French senders use it in 2.5, so it is taken at any version. People and organizations are
named by identifier and text, no resources are made of them: who may act in this hub is not for a feed to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded, mapped
from adapters.hl7.demography import organization, person, place
from adapters.hl7.maps.rows import Row, whole
from adapters.hl7.maps.tables import table
from adapters.hl7.tokens import Segment

PRACTITIONERS: Final = whole(0, "generalPractitioner", "PD1-3, PD1-4, and the roles PP of ROL and PRT, together")
GENERAL: Final = frozenset({"PP", "FHCP"})  # table 0443: primary care provider, family health care professional
OF_STAY: Final = {"AT": 7, "RP": 8, "CP": 9, "AD": 17}
"""Roles of table 0443 that PV1 has fields for: attending, referring, consulting, admitting (table ProviderRole)."""

GONE: Final = frozenset({"DE", "D"})  # tables 0287 and 0206: delete
ROL_USED: Final = frozenset({1, 2, 3, 4, 5, 6, 9, 14})
PRT_USED: Final = frozenset({1, 2, 4, 5, 8, 9, 11, 12})


class Part(NamedTuple):
    """One person or organization in a role."""

    segment: Segment
    code: str  # of the role
    role: Json | None  # CodeableConcept
    who: Json  # reference to a Practitioner, else to an Organization or a Location
    on_behalf_of: Json | None
    period: dict[str, str]
    kind: Json | None = None  # ROL-9, as CodeableConcept

    @property
    def member(self) -> Json:
        """CareTeam.participant."""
        made: Json = {"member": self.who}
        if named := [one for one in (self.role, self.kind) if one]:
            made["role"] = named
        if self.on_behalf_of:
            made["onBehalfOf"] = self.on_behalf_of
        return made | ({"period": self.period} if self.period else {})

    @property
    def participant(self) -> Json:
        """Encounter.participant."""
        target = table("ProviderRole")[self.code]
        kind = {"system": target.system, "code": target.code, "display": target.display}
        made: Json = {"type": [{"coding": [{k: v for k, v in kind.items() if v}]}], "individual": self.who}
        return made | ({"period": self.period} if self.period else {})


def read(context: Context, segments: Iterable[Segment]) -> list[Part]:
    """Return who takes part by ROL and PRT; who is taken out (action delete) is not among them."""
    made = []
    for one in segments:
        if one.name == "ROL":
            context.take(one, ROL_USED)
            made += _parts(context, one, (2, 3, 4, 14, 0), (5, 6))
        elif one.name == "PRT":
            context.take(one, PRT_USED)
            made += _parts(context, one, (2, 4, 5, 8, 9), (11, 12))
    return made


def _parts(context: Context, one: Segment, fields: tuple[int, ...], times: tuple[int, int]) -> list[Part]:
    action, role, people, house, where = fields
    code = one.text(role)
    if one.text(action) in GONE:
        context.note(one, action, "role-deleted", code)
        return []
    concept = _role(context, one, role)
    period = context.period(one, times[0], one.text(times[0]), one.text(times[1]))
    firm = organization(context, one, house, one.first(house)) if one.is_valued(house) else None
    firm = {"type": "Organization", **firm} if firm else None
    found = [who for parts in one.repetitions(people) if (who := person(context, one, people, parts))]
    if found:
        kind = coded(context, one, 9, one.first(9)) if one.name == "ROL" and one.is_valued(9) else None
        return [Part(one, code, concept, who, firm, period, kind) for who in found]
    spot = place(context, one, where, one.first(where)) if where and one.is_valued(where) else None
    if firm:
        return [Part(one, code, concept, firm, None, period)]
    if spot:
        context.note(one, where, "place-no-participant")
    return []


def _role(context: Context, one: Segment, field: int) -> Json | None:
    """Convert the role: by the guide's table where it has a row, else as it was sent."""
    code = one.text(field)
    if code in table("ProviderRole"):
        return mapped("ProviderRole")(context, one, field, one.first(field))
    return coded(context, one, field, one.first(field)) if one.is_valued(field) else None


def row_of(rows: Iterable[Row], code: str) -> Row:
    """Return the row of PV1 that says the same as a role."""
    return next(row for row in rows if row.field == OF_STAY[code])
