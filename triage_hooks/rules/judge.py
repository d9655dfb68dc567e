"""One door to each rule by its name, with plain JSON in and out: for vectors, tests and other programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

from triage_hooks.rules.bands import Value
from triage_hooks.rules.news2 import PARAMETERS, points, total
from triage_hooks.rules.qsofa import quick
from triage_hooks.rules.shock_index import shock_index

Json: TypeAlias = Mapping[str, Any]


class CannotJudge(Exception):
    """The rule is unknown, or its input is none that it can judge; the text says which."""


def judge(rule: str, given: Any) -> dict[str, Any]:
    """Apply a rule to an input.

    Args:
        rule: One of JUDGES.
        given: A JSON object, numbers as int or Decimal, in the rule's own units.

    Raises:
        CannotJudge: The rule is unknown, or an input is missing, unknown or of the wrong kind.
    """
    if rule not in JUDGES:
        raise CannotJudge("there is no such rule")
    if not isinstance(given, dict):
        raise CannotJudge("the input is no object")
    try:
        return JUDGES[rule](given)
    except KeyError as error:
        raise CannotJudge(f"{error.args[0]} is missing or unknown") from None
    except ValueError as error:
        raise CannotJudge(f"{error} cannot be judged") from None


def _number(given: Json, name: str) -> Decimal:
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError(name)
    return Decimal(value)


def _truth(given: Json, name: str) -> bool:
    if not isinstance(given[name], bool):
        raise ValueError(name)
    return bool(given[name])


def _value(name: str, value: Any) -> Value:
    if name in ("on_oxygen", "consciousness"):
        if not isinstance(value, (bool, str)):
            raise ValueError(name)
        return value
    return _number({name: value}, name)


def _scale(given: Json, name: str) -> int:
    scale = given.get(name, 1)
    if isinstance(scale, bool) or scale not in (1, 2):
        raise ValueError(name)
    return int(scale)


def _news2_subscore(given: Json) -> dict[str, Any]:
    asked = given["parameter"]
    name = "on_oxygen" if asked == "supplemental_oxygen" else asked
    if name not in PARAMETERS:
        raise KeyError("parameter")
    oxygen = _truth(given, "on_oxygen") if "on_oxygen" in given else None
    reached = points(name, _value(name, given["value"]), scale=_scale(given, "scale"), oxygen=oxygen)
    if reached.low != reached.high:
        return {"points": None, "minimum": reached.low, "maximum": reached.high}
    return {"points": reached.low}


def _news2_total(given: Json) -> dict[str, Any]:
    """Return the total; with inputs missing the two ends, and what is missing."""
    values = {name: _value(name, given[name]) for name in PARAMETERS if given.get(name) is not None}
    if not values:
        raise KeyError("every parameter")
    score = total(values, _scale(given, "spo2_scale"))
    made = {"total": score.minimum, "single_red": bool(score.red), "level": score.level}
    if score.is_complete:
        return made
    ends = {"minimum": score.minimum, "maximum": score.maximum, "level_maximum": score.level_most}
    return {**made, "total": None, **ends, "missing": list(score.missing)}


def _qsofa(given: Json) -> dict[str, Any]:
    made = quick(
        resp_rate=_number(given, "resp_rate"),
        systolic_bp=_number(given, "systolic_bp"),
        altered_mentation=_truth(given, "altered_mentation"),
    )
    return {"score": made.score, "positive": made.positive}


def _shock_index(given: Json) -> dict[str, Any]:
    made = shock_index(heart_rate=_number(given, "heart_rate"), systolic_bp=_number(given, "systolic_bp"))
    return {"index": made.quotient, "class": made.kind}


JUDGES: Final[Mapping[str, Callable[[Json], dict[str, Any]]]] = {
    "news2_subscore": _news2_subscore,
    "news2_total": _news2_total,
    "qsofa": _qsofa,
    "shock_index": _shock_index,
}
