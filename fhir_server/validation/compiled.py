"""The compiled checks, one function for each structure, made when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

from fhir_server.definitions import Element, Structure, codes, properties, resource_types, structure
from fhir_server.validation import contained, findings, invariants, parts, primitives, source
from fhir_server.validation.findings import Context, Problem, Problems
from fhir_server.validation.parts import Check

_scope: Final[dict[str, Any]] = {
    "Decimal": Decimal,
    "DOM_3": contained.DOM_3,
    "unreferenced": contained.unreferenced,
    **{check.__name__: check for check in primitives.SYNTAX.values()},
    **{name: getattr(findings, name) for name in ("join", "join_below", "join_item", "not_object", "not_array")},
    **{name: getattr(parts, name) for name in ("ELE_1", "TOO_MANY", "TWICE", "code_fault", "coded", "not_coded")},
    **{name: getattr(parts, name) for name in ("join_narrative", "primitives", "under", "unders")},
    "fault": primitives.fault,
}
"""Globals of all functions that are compiled; `check_X` stands here for each structure X that another one holds."""


_checks: Final[dict[str, Check]] = {}  # by structure name; the same functions


def check(structure_name: str) -> Check:
    """Return the check of a structure; it is compiled when it is called for the first time."""
    found: Check | None = _checks.get(structure_name)
    if found is None:

        def found(o: dict[str, Any], cx: Context) -> Problems:
            return _compile(structure(structure_name))(o, cx)

        _checks[structure_name] = _scope[f"check_{source.identifier(structure_name)}"] = found
    return found


def resource_problems(value: Any) -> Problems:
    """Check a resource that stands by itself: at the root, in an entry of a Bundle, in a parameter."""
    found = _of_type(value)
    return found(value, (value, value, {})) if callable(found) else found


def contained_problems(value: Any, cx: Context) -> Problems:
    """Check a resource contained in another one."""
    found = _of_type(value)
    if not callable(found):
        return found
    problems = found(value, (value, cx[1], cx[2]))
    broken = contained.broken_rules(value)
    return findings.join(problems, broken) if broken else problems


def _of_type(value: Any) -> Check | list[Problem]:
    """Return the check of a resource's type, or why it has none."""
    if value.__class__ is not dict or not value:
        return findings.not_object(value)
    type = value.get("resourceType")
    if type.__class__ is not str:
        return [("", "structure", "A resource must say its resourceType.")]
    if type in resource_types():
        return check(type)
    return [("", "not-supported", "R4 has no resource of this resourceType.")]


_scope.update(resource_problems=resource_problems, contained_problems=contained_problems)


class _Others(dict[str, Callable[[str, Any, dict[str, Any], Context], Problems]]):
    """By JSON key: the check of what the structure does not check in line; made when the key is first seen."""

    def __init__(self, owner: Structure) -> None:
        self.owner = owner

    def __missing__(self, key: str) -> Callable[[str, Any, dict[str, Any], Context], Problems]:
        plain = key.removeprefix("_")
        found = properties(self.owner.name).get(plain)
        if found is None or (plain != key and not source.has_under(self.owner, *found)):
            return lambda k, v, o, cx: findings.unknown_element(k)
        element, type = found
        _provide(self.owner, element, [type])
        write = source.element_source if plain == key else source.under_source
        name = f"check_{source.identifier(self.owner.name)}__{key}"
        _run(source.function_source(name, write(self.owner, element, plain, type)))
        self[key] = _scope[name]
        return self[key]


def _run(text: str) -> None:
    exec(compile(text, "<R4 definitions>", "exec"), _scope)  # noqa: S102 - text written from our own definitions


def _compile(owner: Structure) -> Check:
    """Put `check_X` of a structure into the scope, with what its source names; return it."""
    name = source.identifier(owner.name)
    _scope[f"others_{name}"] = _Others(owner)
    _scope[f"siblings_{name}"] = _siblings(owner)
    for element in owner.elements.values():
        _scope[f"keys_{name}__{element.name}"] = frozenset(source.every_key(owner, element))
    for element in source.in_line(owner):
        _provide(owner, element, list(element.types))
    rules = list(invariants.of_structure(owner))
    _run(source.structure_source(owner, _rule_lines(f"rule_{name}", rules, owner)))
    made: Check = _scope[f"check_{name}"]
    _checks[owner.name] = made
    return made


def _rule_lines(prefix: str, rules: list[invariants.Rule], owner: Structure | None) -> Iterator[str]:
    for number, rule in enumerate(rules):
        _scope[f"{prefix}_{number}"] = rule.holds
        _scope[f"{prefix}_{number}_broken"] = rule.problem
        broken = f"if not {prefix}_{number}(o, cx): f = join(f, [{prefix}_{number}_broken])"
        if owner and rule.guard:
            yield f"if {source.presence(owner, owner.elements[rule.guard])}:"
            yield "    " + broken
        else:
            yield broken


def _provide(owner: Structure, element: Element, types: list[str]) -> None:
    """Put into the scope what the source of an element's check names."""
    for type in types:
        if type != "Resource":
            check(type)
    bound = source.bound(element)
    if bound != "None" and bound not in _scope:
        pairs = codes(element.binding) or frozenset()
        is_code = source.is_primitive(element.types[0])
        _scope[bound] = frozenset(code for _, code in pairs) if is_code else pairs
    name = f"rules_{source.identifier(owner.name)}__{element.name}"
    if element.constraints and name not in _scope:
        rules = list(invariants.of_element(owner, element))
        lines = "\n".join("    " + line for line in _rule_lines(name.replace("rules_", "rule_"), rules, None))
        _run(f"def {name}(o, cx):\n    f = None\n{lines}\n    return f\n")


def _siblings(owner: Structure) -> dict[str, frozenset[str]]:
    """Return, for each key of a choice, the keys that may not stand beside it."""
    found = {}
    for element in owner.elements.values():
        if element.choice:
            every = source.every_key(owner, element)
            for key in source.json_keys(element):
                found[key] = frozenset(every) - {key, f"_{key}"}
    return found
