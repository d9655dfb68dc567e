"""What the consent page shows of one patient: who may see the record and why, what was decided, who looked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from consent.dates import read_date
from consent.decide import DENY, Decision
from consent.guard import ConsentGuard
from consent.people import name_in, names_of_all
from consent.provisions import Rule, compile_consent, local, standing
from consent.team import Team
from consent.words import Say, reason_in_words, rule_in_words, type_in_words
from fhir_server.interface import AccessLine, Asking
from fhir_server.model import Resource

ENDED_SHOWN = 20  # decisions that are over, newest first
KINDS = {
    "Practitioner": ("professionnel de santé", "health professional"),
    "PractitionerRole": ("professionnel de santé", "health professional"),
    "Organization": ("organisation", "organisation"),
    "CareTeam": ("équipe de soins", "care team"),
    "RelatedPerson": ("proche", "relative"),
    "Device": ("appareil", "device"),
}
DEEDS = {
    "read": ("a lu", "read"),
    "vread": ("a lu une version", "read a version"),
    "search": ("a cherché", "searched"),
    "search-type": ("a cherché", "searched"),
    "history": ("a lu l’historique", "read the history"),
    "create": ("a ajouté", "added"),
    "update": ("a modifié", "changed"),
    "patch": ("a modifié", "changed"),
    "delete": ("a supprimé", "deleted"),
    "transaction": ("a ajouté ou modifié des données", "added or changed data"),
    "device": ("a transmis des mesures", "sent measurements"),
    "hl7v2": ("a transmis un message de l’hôpital", "sent a message of the hospital"),
    "hl7-message": ("a regardé un message de l’hôpital", "looked at a message of the hospital"),
    "hl7-message-search": ("a cherché des messages de l’hôpital", "searched messages of the hospital"),
    "pre-dmp": ("a lu le dossier", "read the record"),
    "validate-pre-dmp": ("a validé le dossier", "validated the record"),
    "$everything": ("a lu le dossier", "read the record"),
    "$summary": ("a lu la synthèse", "read the summary"),
    "$document": ("a lu un document", "read a document"),
    "$lastn": ("a lu les dernières mesures", "read the last measurements"),
    "$stats": ("a calculé des statistiques", "computed statistics"),
    "$meta-add": ("a ajouté une étiquette", "added a label"),
    "$meta-delete": ("a retiré une étiquette", "removed a label"),
    "load": ("a repris des données antérieures", "loaded earlier data"),
    "batch": ("a envoyé plusieurs demandes", "sent several requests"),
}
PURPOSES = {
    "TREAT": ("soins", "care"),
    "ETREAT": ("urgence", "emergency"),
    "BTG": ("urgence vitale", "break-glass"),
    "HRESCH": ("recherche", "research"),
    "HPAYMT": ("paiement", "payment"),
    "HOPERAT": ("gestion", "operations"),
    "PATRQT": ("à la demande du patient", "at the patient’s request"),
}


@dataclass(frozen=True, slots=True)
class Person:
    """One who is in the care team or named in a decision."""

    reference: str
    name: str
    kind: str  # in words
    outcome: str  # permit deny partial
    why: str
    member: bool
    ends: tuple[str, ...]  # ids of the Consents that decide: ending them takes the decision back


@dataclass(frozen=True, slots=True)
class Choice:
    """One Consent, in words."""

    id: str
    at: int | None  # microseconds since 1970
    words: str
    stands: bool  # active, and not replaced by a newer one
    status: str


@dataclass(frozen=True, slots=True)
class Access:
    """One line of the access journal, in words."""

    at: int
    who: str
    what: str
    purpose: str
    refused: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole page."""

    patient: str  # id
    name: str
    people: tuple[Person, ...]
    choices: tuple[Choice, ...]
    ended: tuple[Choice, ...]


