"""The score as an Observation of its own, derived from the measurements; they stay as they came.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/observation.html
"""

from __future__ import annotations

from typing import Any, Final

from fhir_server.model import Resource
from triage_hooks import words
from triage_hooks.codes import ABSENT, CATEGORY, LEVEL, RULE, SCORE, coding, concept
from triage_hooks.engine import Evaluation
from triage_hooks.moment import written
from triage_hooks.rules.inputs import INPUTS

# A value that is there and cannot be used is an error of data; one that is not there is unknown.
REASONS: Final = {"absent": "unknown", "unit": "error", "implausible": "error", "unreadable": "error"}


def method(evaluation: Evaluation) -> dict[str, Any]:
    """Return the rule and its version as a CodeableConcept."""
    rule = evaluation.rule
    return concept(coding(RULE, rule.id, rule.title, rule.version), text=f"{rule.title}, {rule.source}")


def score_observation(evaluation: Evaluation, *, patient: str, device: str) -> Resource:
    """Return the Observation of a score.

    Its value is the least reachable score, which is the score itself when nothing is missing; then it is final,
    else preliminary. Components give the two ends, the points of each input, or why an input has none.
    """
    score, rule = evaluation.score, evaluation.rule
    name = rule.title if score.is_complete else f"{rule.title} : score le plus bas possible, données incomplètes"
    return {
        "resourceType": "Observation",
        "status": "final" if score.is_complete else "preliminary",
        "category": [concept(coding(CATEGORY, "survey", "Survey"))],
        "code": concept(coding(SCORE, rule.id, rule.title), text=name),
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": written(evaluation.at),
        "valueInteger": score.minimum,
        "interpretation": [concept(coding(LEVEL, score.level))],
        "note": [{"text": words.table(evaluation)}],
        "method": method(evaluation),
        "device": {"reference": device},
        "derivedFrom": [{"reference": reference} for reference in sources(evaluation)],
        "component": [
            _integer(f"{rule.id}-minimum", "Score le plus bas possible", score.minimum),
            _integer(f"{rule.id}-maximum", "Score le plus haut possible", score.maximum),
            _integer("spo2-scale", "Échelle de SpO2", evaluation.scale),
            *(_part(evaluation, item) for item in rule.inputs),
        ],
    }


def sources(evaluation: Evaluation) -> list[str]:
    """Return the references of the Observations used, each once."""
    return list(dict.fromkeys(reading.reference for reading in evaluation.used.values()))


def _integer(code: str, text: str, value: int) -> dict[str, Any]:
    return {"code": concept(coding(SCORE, code), text=text), "valueInteger": value}


def _part(evaluation: Evaluation, name: str) -> dict[str, Any]:
    points = evaluation.score.points[name]
    code = concept(coding(SCORE, f"{evaluation.rule.id}-{name.replace('_', '-')}"), text=INPUTS[name].french)
    if problem := evaluation.problems.get(name):
        return {
            "code": code,
            "dataAbsentReason": concept(coding(ABSENT, REASONS[problem]), text=words.PROBLEMS[problem][0]),
        }
    if points.low == points.high:
        return {"code": code, "valueInteger": points.low}
    return {"code": code, "valueRange": {"low": {"value": points.low}, "high": {"value": points.high}}}
