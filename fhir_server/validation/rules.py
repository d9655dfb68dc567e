"""The invariants that most resources meet, written in Python; each gives what FHIRPath gives (a test compares).

Every function takes the element that the invariant stands at, a dict, and says whether the invariant holds.
Source of the expressions: FHIR R4 4.0.1, the constraints of the definitions.
"""

from __future__ import annotations

import re
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
    ids = cx[2].get("contained ids")
    if ids is None:
        every = (x.get("id") for x in _objects(cx[1], "contained"))
        ids = cx[2]["contained ids"] = {id for id in every if id.__class__ is str}
    return reference[1:] in ids


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
    own = {_spelled(coding) for coding in _codings(cx[0].get("code"))}
    components = _objects(o, "component")
    return not any(_spelled(coding) in own for x in components for coding in _codings(x.get("code")))


def _spelled(coding: Any) -> str:
    """Return the same text for codings that are equal, however their keys are ordered."""
    return repr(sorted(coding.items()) if coding.__class__ is dict else coding)


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


def att_1(o: dict[str, Any], cx: Context) -> bool:
    """Data need a contentType."""
    return "contentType" in o or "_contentType" in o or not has(o, "data")


def per_1(o: dict[str, Any], cx: Context) -> bool | None:
    """If present, start SHALL have a lower value than end; None where the texts alone do not say."""
    start, end = o.get("start"), o.get("end")
    if start.__class__ is not str or end.__class__ is not str:
        return True
    if len(start) != len(end) or start[19:] != end[19:]:  # other precision, fraction or zone
        return None
    return bool(start <= end)


_NAME = r"[^\s.,:;'\"/|?!@#$%&*()\[\]{}]{1,64}"
_is_path = re.compile(rf"{_NAME}(?:\.{_NAME}(?:\[x\])?(?::[^\s.]+)?)*").fullmatch
_is_slice_name = re.compile(r"[a-zA-Z0-9/\-_\[\]@]+").fullmatch


def eld_16(o: dict[str, Any], cx: Context) -> bool:
    """A sliceName has letters, digits and a few signs."""
    name = o.get("sliceName")
    return name.__class__ is not str or _is_slice_name(name) is not None


def eld_19(o: dict[str, Any], cx: Context) -> bool:
    """Element names cannot include some special characters; the pattern needs time linear in the path."""
    path = o.get("path")
    return path.__class__ is not str or _is_path(path) is not None


def ig_1(o: dict[str, Any], cx: Context) -> bool:
    """A groupingId names a grouping of the guide."""
    known = {x.get("id") for x in _objects(o, "grouping") if x.get("id").__class__ is str}
    wanted = (x["groupingId"] for x in _objects(o, "resource") if "groupingId" in x)
    return all(id.__class__ is str and id in known for id in wanted)


def ig_2(o: dict[str, Any], cx: Context) -> bool:
    """A resource's fhirVersion is one of the guide's."""
    definition = o.get("definition")
    known = {x for x in _list(o.get("fhirVersion")) if x.__class__ is str}
    resources = _objects(definition, "resource") if definition.__class__ is dict else []
    wanted = (x for resource in resources for x in _list(resource.get("fhirVersion")))
    return all(version.__class__ is str and version in known for version in wanted)


def _objects(o: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [item for item in _list(o.get(name)) if item.__class__ is dict]


def bdl_2(o: dict[str, Any], cx: Context) -> bool:
    """Bundle.entry.search only in a searchset."""
    return o.get("type") == "searchset" or not any("search" in entry for entry in _objects(o, "entry"))


def bdl_3(o: dict[str, Any], cx: Context) -> bool:
    """Bundle.entry.request is mandatory for batch, transaction and history, otherwise prohibited."""
    wanted = o.get("type") in ("batch", "transaction", "history")
    return all(("request" in entry) is wanted for entry in _objects(o, "entry"))


def bdl_4(o: dict[str, Any], cx: Context) -> bool:
    """Bundle.entry.response is mandatory for responses and history, otherwise prohibited."""
    wanted = o.get("type") in ("batch-response", "transaction-response", "history")
    return all(("response" in entry) is wanted for entry in _objects(o, "entry"))


def bdl_5(o: dict[str, Any], cx: Context) -> bool:
    """An entry has a resource, a request or a response."""
    return "resource" in o or "request" in o or "response" in o


def bdl_7(o: dict[str, Any], cx: Context) -> bool:
    """Each fullUrl is there once, or with different versions; but in a history."""
    if o.get("type") == "history":
        return True
    named = [
        (entry["fullUrl"], _version(entry.get("resource"))) for entry in _objects(o, "entry") if "fullUrl" in entry
    ]
    texts = [f"{url}{version}" for url, version in named if url.__class__ is str]
    return len(set(texts)) == len(texts)


def _version(resource: Any) -> str:
    meta = resource.get("meta") if resource.__class__ is dict else None
    version = meta.get("versionId") if meta.__class__ is dict else None
    return version if version.__class__ is str else ""


def bdl_8(o: dict[str, Any], cx: Context) -> bool:
    """A fullUrl is no reference to a version."""
    url = o.get("fullUrl")
    return url.__class__ is not str or "/_history/" not in url


def csd_1(o: dict[str, Any], cx: Context) -> bool | None:
    """Codes are unique; None where the JSON is not plain. FHIRPath reaches its bound on some 50,000 concepts."""
    seen: set[str] = set()
    waiting = [o]
    while waiting:
        holder = waiting.pop()
        if "contained" in holder or "_code" in holder or holder.get("concept", []).__class__ is not list:
            return None
        for concept in holder.get("concept", []):
            if concept.__class__ is not dict or concept.get("code").__class__ is not str:
                return None
            if concept["code"] in seen:
                return False
            seen.add(concept["code"])
            waiting.append(concept)
    return True


NATIVE: Final[Mapping[str, Callable[[dict[str, Any], Context], bool | None]]] = {
    "att-1": att_1,
    "bdl-2": bdl_2,
    "bdl-3": bdl_3,
    "bdl-4": bdl_4,
    "bdl-5": bdl_5,
    "bdl-7": bdl_7,
    "bdl-8": bdl_8,
    "cpt-2": cpt_2,
    "csd-1": csd_1,
    "eld-16": eld_16,
    "eld-19": eld_19,
    "ext-1": ext_1,
    "ig-1": ig_1,
    "ig-2": ig_2,
    "obs-6": obs_6,
    "obs-7": obs_7,
    "per-1": per_1,
    "qty-3": qty_3,
    "que-7": que_7,
    "ref-1": ref_1,
    "sqty-1": sqty_1,
    "tim-9": tim_9,
}
"""By key of the constraint; the keys are those that R4 uses once."""

PARTIAL: Final = frozenset(["csd-1", "per-1"])
"""Those that give None where the engine has to decide."""