class Reader:
    """Reads what the page shows, from one state of the store.

    Args:
        guard: Decides.
        say: The language.
        own: Whether the patient reads it.
    """

    def __init__(self, guard: ConsentGuard, say: Say, *, own: bool) -> None:
        self._guard, self._gathering = guard, guard.gathering
        self._say, self._own = say, own

    async def overview(self, asking: Asking, patient: str, now: int) -> Overview | None:
        """Return the page of a patient; None where there is no such Patient."""
        record = await asking.resource(f"Patient/{patient}")
        if record is None:
            return None
        teams = await self._gathering.team_resources(asking, f"Patient/{patient}")
        consents = await asking.find(f"Consent?patient=Patient/{patient}")
        rules = self._gathering.compiled_rules(consents)
        people = await self._people(asking, patient, self._gathering.compiled_teams(teams), rules, now)
        choices = await self._choices(asking, consents, {rule.id for rule in standing(rules)})
        return Overview(
            patient,
            name_in(record),
            people,
            tuple(one for one in choices if one.stands),
            tuple(one for one in choices if not one.stands)[:ENDED_SHOWN],
        )

    async def _people(
        self, asking: Asking, patient: str, teams: Sequence[Team], rules: Sequence[Rule], now: int
    ) -> tuple[Person, ...]:
        """Return everybody who is in the care team or named in a decision that stands, who sees first."""
        members = [member.reference for team in teams for member in team.members]
        named = [p.reference for rule in standing(rules) for one in rule.root.walk() for p in one.parties or ()]
        references = dict.fromkeys(one for one in (*members, *named) if one and not one.startswith("Patient/"))
        names = await names_of_all(asking, references)
        made = []
        for reference in references:
            decision = await self._guard.decision(asking, reference, "TREAT", patient, now)
            made.append(self._person(reference, names[reference], decision))
        return tuple(sorted(made, key=lambda person: (person.outcome == DENY, not person.member, person.name)))

    def _person(self, reference: str, name: str, decision: Decision) -> Person:
        kind = KINDS.get(reference.partition("/")[0], ("", ""))
        ends = tuple(rule.removeprefix("Consent/") for rule in decision.rules if rule.startswith("Consent/"))
        why = reason_in_words(decision, self._say, own=self._own)
        return Person(reference, name, self._say(*kind), decision.outcome, why, decision.member, ends)

    async def _choices(self, asking: Asking, consents: Iterable[Resource], stand: set[str]) -> list[Choice]:
        """Return every Consent in words, newest first."""
        zone, base = self._gathering.zone, self._gathering.base_url
        compiled = {
            one["id"]: compile_consent({**one, "status": "active"}, zone=zone, base_url=base) for one in consents
        }
        named = {
            p.reference for rule in compiled.values() if rule for one in rule.root.walk() for p in one.parties or ()
        }
        names = await names_of_all(asking, named)
        made = []
        for consent in consents:
            if rule := compiled[consent["id"]]:
                words = rule_in_words(rule, names, self._say, zone, own=self._own)
                written = read_date(consent.get("dateTime") or consent["meta"]["lastUpdated"], zone)
                at = written.lo if written else None
                made.append(Choice(rule.id, at, words, rule.id in stand, str(consent["status"])))
        return sorted(made, key=lambda choice: (-(choice.at or 0), choice.id))

    async def accesses(self, asking: Asking, lines: Iterable[AccessLine], patient: str) -> list[Access]:
        """Return journal lines in words; the patient's own reading is left to the list as it is."""
        kept = list(lines)
        names = await names_of_all(asking, {line.who for line in kept if local({"reference": line.who})})
        myself = self._say("Vous", "You") if self._own else self._say("Le patient", "The patient")
        names[f"Patient/{patient}"] = myself
        return [
            Access(
                line.at,
                names.get(line.who, line.who),
                self._deed(line),
                self._say(*PURPOSES.get(line.purpose, (line.purpose, line.purpose))),
                line.outcome > 0,
            )
            for line in kept
        ]

    def _deed(self, line: AccessLine) -> str:
        deed = self._say(*DEEDS.get(line.what, (line.what, line.what)))
        type = line.target.partition("/")[0]
        return f"{deed}{self._say(' : ', ': ')}{type_in_words(type, self._say)}" if type else deed
