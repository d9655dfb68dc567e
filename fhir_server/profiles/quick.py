"""A profile compiled to one question, as most resources that are written conform: is there certainly no error?

Yes is certain; no means that it is to be checked in full (`check.py`), which also says what is wrong. What is seldom
met (elements with extensions, slices told apart by a profile, references into the resource) is answered no, and a
profile that has a part of a kind that is not compiled here is always checked in full. Warnings are not looked for.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from fhir_server import fhirpath
from fhir_server.definitions import Constraint, is_structure, structure
from fhir_server.fhirpath.nodes import Node, referred_type
from fhir_server.fhirpath.types import ancestors, is_primitive
from fhir_server.model import Resource
from fhir_server.profiles.findings import Budget, Coded, Known, Run
from fhir_server.profiles.part import STRUCTURES, Discriminator, Part, Profile, Slicing, TypeRule, bare
from fhir_server.profiles.slicing import DEFAULT, OPEN, expectation, steps_of
from fhir_server.profiles.values import dig, fits, is_equal

MOST_BYTES: Final = 20_000  # of a resource: what is larger has the budget of a full check


class Context(NamedTuple):
    """What a question may look up."""

    root: Resource
    members: Mapping[Coded, bool | None]


Holds: TypeAlias = Callable[[Any, Context], bool]
"""(value, context) -> whether there is certainly no error."""

_SPELLED: Final[Mapping[tuple[str, str], Callable[[Any], bool]]] = {
    # vs-1 of the vital signs: text of that many characters is a dateTime of at least that many.
    ("dateTime", "($this as dateTime).toString().length() >= 8"): lambda value: (
        value.__class__ is str and len(value) >= 8
    ),
}
"""Invariants on primitives, by type of the element and expression."""


class _Unknown(Exception):
    """A part of a profile that is not compiled here."""


def is_plain(resource: Resource, body: bytes) -> bool:
    """Whether a resource has nothing that questions do not look at: extensions, resources inside of it, much of it."""
    return (
        len(body) <= MOST_BYTES
        and b'xtension"' not in body
        and b'"_' not in body
        and "contained" not in resource
        and resource["resourceType"] not in ("Bundle", "Parameters")
    )


def compiled(profile: Profile) -> Holds | None:
    """Return the question of a profile, asked of a resource of its type; None where there is none."""
    try:
        return _item(profile.root, profile.type)
    except _Unknown:
        return None


def conforms(known: Known, resource: Resource, canonicals: Sequence[Any]) -> bool:
    """Whether a plain resource certainly conforms to profiles; those that are known not to be known ask nothing."""
    context = Context(resource, known.members)
    for canonical in canonicals:
        if canonical.__class__ is not str or canonical not in known.profiles:
            return False
        profile = known.profiles[canonical]
        if profile is None:
            continue
        if canonical not in known.questions:
            known.questions[canonical] = compiled(profile)
        holds = known.questions[canonical]
        if holds is None or profile.type != resource["resourceType"] or not holds(resource, context):
            return False
    return True


def _every(questions: Sequence[Holds]) -> Holds:
    asked = tuple(questions)
    if len(asked) == 1:
        return asked[0]

    def holds(value: Any, context: Context) -> bool:
        for question in asked:  # noqa: SIM110 - all() of a generator takes twice as long
            if not question(value, context):
                return False
        return True

    return holds


def _item(part: Part, type: str) -> Holds:
    """Return the question that a part asks of one element of a type."""
    if part.least or part.most or part.length is not None:
        raise _Unknown
    asked: list[Holds] = []
    if part.types:
        asked += _types(part.types, type)
    if part.fixed is not None:
        fixed = part.fixed.value
        asked.append(lambda value, _: is_equal(fixed, value))
    if part.pattern is not None:
        pattern = part.pattern.value
        asked.append(lambda value, _: fits(pattern, value))
    if part.binding is not None and part.binding[0] == "required":
        asked.append(_binding(part.binding[1], type))
    if part.limit:
        asked.append(_binding(part.limit, type))
    asked += [_rule(rule, type) for rule in part.rules if rule.severity != "warning"]
    if part.below:
        asked.append(lambda value, _: value.__class__ is dict)
        asked += [_list(child, type, name) for name, child in part.below.items()]
    return _every(asked)


def _types(rules: Sequence[TypeRule], type: str) -> list[Holds]:
    fitting = [rule for rule in rules if rule.code in ancestors(type)]
    if not fitting:
        return [lambda value, _: False]
    if all(rule.profiles for rule in fitting):
        named = {bare(canonical).removeprefix(STRUCTURES) for rule in fitting for canonical in rule.profiles}
        if named.isdisjoint(ancestors(type)):
            raise _Unknown
    if type == "Reference" and all(rule.aggregations for rule in fitting):
        raise _Unknown
    if type == "Reference" and all(rule.targets for rule in fitting):
        return [_target({bare(target).removeprefix(STRUCTURES) for rule in fitting for target in rule.targets})]
    return []


def _target(names: set[str]) -> Holds:
    """Return whether the type that a reference shows is allowed; a reference into the resource is looked at in full."""
    known = frozenset(name for name in names if is_structure(name))

    def holds(value: Any, _: Context) -> bool:
        reference = value.get("reference") if value.__class__ is dict else None
        if reference.__class__ is not str or reference.startswith("#"):
            return False
        type = referred_type(reference)
        return not known.isdisjoint(ancestors(type)) if type else "type" not in value

    return holds


def _binding(value_set: str, type: str) -> Holds:
    """Return whether a code is in a value set; one that it was not yet asked for is looked at in full."""
    if type not in ("CodeableConcept", "Coding", "Quantity", "code"):
        raise _Unknown

    def is_member(code: Any, system: Any, context: Context) -> bool:
        if code.__class__ is not str:
            return False
        try:
            return context.members[Coded(value_set, system, code)] is not False  # None: a value set not known: no error
        except KeyError:
            return False

    def holds(value: Any, context: Context) -> bool:
        if type == "code":
            return is_member(value, None, context)
        codings = value.get("coding", ()) if type == "CodeableConcept" else (value,)
        return any(is_member(coding.get("code"), coding.get("system", ""), context) for coding in codings)

    return holds


def _rule(rule: Constraint, type: str) -> Holds:
    spelled = _SPELLED.get((type, rule.expression))
    if spelled is not None:
        return lambda value, _: spelled(value)
    try:
        asked = fhirpath.compile(rule.expression, type)
    except fhirpath.InvalidExpression:
        raise _Unknown from None

    def holds(value: Any, context: Context) -> bool:
        try:
            return asked.holds(value if value.__class__ is dict else Node(value, type), root=context.root)
        except fhirpath.EvaluationError:
            return False

    return holds


def _list(part: Part, owner: str, name: str) -> Holds:
    """Return the question that a part asks of all elements of one name."""
    element = structure(owner).elements.get(name) if is_structure(owner) else None
    if element is None or "Resource" in element.types:
        raise _Unknown
    keys = {name + type[0].upper() + type[1:]: type for type in element.types} if element.choice else {name: ""}
    if len(keys) == 1 and not element.choice:
        keys = {name: element.types[0]}
    of_type = {key: _or_never(_item, part, type) for key, type in keys.items()}
    sliced = {key: _or_never(_slices, part, type) for key, type in keys.items()} if part.slices else {}
    least, most = part.min, part.max

    def holds(owner: Any, context: Context) -> bool:
        for key in of_type:
            if key in owner:
                break
        else:
            return least == 0 and not (sliced and not sliced[next(iter(sliced))]([], context))
        found = owner[key]
        items = found if found.__class__ is list else [found]
        if len(items) < least or (most is not None and len(items) > most):
            return False
        question = of_type[key]
        for item in items:
            if item is None or not question(item, context):
                return False
        return not sliced or sliced[key](items, context)

    return holds


def _or_never(made: Callable[[Part, str], Holds], part: Part, type: str) -> Holds:
    """Return a question; where it is not compiled, one that is answered no: what has the element is checked in full."""
    try:
        return made(part, type)
    except _Unknown:
        return lambda value, _: False


def _slices(part: Part, type: str) -> Holds:
    """Return the question that slices ask of the elements of a list."""
    rules = part.slicing or OPEN
    if rules.ordered or rules.rules not in ("open", "closed") or DEFAULT in part.slices:
        raise _Unknown
    asked = []
    for slice in part.slices.values():
        if slice.slices:
            raise _Unknown
        asked.append((_matcher(rules, slice, type), _item(slice, type), slice.min, slice.max))
    is_closed = rules.rules == "closed"

    def holds(items: Any, context: Context) -> bool:
        counts = [0] * len(asked)
        for item in items:
            for number, (matches, question, _, _) in enumerate(asked):
                if matches(item):
                    counts[number] += 1
                    if not question(item, context):
                        return False
                    break
            else:
                if is_closed:
                    return False
        return all(
            low <= count and (high is None or count <= high)
            for count, (_, _, low, high) in zip(counts, asked, strict=True)
        )

    return holds


def _matcher(rules: Slicing, slice: Part, type: str) -> Callable[[Any], bool]:
    """Return what tells whether an element is in a slice: each discriminator that the slice answers says so."""
    asked = [found for d in rules.discriminators if (found := _discriminator(d, slice, type)) is not None]
    if not asked:
        raise _Unknown
    return asked[0] if len(asked) == 1 else lambda item: all(matches(item) for matches in asked)


def _discriminator(discriminator: Discriminator, slice: Part, type: str) -> Callable[[Any], bool] | None:
    steps = steps_of(discriminator.path)
    if steps is None or any(kind != "name" for kind, _ in steps):
        raise _Unknown
    run = Run(Known(), {}, {}, Budget({}))
    wanted = expectation(run, slice, steps, discriminator)
    if run.missing_profiles:
        raise _Unknown
    if wanted is None:
        return None
    if discriminator.type == "type" and not steps:
        is_in = any(rule.code in ancestors(type) for rule in wanted.types)
        return lambda item: is_in
    values = wanted if wanted.__class__ is list else _fixed(wanted) if discriminator.type in _BY_VALUE else None
    if values is None or not _are_keys(type, [name for _, name in steps]):
        raise _Unknown
    names = [name for _, name in steps]
    if len(values) == 1 and values[0].__class__ is str:
        one = values[0]
        return lambda item: one in dig(item, names)
    return lambda item: all(any(fits(value, other) for other in dig(item, names)) for value in values)


_BY_VALUE: Final = ("value", "pattern")


def _fixed(part: Part) -> list[Any] | None:
    """Return the one text that a part fixes, where it asks nothing else of the value."""
    held = part.fixed or part.pattern
    if held is None or held.value.__class__ is not str or part.below or part.slices:
        return None
    return None if part.binding and part.binding[0] == "required" else [held.value]


def _are_keys(type: str, names: Sequence[str]) -> bool:
    """Whether each name of a path is a key of JSON, and no choice."""
    for name in names:
        element = structure(type).elements.get(name) if is_structure(type) and not is_primitive(type) else None
        if element is None or element.choice or len(element.types) != 1:
            return False
        type = element.types[0]
    return True
