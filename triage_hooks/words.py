"""What an evaluation says in one line and in a table, French first."""

from __future__ import annotations

from typing import Final

from triage_hooks.engine import Evaluation, Reading
from triage_hooks.rules.bands import Bound
from triage_hooks.rules.inputs import INPUTS

PROBLEMS: Final = {
    "absent": ("pas de mesure récente", "no recent measurement"),
    "unit": ("autre unité que celle de la règle", "another unit than the rule's"),
    "implausible": ("valeur impossible", "impossible value"),
    "unreadable": ("valeur illisible", "unreadable value"),
}
UNITS: Final = {"/min": "/min", "%": "%", "mm[Hg]": "mmHg", "Cel": "°C", "": ""}
LEAST: Final = "au moins"


def measured(reading: Reading) -> tuple[str, str]:
    """Return a value as it was written, in French and in English: `39,4` and `39.4`, `oui` and `yes`."""
    value = reading.value
    if isinstance(value, bool):
        return ("oui", "yes") if value else ("non", "no")
    text = f"{value.comparator} {value.value}" if isinstance(value, Bound) else str(value)
    return text.replace(".", ","), text


def headline(evaluation: Evaluation) -> str:
    """Return the score in French: `NEWS2 9`, or `NEWS2 au moins 9, au plus 14` where something is missing."""
    score = evaluation.score
    if score.minimum == score.maximum and score.is_complete:
        return f"{evaluation.rule.title} {score.minimum}"
    return f"{evaluation.rule.title} {LEAST} {score.minimum}, au plus {score.maximum}"


def line(evaluation: Evaluation) -> str:
    """Return one line: the score, the values that give points, what is missing."""
    points = evaluation.score.points
    telling = [
        f"{INPUTS[name].short} {measured(reading)[0]}"
        for name, reading in evaluation.used.items()
        if points[name].high > 0
    ]
    made = headline(evaluation)
    if telling:
        made += f" ({', '.join(telling)})"
    if evaluation.problems:
        made += f". Manque : {', '.join(INPUTS[name].short for name in evaluation.problems)}"
    return made + "."


def table(evaluation: Evaluation) -> str:
    """Return one line for each input, with its value and points, or why it is missing."""
    rows = [_row(evaluation, name) for name in evaluation.rule.inputs]
    said = ""
    if evaluation.problems:
        said = (
            "Score incomplet : la valeur donnée est la plus basse possible, une donnée manquante n’est pas comptée "
            "comme normale. "
        )
    rule = evaluation.rule
    head = f"{headline(evaluation)}. {said}Règle {rule.id} {rule.version} ({rule.source})."
    return "\n".join([head, *rows])


def _row(evaluation: Evaluation, name: str) -> str:
    item = INPUTS[name]
    points = evaluation.score.points[name]
    reading = evaluation.used.get(name)
    if reading is None:
        return f"- {item.french} : {PROBLEMS[evaluation.problems[name]][0]} ({points.low} à {points.high})"
    told = str(points.low) if points.low == points.high else f"{points.low} à {points.high}"
    scale = f", échelle {evaluation.scale}" if name == "spo2" else ""
    return f"- {item.french} : {measured(reading)[0]} {UNITS[item.unit]}".rstrip() + f" ({told}{scale})"
