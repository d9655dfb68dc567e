"""References beside what a profile lets them lead to: types, profiles, and where the resource is.

What a reference leads to is looked at where it is at hand: contained, or in the same Bundle. What is stored is not
read for it: it may change after the resource that refers to it.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.type.targetProfile
and #ElementDefinition.type.aggregation
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fhir_server.definitions import is_structure, resource_types
from fhir_server.errors import Issue
from fhir_server.fhirpath.nodes import referred_type
from fhir_server.fhirpath.types import ancestors
from fhir_server.profiles.findings import Item, Run, text_of
from fhir_server.profiles.part import STRUCTURES, Profile, TypeRule, bare
from fhir_server.profiles.slicing import held

Check = Callable[[Run, Profile, Item], None]


def check_reference(run: Run, named: str, rules: Sequence[TypeRule], item: Item, check: Check) -> None:
    """Check a Reference against what it may lead to.

    Args:
        run: The check under way.
        named: The profile, in words.
        rules: Of the types of the element, those for a Reference: one of them must hold.
        item: The Reference.
        check: Checks a resource against a profile.
    """
    found = held(run, item)
    if all(rule.aggregations for rule in rules):
        _check_aggregation(run, named, {how for rule in rules for how in rule.aggregations}, item, found is not None)
    if all(rule.targets for rule in rules):
        _check_target(run, named, [target for rule in rules for target in rule.targets], item, found, check)


def _check_aggregation(run: Run, named: str, allowed: set[str], item: Item, is_held: bool) -> None:
    reference = text_of(item.node.value.get("reference")) if item.node.value.__class__ is dict else ""
    if not reference:
        return
    ways = {"contained"} if reference.startswith("#") else {"referenced", "bundled"}
    if run.entries and not reference.startswith("#") and not is_held:
        ways = {"referenced"}
    if ways.isdisjoint(allowed):
        run.report("structure", f"What this leads to is {' or '.join(sorted(allowed))} by {named}.", item.where)


def _check_target(run: Run, named: str, targets: Sequence[str], item: Item, found: Item | None, check: Check) -> None:
    """Check the type that a reference shows, and where the resource is at hand, that it conforms to a profile."""
    type = found.node.type if found is not None else _shown_type(item)
    if not type:
        return
    fitting = []
    for target in targets:
        name = bare(target).removeprefix(STRUCTURES)
        known = None if is_structure(name) else run.profile(target)
        if known is None and not is_structure(name):
            return  # not known, so that any type may be meant
        if (known.type if known is not None else name) not in ancestors(type):
            continue
        if known is None:
            return  # any resource of the type
        fitting.append(known)
    if not fitting:
        run.report("structure", f"This points to a {type}, which {named} does not allow here.", item.where)
    elif found is not None:
        _check_held(run, named, fitting, item, found, check)


def _check_held(run: Run, named: str, profiles: Sequence[Profile], item: Item, found: Item, check: Check) -> None:
    errors = [_first_error(run, profile, item, found, check) for profile in profiles]
    if None in errors:
        return
    first = errors[0]
    if len(profiles) > 1 or first is None:
        text = f"What this points to conforms to none of the profiles that {named} allows here."
    else:
        place = f" at {first.expression}" if first.expression else ""
        text = f"What this points to does not conform to {profiles[0].url}{place}: {first.text}"
    run.report("structure", text, item.where)


def _first_error(run: Run, profile: Profile, item: Item, found: Item, check: Check) -> Issue | None:
    """Return the first error of what a reference leads to, which is looked at once in a run."""
    key = (profile.url, id(found.node.value))
    if key not in run.targets:
        run.targets[key] = None  # of resources that lead back to each other, the one under way is taken to hold
        value = found.node.value
        is_contained = text_of(item.node.value.get("reference")).startswith("#")

        def look() -> None:
            # The run is copied only here, where issues go elsewhere.
            inside = replace(run, resource=value, root=run.root if is_contained else value)
            check(inside, profile, Item(found.node, found.node.type))

        run.targets[key] = run.first_error(look)
    return run.targets[key]


def _shown_type(item: Item) -> str:
    """Return the resource type that a Reference shows: by its text, else by its `type`."""
    value = item.node.value
    if value.__class__ is not dict:
        return ""
    reference = text_of(value.get("reference"))
    if reference.startswith("#"):
        return ""
    said = text_of(value.get("type"))
    return referred_type(reference) or (said if said in resource_types() else "")
