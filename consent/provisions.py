"""Consent resources as frozen rules.

A rule keeps everything that narrows it; what this hub does not understand marks it, so that it never permits.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/consent.html; profiles of use: IHE ITI PCF.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from consent.codes import POLICY, RECIPIENTS, SCOPE, Coding
from consent.dates import Span, read_date, read_period

MAX_DEPTH: Final = 2  # provisions inside the root provision

_LOCAL = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?")
_KNOWN = frozenset(
    {
        "id", "extension", "type", "period", "actor", "action", "securityLabel", "purpose", "class", "code",
        "dataPeriod", "data", "provision",
    }
)  # fmt: skip


class Party(NamedTuple):
    """An actor of a provision."""

    reference: str  # `Type/id`; "" where it cannot be resolved here
    is_recipient: bool  # whether its role is that of one who receives data


class Datum(NamedTuple):
    """What a provision says of certain resources."""

    meaning: str  # instance related dependents authoredby
    reference: str  # `Type/id`; "" where it cannot be resolved here


@dataclass(frozen=True, slots=True)
class Provision:
    """One node of a rule; a criterion that is None matches everything."""

    type: str  # permit deny, or "" where none is given
    period: Span | None = None
    parties: tuple[Party, ...] | None = None
    actions: tuple[Coding, ...] | None = None
    purposes: tuple[Coding, ...] | None = None
    labels: tuple[Coding, ...] | None = None
    classes: tuple[Coding, ...] | None = None
    codes: tuple[Coding, ...] | None = None
    data_period: Span | None = None
    data: tuple[Datum, ...] | None = None
    is_understood: bool = True  # False: it holds what this hub cannot judge
    provisions: tuple[Provision, ...] = ()

    @property
    def is_about_some_data(self) -> bool:
        """Whether it depends on the resource, not on who asks alone."""
        return (self.labels, self.classes, self.codes, self.data_period, self.data) != (None,) * 5

    def walk(self) -> Iterator[Provision]:
        """Return this provision and all inside it."""
        yield self
        for inner in self.provisions:
            yield from inner.walk()


@dataclass(frozen=True, slots=True)
class Rule:
    """One active Consent that says who may see a patient's record."""

    id: str
    patient: str  # id
    lineage: tuple[Any, ...]  # Consents of one lineage are about the same matter: the newest stands
    dated: int | None  # start of dateTime, microseconds; None: undated
    updated: str  # meta.lastUpdated
    version: int
    at: str  # dateTime as it is written
    root: Provision

    @property
    def age(self) -> tuple[int, str, int]:
        """What orders the rules of a lineage; only for dated ones."""
        assert self.dated is not None
        return self.dated, self.updated, self.version


def local(reference: Any, base_url: str = "") -> str:
    """Return `Type/id` of a Reference to this server; "" for any other (logical, contained, elsewhere)."""
    text = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(text, str):
        return ""
    if base_url and text.startswith(base_url + "/"):
        text = text[len(base_url) + 1 :]
    match = _LOCAL.fullmatch(text)
    return f"{match[1]}/{match[2]}" if match else ""


def compile_consent(consent: Mapping[str, Any], *, zone: ZoneInfo, base_url: str = "") -> Rule | None:
    """Return the rule of a Consent; None where it says nothing about who may see a record.

    Args:
        consent: A Consent as it is stored.
        zone: In which its bare dates are days.
        base_url: Of this server's FHIR root; absolute references below it are local.
    """
    patient = local(consent.get("patient"), base_url)
    scope = _codings(consent.get("scope", {}))
    if consent.get("status") != "active" or Coding(*SCOPE) not in scope or not patient.startswith("Patient/"):
        return None
    root = _root(consent, zone, base_url)
    dated = read_date(consent.get("dateTime"), zone)
    meta = consent.get("meta", {})
    return Rule(
        id=str(consent.get("id", "")),
        patient=patient.removeprefix("Patient/"),
        lineage=_lineage(consent, patient, scope, root, base_url),
        dated=dated.lo if dated else None,
        updated=str(meta.get("lastUpdated", "")),
        version=int(meta.get("versionId", "0")) if str(meta.get("versionId", "0")).isdigit() else 0,
        at=str(consent.get("dateTime", "")),
        root=root,
    )


def depth(consent: Mapping[str, Any]) -> int:
    """Return how deep provisions are nested inside the root provision."""

    def below(provision: Mapping[str, Any]) -> int:
        return max((1 + below(inner) for inner in provision.get("provision", ())), default=0)

    return below(consent.get("provision", {}))


