"""Compiled consent decisions agree with a plain evaluator, whatever the order of the Consents."""

from __future__ import annotations

import os
import random
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.decide import DENY, PERMIT, decide
from consent.matching import Asker
from consent.provisions import compile_consent
from consent.team import compile_team
from tests.property import consent_oracle as oracle

EXAMPLES = int(os.environ.get("PREDMP_ORACLE_EXAMPLES", "1000"))  # each: 1-4 Consents x 1-3 resources
ZONE = ZoneInfo("Europe/Paris")
SYSTEM = "http://terminology.hl7.org/CodeSystem/"
ME = frozenset({"Practitioner/p", "Organization/o"})
NOW = [
    datetime.fromisoformat(text)
    for text in (
        "2026-05-01T00:00:00+02:00",
        "2026-04-30T23:59:59+02:00",
        "2026-11-20T12:00:00Z",
        "2025-01-01T00:00:00+01:00",
    )
]
DATES = ["2025", "2026", "2026-04-30", "2026-05-01", "2026-11-20", "2026-04-30T23:59:59+02:00", "2026-11-20T12:00:00Z"]
REFERENCES = [*sorted(ME), "Practitioner/q", "Group/g", "https://elsewhere.example/Practitioner/p"]


def listed(*values: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2)


def coding(system: str, code: str) -> dict[str, str]:
    return {"system": SYSTEM + system, "code": code}


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [coding(system, code)]}


def periods() -> st.SearchStrategy[dict[str, str]]:
    bounds = st.sampled_from(DATES)
    both = st.fixed_dictionaries({}, optional={"start": bounds, "end": bounds})
    return both.filter(lambda p: len(p) < 2 or oracle.first(p["start"]) < oracle.past(p["end"]))


ACTORS = [
    *({"role": concept("v3-ParticipationType", "IRCP"), "reference": {"reference": r}} for r in REFERENCES),
    {"role": concept("v3-ParticipationType", "CST"), "reference": {"reference": "Organization/o"}},
    {"role": concept("v3-ParticipationType", "PRCP"), "reference": {"display": "someone"}},
]
LABELS = [
    *(coding("v3-Confidentiality", c) for c in "LNRV"),
    *(coding("v3-ActCode", c) for c in ("ETH", "ETHUD", "HIV")),
]
CODES = [{"coding": [{"system": "http://loinc.org", "code": code}]} for code in ("8867-4", "8480-6", "2708-6")]
CRITERIA: dict[str, st.SearchStrategy[Any]] = {
    "period": periods(),
    "actor": listed(*ACTORS),
    "action": listed(*(concept("consentaction", c) for c in ("access", "correct", "disclose"))),
    "purpose": listed(
        *(coding("v3-ActReason", c) for c in ("TREAT", "ETREAT", "HRESCH")), {"system": "urn:x", "code": "TREAT"}
    ),
    "securityLabel": listed(*LABELS),
    "class": listed(
        *({"system": "http://hl7.org/fhir/resource-types", "code": c} for c in ("Observation", "Condition"))
    ),
    "code": listed(*CODES),
    "dataPeriod": periods(),
    "data": listed(
        *({"meaning": m, "reference": {"reference": r}} for m, r in (
            ("instance", "Observation/1"), ("related", "Observation/1"), ("related", "Observation/2"),
            ("dependents", "Encounter/e"), ("dependents", "Observation/1"), ("authoredby", "Practitioner/q"),
        ))
    ),
    "modifierExtension": st.just([{"url": "urn:x", "valueBoolean": True}]),
}  # fmt: skip


@st.composite
def provisions(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    """Half of them plain, so that permissions come about; `modifierExtension` is rare, since it ends them all."""
    made: dict[str, Any] = {}
    if kind := draw(st.sampled_from(["permit", "permit", "deny", ""])):
        made["type"] = kind
    if draw(st.booleans()):
        made["actor"] = draw(st.sampled_from([[ACTORS[0]], [ACTORS[1]]]) | CRITERIA["actor"])
    if draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from(["class", "code", "data", "securityLabel"]))
        made[name] = draw(CRITERIA[name])
    elif draw(st.booleans()):
        for name in draw(st.lists(st.sampled_from(sorted(CRITERIA)), max_size=2, unique=True)):
            if name != "modifierExtension" or draw(st.integers(0, 3)) == 0:
                made[name] = draw(CRITERIA[name])
    if depth and draw(st.booleans()) and (inner := draw(st.lists(provisions(depth - 1), max_size=2))):
        made["provision"] = inner
    return made


