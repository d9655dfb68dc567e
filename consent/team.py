"""Care teams, and by which names an actor is known to them.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/careteam.html and https://hl7.org/fhir/R4/practitionerrole.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from consent.dates import ALWAYS_HI, ALWAYS_LO, Span, read_period
from consent.provisions import local

ALWAYS = Span(ALWAYS_LO, ALWAYS_HI)
NEVER = Span(0, 0)


class Member(NamedTuple):
    """A participant of a care team."""

    reference: str
    period: Span


@dataclass(frozen=True, slots=True)
class Team:
    """An active CareTeam of one patient."""

    id: str
    patient: str  # id
    period: Span
    members: tuple[Member, ...]

    def has(self, names: frozenset[str], now: int) -> bool:
        """Whether one of these names is a member now."""
        return self.period.holds(now) and any(m.reference in names and m.period.holds(now) for m in self.members)

    def spans(self) -> Iterator[Span]:
        """Return every span of time that membership rests on."""
        yield self.period
        for member in self.members:
            yield member.period


@dataclass(frozen=True, slots=True)
class Role:
    """An active PractitionerRole."""

    names: frozenset[str]  # references: itself, its practitioner, its organisation
    period: Span


def compile_team(team: Mapping[str, Any], *, zone: ZoneInfo, base_url: str = "") -> Team | None:
    """Return the team of a CareTeam; None where it is not active or of no patient."""
    patient = local(team.get("subject"), base_url)
    if team.get("status") != "active" or not patient.startswith("Patient/"):
        return None
    members = tuple(
        Member(reference, _span(one, zone))
        for one in team.get("participant", ())
        if (reference := local(one.get("member"), base_url)) and "modifierExtension" not in one
    )
    period = NEVER if "modifierExtension" in team or "implicitRules" in team else _span(team, zone)
    return Team(str(team.get("id", "")), patient.removeprefix("Patient/"), period, members)


def compile_role(role: Mapping[str, Any], *, zone: ZoneInfo, base_url: str = "") -> Role | None:
    """Return the role of a PractitionerRole; None where it is not active."""
    if role.get("active") is False or "modifierExtension" in role or "implicitRules" in role:
        return None
    linked = (local(role.get(key), base_url) for key in ("practitioner", "organization"))
    names = (f"PractitionerRole/{role.get('id')}", *linked)
    return Role(frozenset(name for name in names if name), _span(role, zone))


def names_of(reference: str, roles: Sequence[Role], now: int) -> frozenset[str]:
    """Return the references that mean an actor: itself, its roles, the practitioner and organisation of those.

    An Organization is known by its own name only: who works there does not open doors for the whole of it. A
    role that is not active is known by no name.
    """
    if reference.startswith("Organization/"):
        return frozenset({reference})
    found = set() if reference.startswith("PractitionerRole/") else {reference}
    for role in roles:
        if reference in role.names and role.period.holds(now):
            found |= role.names
    return frozenset(found)


def _span(element: Mapping[str, Any], zone: ZoneInfo) -> Span:
    """Return the span of an element's period; never, where it cannot be read."""
    return (read_period(element["period"], zone) or NEVER) if "period" in element else ALWAYS
