"""The invariants that most resources meet, written in Python; each gives what FHIRPath gives (a test compares).

Every function takes the element that the invariant stands at, a dict, and says whether the invariant holds.
Source of the expressions: FHIR R4 4.0.1, the constraints of the definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from fhir_server.definitions import structure
from fhir_server.validation.findings import Context
from fhir_server.validation.source import every_key


@cache
def _value_keys(type: str) -> frozenset[str]:
    return frozenset(every_key(structure(type), structure(type).elements["value"]))


def has(o: dict[str, Any], *names: str) -> bool:
    """Whether one of the elements is there, with a value or without."""
    return any(name in o or f"_{name}" in o for name in names)


def _list(value: Any) -> list[Any]:
    return value if value.__class__ is list else []


def ext_1(o: dict[str, Any], cx: Context) -> bool:
    """Must have either extensions or value[x], not both."""
    return ("extension" in o) == _value_keys("Extension").isdisjoint(o)


def ref_1(o: dict[str, Any], cx: Context) -> bool:
    """A local reference names a contained resource; `#` alone is the container."""
    reference = o.get("reference")
    if reference.__class__ is not str or not reference.startswith("#") or reference == "#":
        return True
    return any(x.get("id") == reference[1:] for x in _list(cx[1].get("contained")) if x.__class__ is dict)


def qty_3(o: dict[str, Any], cx: Context) -> bool:
    """A code for the unit needs its system."""
    return "system" in o or "_system" in o or not has(o, "code")


def sqty_1(o: dict[str, Any], cx: Context) -> bool:
    """The comparator is not used on a SimpleQuantity."""
    return not has(o, "comparator")


def cpt_2(o: dict[str, Any], cx: Context) -> bool:
    """A system is required if a value is provided."""
    return "system" in o or "_system" in o or not has(o, "value")


def obs_6(o: dict[str, Any], cx: Context) -> bool:
    """Only one of dataAbsentReason and value."""
    return "dataAbsentReason" not in o or _value_keys("Observation").isdisjoint(o)


def obs_7(o: dict[str, Any], cx: Context) -> bool:
    """No value beside a component that has the code of the Observation."""
    if _value_keys("Observation").isdisjoint(o):
        return True
    codings = _codings(cx[0].get("code"))
    components = [x for x in _list(o.get("component")) if x.__class__ is dict]
    return not any(coding in codings for x in components for coding in _codings(x.get("code")))


def que_7(o: dict[str, Any], cx: Context) -> bool:
    """If the operator is 'exists', the value must be a boolean."""
    return o.get("operator") != "exists" or has(o, "answerBoolean")


def tim_9(o: dict[str, Any], cx: Context) -> bool:
    """An offset needs a when that is none of C, CM, CD and CV."""
    if not has(o, "offset"):
        return True
    return has(o, "when") and not any(x in ("C", "CM", "CD", "CV") for x in _list(o.get("when")))


def _codings(concept: Any) -> list[Any]:
    return _list(concept.get("coding")) if concept.__class__ is dict else []


NATIVE: Final[Mapping[str, Callable[[dict[str, Any], Context], bool]]] = {
    "cpt-2": cpt_2,
    "ext-1": ext_1,
    "obs-6": obs_6,
    "obs-7": obs_7,
    "qty-3": qty_3,
    "que-7": que_7,
    "ref-1": ref_1,
    "sqty-1": sqty_1,
    "tim-9": tim_9,
}
"""By key of the constraint; the keys are those that R4 uses once."""