@st.composite
def consents(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {
        "resourceType": "Consent",
        "status": draw(st.sampled_from(["active", "active", "active", "inactive", "draft"])),
        "patient": {"reference": "Patient/1"},
        "scope": concept("consentscope", "patient-privacy"),
        "meta": {
            "versionId": draw(st.sampled_from("12")),
            "lastUpdated": draw(st.sampled_from(["2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"])),
        },
        "provision": draw(provisions(2)),
    }
    if date := draw(st.sampled_from(["", "2026", "2026-05-01", "2026-11-20T12:00:00Z"])):
        made["dateTime"] = date
    if policy := draw(st.sampled_from(["", "OPTIN", "OPTOUT"])):
        made["policyRule"] = concept("v3-ActCode", policy)
    if draw(st.booleans()):
        made["organization"] = [{"reference": "Organization/o"}]
    if draw(st.integers(0, 9)) == 0:
        made["modifierExtension"] = [{"url": "urn:x", "valueBoolean": True}]
    return made


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {
        "resourceType": "Observation",
        "id": draw(st.sampled_from("12")),
        "code": draw(st.sampled_from(CODES)),
    }
    if labels := draw(st.lists(st.sampled_from(LABELS), max_size=2)):
        made["meta"] = {"security": labels}
    if date := draw(st.sampled_from(["", *DATES])):
        made["effectiveDateTime"] = date
    if draw(st.booleans()):
        made["performer"] = [{"reference": "Practitioner/q"}]
    if draw(st.booleans()):
        made["encounter"] = {"reference": "Encounter/e"}
    if draw(st.booleans()):
        made["component"] = [{"code": draw(st.sampled_from(CODES))}]
    return made


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(consents(), min_size=1, max_size=4),
    st.lists(resources(), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from(NOW),
    st.sampled_from(["TREAT", "ETREAT", "BTG", "HRESCH", "CLINTRCH"]),
    st.randoms(use_true_random=False),
)
def test_a_decision_is_what_the_plain_evaluator_says(
    given_consents: list[dict[str, Any]],
    looked_at: list[dict[str, Any]],
    member: bool,
    now: datetime,
    purpose: str,
    shuffling: random.Random,
) -> None:
    for number, consent in enumerate(given_consents):
        consent["id"] = str(number)
    seen = decided(given_consents, looked_at, member, now, purpose)
    for resource, sees in zip(looked_at, seen, strict=True):
        ask = {"resource": resource, "names": ME, "purpose": purpose, "now": now}
        assert sees is oracle.may_see(given_consents, member, ask)
    shuffled = list(given_consents)
    shuffling.shuffle(shuffled)
    assert decided(shuffled, looked_at, member, now, purpose) == seen


def decided(
    given_consents: list[dict[str, Any]], looked_at: list[dict[str, Any]], member: bool, now: datetime, purpose: str
) -> list[bool]:
    """Return for each resource whether the compiled decision shows it."""
    rules = [rule for one in given_consents if (rule := compile_consent(one, zone=ZONE))]
    team = {"id": "t", "status": "active", "subject": {"reference": "Patient/1"}}
    made = compile_team({**team, "participant": [{"member": {"reference": "Practitioner/p"}}]}, zone=ZONE)
    decision = decide(
        Asker(ME, purpose), rules, [made] if member and made else [], now=int(now.timestamp()) * 1_000_000, zone=ZONE
    )
    if decision.sees is None:
        assert decision.outcome in (PERMIT, DENY)
        return [decision.outcome == PERMIT] * len(looked_at)
    return [decision.sees(resource) for resource in looked_at]


@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_shuffles_decide_the_same(seed: int) -> None:
    shuffling = random.Random(seed)
    many = [
        {
            "id": str(n), "status": "active", "patient": {"reference": "Patient/1"},
            "scope": concept("consentscope", "patient-privacy"),
            "meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00.000Z"},
            **({"dateTime": f"2026-0{shuffling.randint(1, 4)}-01"} if shuffling.random() < 0.8 else {}),
            "provision": {"type": shuffling.choice(["permit", "permit", "deny"]), "actor": [shuffling.choice(ACTORS)]},
        }
        for n in range(12)
    ]  # fmt: skip
    looked_at = [{"resourceType": "Observation", "id": "1", "code": CODES[0]}]
    answers = set()
    for _ in range(100):
        shuffling.shuffle(many)
        answers.add(tuple(decided(many, looked_at, True, NOW[2], "TREAT")))
    assert len(answers) == 1
