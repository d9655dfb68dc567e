"""A resource beside a profile: cardinality, types, values, bindings, invariants, slices, all the way down.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from fhir_server import fhirpath
from fhir_server.definitions import Constraint, resource_types
from fhir_server.fhirpath.nodes import Environment, Node
from fhir_server.fhirpath.types import ancestors
from fhir_server.model import Resource
from fhir_server.profiles import bindings, slicing, targets
from fhir_server.profiles.findings import MOST_DEPTH, Item, Run, below, text_of
from fhir_server.profiles.part import STRUCTURES, Part, Profile, TypeRule, bare
from fhir_server.profiles.values import fits, is_between, is_equal

MOST_FHIRPATH: Final = 100_000  # items that one invariant of a profile may touch


def check(run: Run, profile: Profile, item: Item) -> None:
    """Check a resource or an element against a profile."""
    if profile.type not in ancestors(item.node.type):
        run.report("structure", f"{_named(profile)} is for {profile.type}.", item.where)
        return
    if run.depth >= MOST_DEPTH:
        run.report("too-costly", "Profiles are nested deeper than 24 levels here.", item.where, "warning")
        return
    run.depth += 1
    try:
        check_item(run, profile, profile.root, item)
    finally:
        run.depth -= 1


def check_item(run: Run, profile: Profile, part: Part, item: Item) -> None:
    """Check one element against its part of a profile."""
    run.spend()
    if part.types:
        _check_types(run, profile, part, item)
    if part.fixed is not None and not is_equal(part.fixed.value, item.node.value):
        run.report("value", f"This must be the value that {_named(profile)} fixes.", item.where)
    if part.pattern is not None and not fits(part.pattern.value, item.node.value):
        run.report("value", f"This must have what the pattern of {_named(profile)} has.", item.where)
    if part.least is not None or part.most is not None or part.length is not None:
        _check_bounds(run, profile, part, item)
    if part.binding is not None:
        bindings.check_binding(run, part.binding, item, _named(profile))
    if part.limit:
        bindings.check_limit(run, part.limit, item, _named(profile))
    for rule in part.rules:
        check_rule(run, rule, item)
    for name, child in part.below.items():
        check_list(run, profile, child, below(item, name), f"{item.where}.{name}")


def _check_bounds(run: Run, profile: Profile, part: Part, item: Item) -> None:
    value = item.node.value
    if not is_between(value, part.least and part.least.value, part.most and part.most.value):
        run.report("value", f"This is outside of the bounds of {_named(profile)}.", item.where)
    if part.length is not None and value.__class__ is str and len(value) > part.length:
        run.report(
            "too-long", f"This has more than {part.length} characters, the most by {_named(profile)}.", item.where
        )


def check_list(run: Run, profile: Profile, part: Part, items: Sequence[Item], where: str) -> None:
    """Check all elements of one name."""
    _check_count(run, profile, part, len(items), where, "")
    for item in items:
        check_item(run, profile, part, item)
    if part.slices:
        _check_slices(run, profile, part, items, where)


def _check_count(run: Run, profile: Profile, part: Part, count: int, where: str, slice: str) -> None:
    what = f" of the slice {slice}" if slice else ""
    if count < part.min:
        need = "must be there" if part.min == 1 else f"must be there {part.min} times"
        run.report("required", f"This element{what} {need} by {_named(profile)}.", where)
    if part.max is not None and count > part.max:
        most = "is not allowed" if part.max == 0 else f"may be there {part.max} times at most"
        run.report("structure", f"This element{what} {most} by {_named(profile)}.", where)


def _check_slices(run: Run, profile: Profile, part: Part, items: Sequence[Item], where: str) -> None:
    rules = part.slicing or slicing.OPEN
    order = list(part.slices)
    placed: dict[str, list[Item]] = {name: [] for name in order}
    undecided, doubtful = slicing.undecided(run, rules, part), set[str]()
    last, is_past = -1, False
    for item in items:
        name = slicing.slice_of(run, rules, part, item, _conforms, doubtful)
        if name == slicing.DOUBTFUL:
            continue
        if name is None:
            is_past = True
            if rules.rules == "closed" and not undecided:
                run.report(
                    "structure", f"This is in no slice of {_named(profile)}, whose slicing is closed.", item.where
                )
            continue
        placed[name].append(item)
        if rules.rules == "openAtEnd" and is_past:
            run.report("structure", f"What is in no slice of {_named(profile)} comes last.", item.where)
        place = order.index(name)
        if rules.ordered and place < last:
            run.report("structure", f"The slices of {_named(profile)} have an order.", item.where)
        last = max(last, place)
    for name in order:
        if name in undecided or (name in doubtful and not placed[name]):
            why = "nothing tells what is in it" if name in undecided else "what tells it is not known here"
            text = f"The slice {name} of {_named(profile)} was not checked: {why}."
            run.report("incomplete", text, where, "information")
            continue
        _check_count(run, profile, part.slices[name], len(placed[name]), where, name)
        for item in placed[name]:
            check_item(run, profile, part.slices[name], item)
        if part.slices[name].slices:
            _check_slices(run, profile, part.slices[name], placed[name], where)


def _conforms(run: Run, canonical: str, item: Item) -> bool:
    """Whether an item conforms to a profile; what is not known does not, with a doubt."""
    profile = run.profile(canonical)
    run.budget.doubts += profile is None
    return profile is not None and run.holds_silently(lambda: check(run, profile, item))


def _check_types(run: Run, profile: Profile, part: Part, item: Item) -> None:
    own = ancestors(item.node.type)
    fitting = [rule for rule in part.types if rule.code in own]
    if not fitting:
        names = ", ".join(sorted({rule.code for rule in part.types}))
        run.report("structure", f"The type of this element is {names} by {_named(profile)}.", item.where)
        return
    if all(rule.profiles for rule in fitting):
        _check_profiles(run, fitting, item)
    if item.node.type == "Reference":
        targets.check_reference(run, _named(profile), fitting, item, check)


def _check_profiles(run: Run, rules: Sequence[TypeRule], item: Item) -> None:
    """Check an element against the profiles of its type: one of them must hold."""
    canonicals = [c for rule in rules for c in rule.profiles]
    if any(bare(c).removeprefix(STRUCTURES) in ancestors(item.node.type) for c in canonicals):
        return  # a type of R4 named as its own profile asks nothing
    known = [found for c in canonicals if (found := run.profile(c)) is not None]
    if len(known) < len(canonicals):
        if not any(_holds(run, profile, item) for profile in known):
            run.report("not-found", "A profile for this element is not known here.", item.where, "information")
        return
    if len(known) == 1:
        check(_inside(run, item), known[0], item)
    elif not any(_holds(run, profile, item) for profile in known):
        run.report("structure", "This conforms to none of the profiles that it may have.", item.where)


def _holds(run: Run, profile: Profile, item: Item) -> bool:
    return run.holds_silently(lambda: check(_inside(run, item), profile, item))  # inside only once issues go elsewhere


def _inside(run: Run, item: Item) -> Run:
    """Return the run with `%resource` being the resource that the item is, where it is one; issues are shared."""
    if item.node.type not in resource_types() or item.node.value is run.resource:
        return run
    return replace(run, resource=item.node.value)


def check_rule(run: Run, rule: Constraint, item: Item) -> None:
    """Check an invariant; one that cannot be evaluated is said, not broken."""
    run.spend()
    try:
        compiled = fhirpath.compile(rule.expression, item.node.type)
        environment = Environment(
            resolver=run.entries.get,
            most_steps=MOST_FHIRPATH,
            member_of=run.is_member,
            conforms_to=partial(_conforms_to, run),
        )
        found = compiled(item.node, root=run.root, resource=run.resource, environment=environment)
    except (fhirpath.EvaluationError, fhirpath.InvalidExpression):
        run.report("not-supported", f"{rule.key}: this rule cannot be evaluated here.", item.where, "information")
        return
    if found and found != [False]:
        return
    if not found and "memberOf" in rule.expression:
        run.report(
            "not-supported", f"{rule.key}: a value set of this rule is not known here.", item.where, "information"
        )
        return
    severity = "warning" if rule.severity == "warning" else "error"
    run.report("invariant", f"{rule.key}: {rule.human}", item.where, severity)


def _conforms_to(run: Run, canonical: str, node: Node) -> bool | None:
    """Whether an element that a rule asks about conforms to a profile; None where that is not known here."""
    profile = run.profile(canonical)
    return _holds(run, profile, Item(node, "")) if profile is not None else None


def entries_of(root: Resource) -> dict[str, Resource]:
    """Return what `resolve()` finds in a Bundle, by fullUrl and by Type/id."""
    found: dict[str, Resource] = {}
    held = root.get("entry") if root.get("resourceType") == "Bundle" else None
    for entry in held if held.__class__ is list else ():
        resource = entry.get("resource") if entry.__class__ is dict else None
        if resource.__class__ is dict:
            found[text_of(entry.get("fullUrl"))] = resource
            found[f"{text_of(resource.get('resourceType'))}/{text_of(resource.get('id'))}"] = resource
    return found


def _named(profile: Profile) -> str:
    return f"the profile {profile.url}"
