"""Rules and decisions in plain words, French and English, at reading level B1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from consent.codes import CONFIDENTIALITY, RESOURCE_TYPE
from consent.dates import ALWAYS_HI, ALWAYS_LO, Span
from consent.decide import DENY, PARTIAL, Decision
from consent.provisions import Provision, Rule

Say = Callable[[str, str], str]
"""Takes the French and the English form and gives the one asked for."""

LANGUAGES: Final[Mapping[str, Say]] = {"fr": lambda french, english: french, "en": lambda french, english: english}

TYPES: Final = {
    "Patient": ("identité", "identity"),
    "Observation": ("mesures et résultats", "measurements and results"),
    "Condition": ("maladies et problèmes de santé", "diseases and health problems"),
    "MedicationRequest": ("prescriptions", "prescriptions"),
    "MedicationStatement": ("traitements", "treatments"),
    "DiagnosticReport": ("comptes rendus d’examens", "examination reports"),
    "Encounter": ("séjours et consultations", "stays and visits"),
    "AllergyIntolerance": ("allergies", "allergies"),
    "Immunization": ("vaccins", "vaccinations"),
    "Procedure": ("interventions", "procedures"),
    "DocumentReference": ("documents", "documents"),
    "Consent": ("consentements", "consents"),
    "CareTeam": ("équipe de soins", "care team"),
    "Flag": ("alertes", "alerts"),
    "Task": ("demandes", "requests"),
    "RiskAssessment": ("évaluations du risque", "risk assessments"),
    "Communication": ("messages", "messages"),
    "Device": ("appareils", "devices"),
    "Composition": ("synthèse du dossier", "summary of the record"),
    "ServiceRequest": ("examens et actes demandés", "examinations and procedures ordered"),
    "CarePlan": ("plans de soins", "care plans"),
    "Appointment": ("rendez-vous", "appointments"),
    "Media": ("images et sons", "pictures and sounds"),
    "QuestionnaireResponse": ("questionnaires", "questionnaires"),
    "RelatedPerson": ("proches", "relatives"),
    "FamilyMemberHistory": ("antécédents familiaux", "family history"),
    "Coverage": ("assurances", "insurances"),
    "DeviceUseStatement": ("usage d’appareils", "use of devices"),
    "AuditEvent": ("journal des accès", "access journal"),
}
LABELS: Final = {
    "PSY": ("psychiatrie", "psychiatry"),
    "MH": ("santé mentale", "mental health"),
    "HIV": ("VIH", "HIV"),
    "SEX": ("santé sexuelle", "sexual health"),
    "ETH": ("alcool et drogues", "alcohol and drugs"),
    "SUD": ("alcool et drogues", "alcohol and drugs"),
    "ETHUD": ("alcool", "alcohol"),
    "OPIOIDUD": ("opioïdes", "opioids"),
}
PURPOSES: Final = {
    "TREAT": ("pour les soins", "for care"),
    "ETREAT": ("en urgence", "in an emergency"),
    "HRESCH": ("pour la recherche", "for research"),
    "HPAYMT": ("pour le paiement des soins", "for payment of care"),
    "PUBHLTH": ("pour la santé publique", "for public health"),
}


def type_in_words(type: str, say: Say) -> str:
    """Return what a resource type is to a patient; the type itself where there is no word for it."""
    return say(*TYPES[type]) if type in TYPES else type


def rule_in_words(rule: Rule, names: Mapping[str, str], say: Say, zone: ZoneInfo, *, own: bool = True) -> str:
    """Return a rule as sentences.

    Args:
        rule: The rule.
        names: What people and organisations are called, by reference.
        say: The language.
        zone: In which days are written.
        own: Whether the patient reads it ("vous"), else another ("le patient").
    """
    writer = _Writer(names, say, zone)
    sentences = [writer.sentence(rule.root, own)]
    sentences += [writer.exception(inner) for inner in rule.root.provisions]
    if not all(provision.is_understood for provision in rule.root.walk()):
        sentences.append(
            say(
                "La plateforme ne comprend pas tout ce choix : il n’ouvre donc le dossier à personne.",
                "The hub does not understand all of this choice: so it opens the record to nobody.",
            )
        )
    return " ".join(sentences)


def reason_in_words(decision: Decision, say: Say, *, own: bool = False) -> str:
    """Return why a decision is what it is, in one sentence; `own` where the patient reads it."""
    by_consent = any(rule.startswith("Consent/") for rule in decision.rules)
    if decision.outcome == PARTIAL:
        return say(
            "Voit une partie du dossier seulement : un choix du patient dit laquelle.",
            "Sees a part of the record only: a choice of the patient says which.",
        )
    if decision.outcome == DENY and by_consent:
        return (
            say("Vous vous y opposez.", "You object.") if own else say("Le patient s’y oppose.", "The patient objects.")
        )
    if decision.outcome == DENY:
        return say(
            "Ne fait pas partie de l’équipe de soins, et n’est pas autorisé.",
            "Is not in the care team, and is not allowed.",
        )
    if by_consent:
        return say("Vous l’avez autorisé.", "You allowed it.") if own else say(
            "Le patient l’a autorisé.", "The patient allowed it.")  # fmt: skip
    return say("Fait partie de l’équipe de soins.", "Is in the care team.")


class _Writer:
    def __init__(self, names: Mapping[str, str], say: Say, zone: ZoneInfo) -> None:
        self._names, self._say, self._zone = names, say, zone

    def sentence(self, provision: Provision, own: bool) -> str:
        """Return what the root provision says."""
        say, limits = self._say, self._limits(provision)
        you = say("Vous ", "You ") if own else say("Le patient ", "The patient ")
        allow, refuse = (say("autorisez", "allow"), say("refusez", "refuse")) if own else (
            say("autorise", "allows"), say("refuse", "refuses"))  # fmt: skip
        if provision.type == "deny":
            who = self._who(provision) or say("toute personne", "everybody")
            return f"{you}{refuse} {say('l’accès au dossier à', 'access to the record to')} {who}{limits}."
        if provision.type == "permit" and (who := self._who(provision)):
            return f"{you}{allow} {who} {say('à voir le dossier', 'to see the record')}{limits}."
        if provision.type == "permit":
            shares = say("acceptez", "accept") if own else say("accepte", "accepts")
            rest = say(
                "le partage du dossier avec l’équipe de soins ; personne d’autre n’y gagne un accès",
                "that the record is shared with the care team; nobody else gains access by this",
            )
            return f"{you}{shares} {rest}{limits}."
        return say(
            "Ce choix ne dit ni oui ni non pour l’ensemble du dossier.",
            "This choice says neither yes nor no for the record as a whole.",
        )

    def exception(self, provision: Provision) -> str:
        """Return what a provision inside another says."""
        say = self._say
        kind = say("accès autorisé", "access allowed") if provision.type == "permit" else say(
            "accès refusé", "access refused")  # fmt: skip
        who = self._who(provision)
        to = f" {say('à', 'to')} {who}" if who else ""
        inner = "".join(f" ({self.exception(one)[:-1]})" for one in provision.provisions)
        return f"{say('Exception :', 'Exception:')} {kind}{to}{self._limits(provision)}{inner}."

    def _who(self, provision: Provision) -> str:
        """Return whom a provision names; "" where it names nobody."""
        if provision.parties is None:
            return ""
        unknown = self._say("une personne inconnue de la plateforme", "somebody the hub does not know")
        return self._joined(sorted({self._names.get(p.reference, p.reference) or unknown for p in provision.parties}))

    def _limits(self, provision: Provision) -> str:
        """Return what narrows a provision, each part after a comma."""
        say = self._say
        parts = []
        if provision.purposes is not None:
            parts.append(self._joined([say(*PURPOSES.get(p.code, (p.code, p.code))) for p in provision.purposes]))
        if provision.classes is not None:
            types = [type_in_words(c.code, say) if c.system == RESOURCE_TYPE else c.code for c in provision.classes]
            parts.append(say("seulement : ", "only: ") + self._joined(types))
        if provision.labels is not None:
            labels = [
                f"{say('confidentialité', 'confidentiality')} {one.code}"
                if one.system == CONFIDENTIALITY
                else say(*LABELS.get(one.code, (one.code, one.code)))
                for one in provision.labels
            ]
            parts.append(say("pour les données marquées : ", "for data marked: ") + self._joined(labels))
        if provision.codes is not None or provision.data is not None:
            parts.append(say("pour certaines données seulement", "for some data only"))
        if provision.data_period is not None:
            parts.append(say("pour les données ", "for data ") + self._span(provision.data_period))
        if provision.period is not None:
            parts.append(self._span(provision.period))
        return "".join(f", {part}" for part in parts)

    def _span(self, span: Span) -> str:
        say, parts = self._say, []
        if span.lo != ALWAYS_LO:
            parts.append(say("à partir du ", "from ") + self._day(span.lo))
        if span.hi != ALWAYS_HI:
            parts.append(say("jusqu’au ", "until ") + self._day(span.hi - 1))
        return " ".join(parts)

    def _day(self, at: int) -> str:
        return datetime.fromtimestamp(at // 1_000_000, UTC).astimezone(self._zone).strftime("%d/%m/%Y")

    def _joined(self, parts: Sequence[str]) -> str:
        if len(parts) < 2:
            return "".join(parts)
        return f"{', '.join(parts[:-1])} {self._say('et', 'and')} {parts[-1]}"