def standing(rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules that stand: of each lineage the newest; an undated one replaces none and is not replaced.

    Rules of one lineage that nothing tells apart in time all stand. The result does not depend on the order given.
    """
    newest: dict[tuple[Any, ...], tuple[int, str, int]] = {}
    for rule in rules:
        if rule.dated is not None:
            newest[rule.lineage] = max(newest.get(rule.lineage, rule.age), rule.age)
    return [rule for rule in rules if rule.dated is None or rule.age == newest[rule.lineage]]


def _lineage(
    consent: Mapping[str, Any], patient: str, scope: frozenset[Coding], root: Provision, base_url: str
) -> tuple[Any, ...]:
    """Return what a Consent is about: patient, scope, category, policy, organization, and whom its root names."""
    return (
        patient,
        scope,
        frozenset(coding for concept in consent.get("category", ()) for coding in _codings(concept)),
        frozenset(str(policy.get("uri", "")) for policy in consent.get("policy", ())),
        frozenset(local(one, base_url) or repr(one) for one in consent.get("organization", ())),
        None if root.parties is None else frozenset(root.parties),
    )


def _root(consent: Mapping[str, Any], zone: ZoneInfo, base_url: str) -> Provision:
    """Return the root provision; one without type takes it from policyRule OPTIN or OPTOUT."""
    policy = {coding.code for coding in _codings(consent.get("policyRule", {})) if coding.system == POLICY}
    implied = {frozenset({"OPTIN"}): "permit", frozenset({"OPTOUT"}): "deny"}.get(
        frozenset(policy & {"OPTIN", "OPTOUT"}), ""
    )
    understood = "modifierExtension" not in consent and "implicitRules" not in consent
    provision = consent.get("provision", {})
    return _provision(provision, provision.get("type") or implied, understood, zone, base_url)


def _provision(raw: Mapping[str, Any], type: str, understood: bool, zone: ZoneInfo, base_url: str) -> Provision:
    period = read_period(raw["period"], zone) if "period" in raw else None
    data_period = read_period(raw["dataPeriod"], zone) if "dataPeriod" in raw else None
    data = raw.get("data", ())
    understood = (
        understood
        and all(key in _KNOWN or key.startswith("_") for key in raw)
        and type in ("permit", "deny", "")
        and ("period" not in raw or period is not None)
        and ("dataPeriod" not in raw or data_period is not None)
        and not any("modifierExtension" in one for one in (*raw.get("actor", ()), *data))
    )
    return Provision(
        type=type,
        period=period,
        parties=_all(raw, "actor", lambda actor: [_party(actor, base_url)]),
        actions=_all(raw, "action", _listed),
        purposes=_all(raw, "purpose", lambda coding: [_coding(coding)]),
        labels=_all(raw, "securityLabel", lambda coding: [_coding(coding)]),
        classes=_all(raw, "class", lambda coding: [_coding(coding)]),
        codes=_all(raw, "code", _listed),
        data_period=data_period,
        data=_all(raw, "data", lambda one: [Datum(str(one.get("meaning", "")), local(one.get("reference"), base_url))]),
        is_understood=understood,
        provisions=tuple(
            _provision(inner, inner.get("type", ""), understood, zone, base_url) for inner in raw.get("provision", ())
        ),
    )


def _all(raw: Mapping[str, Any], key: str, read: Any) -> tuple[Any, ...] | None:
    """Return what the values of a criterion are read as; None where the criterion is absent."""
    return tuple(made for value in raw[key] for made in read(value)) if key in raw else None


def _party(actor: Mapping[str, Any], base_url: str) -> Party:
    return Party(local(actor.get("reference"), base_url), bool(_codings(actor.get("role", {})) & RECIPIENTS))


def _coding(coding: Mapping[str, Any]) -> Coding:
    return Coding(str(coding.get("system", "")), str(coding.get("code", "")))


def _listed(concept: Mapping[str, Any]) -> list[Coding]:
    """Return the codings of a CodeableConcept; one that cannot be compared where it has none."""
    return [_coding(coding) for coding in concept.get("coding", ())] or [Coding("", "")]


def _codings(concept: Mapping[str, Any]) -> frozenset[Coding]:
    return frozenset(_coding(coding) for coding in concept.get("coding", ()))
