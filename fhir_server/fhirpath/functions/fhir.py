"""The functions that FHIR adds.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/fhirpath.html#functions
"""

from __future__ import annotations

from typing import Any, Final

from fhir_server.definitions import codes
from fhir_server.fhirpath.failures import EvaluationError
from fhir_server.fhirpath.functions.arguments import Function, text_of
from fhir_server.fhirpath.narrative import is_narrative
from fhir_server.fhirpath.nodes import Collection, Node, Run, children_named, is_a, node, referred_type
from fhir_server.fhirpath.types import TypeName, is_known

_STRUCTURES: Final = "http://hl7.org/fhir/StructureDefinition/"


def _extension(_: Run, items: Collection, url: Collection) -> Collection:
    wanted = text_of(url)
    return [
        extension
        for item in items
        if isinstance(item, Node)
        for extension in children_named(item, "extension")
        if isinstance(extension.value, dict) and extension.value.get("url") == wanted
    ]


def _has_extension(run: Run, items: Collection, url: Collection) -> Collection:
    return [bool(_extension(run, items, url))]


def resolve(run: Run, item: Any) -> list[Node]:
    """Return what a reference points to.

    Contained resources are found in the input, others by the environment's resolver. What is not found
    but says its type gives an item of that type without content: `resolve() is Patient` needs no more.
    """
    value = item.value if isinstance(item, Node) else item
    said = ""
    if isinstance(value, dict):
        said = value.get("type") or ""
        value = value.get("reference")
    if isinstance(value, str):
        if value.startswith("#"):
            return _contained(run, value[1:])
        resolver = run.environment.resolver
        found = resolver(value) if resolver else None
        if found is not None:
            return [node(found)]
        said = referred_type(value) or said
    return [Node({}, said)] if isinstance(said, str) and is_known(said) else []


def _contained(run: Run, id: str) -> list[Node]:
    root = run.root
    if root is None or not isinstance(root.value, dict):
        return []
    if not id:
        return [root]
    held = root.value.get("contained")
    listed = held if isinstance(held, list) else []
    return [node(resource) for resource in listed if isinstance(resource, dict) and resource.get("id") == id]


def _resolve(run: Run, items: Collection) -> Collection:
    run.spend(len(items))
    return [found for item in items for found in resolve(run, item)]


def _codings(item: Any) -> list[tuple[Any, Any]]:
    value = item.value if isinstance(item, Node) else item
    if isinstance(value, str):
        return [(None, value)]
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("coding"), list):
        return [pair for coding in value["coding"] for pair in _codings(Node(coding, "Coding"))]
    return [(value.get("system"), value.get("code"))]


def _member_of(run: Run, items: Collection, url: Collection) -> Collection:
    """Empty where neither the definitions nor the environment know whether a code is of the value set."""
    wanted = text_of(url)
    if not wanted or len(items) != 1:
        return []
    pairs = _codings(items[0])
    members = codes(wanted.split("|")[0])
    if members is not None:
        plain = {known for _, known in members}
        return [any(pair in members or (pair[0] is None and pair[1] in plain) for pair in pairs)]
    return _asked(run, wanted, pairs)


def _asked(run: Run, value_set: str, pairs: list[tuple[Any, Any]]) -> Collection:
    ask = run.environment.member_of
    if ask is None:
        return []
    run.spend(len(pairs))
    known = [(system if isinstance(system, str) else None, code) for system, code in pairs if isinstance(code, str)]
    answers = [ask(value_set, system, code) for system, code in known]
    return [True] if True in answers else [] if None in answers else [False]


def _conforms_to(run: Run, items: Collection, url: Collection) -> Collection:
    canonical = text_of(url) or ""
    wanted = canonical.split("|")[0]
    name = wanted.removeprefix(_STRUCTURES)
    if not wanted:
        return []
    if name != wanted and is_known(name):
        return [is_a(item, TypeName("FHIR", name)) for item in items[:1]]
    ask = run.environment.conforms_to
    answers = [ask(canonical, item) if ask and isinstance(item, Node) else None for item in items[:1]]
    if None in answers or (ask is None and not answers):
        raise EvaluationError("conformsTo() does not know this profile.")
    return list(answers)


def _html_checks(_: Run, items: Collection) -> Collection:
    return [is_narrative(text) for item in items if (text := text_of([item])) is not None]


FUNCTIONS: Final = {
    "extension": Function(_extension, 1, 1),
    "hasExtension": Function(_has_extension, 1, 1),  # used by R4's own search parameters, in no standard
    "resolve": Function(_resolve),
    "memberOf": Function(_member_of, 1, 1),
    "conformsTo": Function(_conforms_to, 1, 1),
    "htmlChecks": Function(_html_checks),
}
