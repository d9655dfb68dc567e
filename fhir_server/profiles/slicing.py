"""Which slice an item of a list belongs to.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/profiling.html#slicing and #discriminator
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from fhir_server.definitions import is_structure
from fhir_server.fhirpath.nodes import Node, referred_type
from fhir_server.fhirpath.types import ancestors
from fhir_server.profiles import bindings
from fhir_server.profiles.findings import Item, Run, below, text_of
from fhir_server.profiles.part import STRUCTURES, Discriminator, Given, Part, Slicing, TypeRule, bare
from fhir_server.profiles.values import dig, fits, is_equal

OPEN: Final = Slicing(())
DEFAULT: Final = "@default"  # the slice of what is in no other
DOUBTFUL: Final = "@doubtful"  # of an item that is in no slice for sure, and in some perhaps
_DOUBT: Final = object()

Conforms = Callable[[Run, str, Item], bool]
Step = tuple[str, str]
"""("name", element) ("extension", url) ("ofType", type) ("resolve", "")"""

_STEP = re.compile(r"(?:extension\('([^']*)'\)|ofType\((\w+)\)|(resolve)\(\)|(\w+)(?:\[x\])?)(?:\.|$)")


@lru_cache(maxsize=2_048)
def steps_of(path: str) -> tuple[Step, ...] | None:
    """Read the path of a discriminator; None where it is more than R4 allows."""
    rest, found = path.removeprefix("$this").removeprefix("."), []
    while rest:
        match = _STEP.match(rest)
        if match is None:
            return None
        url, type, resolve, name = match.groups()
        found.append(
            ("extension", url) if url else ("ofType", type) if type else ("resolve", "") if resolve else ("name", name)
        )
        rest = rest[match.end() :]
    return tuple(found)


def undecided(run: Run, slicing: Slicing, part: Part) -> set[str]:
    """Return the slices that nothing tells apart, so that they cannot be checked."""
    return {
        name
        for name, slice in part.slices.items()
        if name != DEFAULT and not any(expected(run, slice, d) is not None for d in slicing.discriminators)
    }


def slice_of(run: Run, slicing: Slicing, part: Part, item: Item, conforms: Conforms, doubtful: set[str]) -> str | None:
    """Return the name of the slice that an item is in; None where it is in none.

    Args:
        run: The check under way.
        slicing: How the list is sliced.
        part: What is sliced.
        item: One of the list.
        conforms: Whether an item conforms to a profile.
        doubtful: Slices get into it that the item is in perhaps: a value set or profile is not known here.
    """
    is_sure = True
    for name, slice in part.slices.items():
        if name == DEFAULT:
            continue
        run.spend()
        answers = [_decided(run, d, slice, item, conforms) for d in slicing.discriminators]
        if False in answers:
            continue
        if _DOUBT in answers:
            doubtful.add(name)
            is_sure = False
        elif True in answers:
            return name
    if not is_sure:
        return DOUBTFUL
    return DEFAULT if DEFAULT in part.slices else None


def _decided(run: Run, discriminator: Discriminator, slice: Part, item: Item, conforms: Conforms) -> Any:
    """Return what `_matches` does, and a doubt for a no that rests on what is not known here."""
    before = run.budget.doubts
    answer = _matches(run, discriminator, slice, item, conforms)
    return _DOUBT if answer is False and run.budget.doubts > before else answer


def _matches(run: Run, discriminator: Discriminator, slice: Part, item: Item, conforms: Conforms) -> bool | None:
    """Return whether an item has what a slice has at a discriminator; None where the slice says nothing of it."""
    wanted, steps = expected(run, slice, discriminator), steps_of(discriminator.path)
    if steps is None or wanted is None:
        return None
    found = reach(run, item, steps)
    if wanted.__class__ is list:
        return all(any(fits(one, other.node.value) for other in found) for one in wanted)
    kind = discriminator.type
    if kind == "exists":
        return bool(found) is (wanted.min > 0)
    if kind == "type":
        return any(rule.code in ancestors(other.node.type) for other in found for rule in wanted.types)
    if kind == "profile":
        canonicals = [c for rule in wanted.types for c in rule.profiles]
        return any(conforms(run, c, other) for other in found for c in canonicals)
    return any(_has(run, wanted, other) for other in found)


def expected(run: Run, slice: Part, discriminator: Discriminator) -> Any:
    """Return what a slice says at a discriminator, as `expectation` does; worked out once in a run."""
    key = (id(slice), discriminator)
    if key not in run.expected:
        steps = steps_of(discriminator.path)
        run.expected[key] = expectation(run, slice, steps, discriminator) if steps is not None else None
    return run.expected[key]


def expectation(run: Run, slice: Part, steps: Sequence[Step], discriminator: Discriminator) -> Any:
    """Return what a slice says at a path: a list of values, or the part that stands there; None for nothing."""
    part: Part | None = slice
    for place, step in enumerate(steps):
        assert part is not None
        held = part.fixed or part.pattern
        if held is not None and all(kind == "name" for kind, _ in steps[place:]):
            values = dig(held.value, [name for _, name in steps[place:]])
            if values:
                return values
        if step == ("name", "url") and (urls := _extension_urls(part)):
            return urls
        part = _step(run, part, step)
        if part is None:
            return None
    assert part is not None
    return part if _says(part, discriminator.type) else None


def _says(part: Part, kind: str) -> bool:
    if kind == "exists":
        return part.min > 0 or part.max == 0
    if kind == "type":
        return bool(part.types)
    if kind == "profile":
        return any(rule.profiles for rule in part.types)
    return _demands(part)


def _demands(part: Part, depth: int = 0) -> bool:
    """Whether values of a part are told apart from others."""
    if part.fixed or part.pattern or (part.binding and part.binding[0] == "required"):
        return True
    if depth > 4:
        return False
    return any(_demands(p, depth + 1) for p in (*part.below.values(), *part.slices.values()))


def _has(run: Run, part: Part, item: Item, depth: int = 0) -> bool:
    """Whether an item has the values that a part demands of it."""
    run.spend()
    value = item.node.value
    if part.fixed is not None and not is_equal(part.fixed.value, value):
        return False
    if part.pattern is not None and not fits(part.pattern.value, value):
        return False
    if part.binding is not None and part.binding[0] == "required":
        answers = [run.is_member(part.binding[1], system, code) for system, code in bindings.pairs_of(item)]
        if True not in answers:
            run.budget.doubts += None in answers
            return False
    for name, child in part.below.items():
        if depth <= 4 and _demands(child, depth) and not _has_below(run, child, below(item, name), depth):
            return False
    return True


def _has_below(run: Run, part: Part, items: Sequence[Item], depth: int) -> bool:
    if not any(_has(run, part, item, depth + 1) for item in items):
        return False
    demanding = [slice for slice in part.slices.values() if _demands(slice)]
    needed = [slice for slice in demanding if slice.min > 0]
    if needed:
        return all(any(_has(run, slice, item, depth + 1) for item in items) for slice in needed)
    if part.fixed or part.pattern or part.below:
        return True
    return not demanding or any(_has(run, slice, item, depth + 1) for slice in demanding for item in items)


def _extension_urls(part: Part) -> list[str]:
    """Return the url that the profile of an extension fixes: its own canonical."""
    url = part.below.get("url")
    if url is not None and url.fixed is not None:
        return [url.fixed.value]
    return [bare(c) for rule in part.types if rule.code == "Extension" for c in rule.profiles][:1]


def _step(run: Run, part: Part, step: Step) -> Part | None:
    """Return the part one step further; where the part says nothing itself, that of its type's profile."""
    kind, argument = step
    if kind == "resolve":
        return Part(types=tuple(_target(run, target) for rule in part.types for target in rule.targets))
    if kind == "ofType":
        found = next((s for s in part.slices.values() if any(rule.code == argument for rule in s.types)), part)
        return found
    if kind == "extension":
        held = part.below.get("extension")
        slices = held.slices.values() if held is not None else ()
        return next((slice for slice in slices if argument in _extension_urls(slice)), None)
    if argument in part.below:
        return part.below[argument]
    inside = [slice for slice in part.slices.values() if argument in slice.below]
    for slice in sorted(inside, key=lambda slice: -slice.min)[:1]:  # one that must be there tells more
        return slice.below[argument]
    for canonical in (c for rule in part.types for c in rule.profiles):
        profile = run.profile(canonical)
        if profile is not None and argument in profile.root.below:
            return profile.root.below[argument]
    return None


def _target(run: Run, canonical: str) -> TypeRule:
    name = bare(canonical).removeprefix(STRUCTURES)
    if is_structure(name):
        return TypeRule(name)
    profile = run.profile(canonical)
    return TypeRule(profile.type if profile is not None else "", (canonical,))


def reach(run: Run, item: Item, steps: Sequence[Step]) -> list[Item]:
    """Return what stands at the path of a discriminator."""
    items = [item]
    for kind, argument in steps:
        run.spend(len(items))
        if kind == "name":
            items = [found for one in items for found in below(one, argument)]
        elif kind == "extension":
            items = [
                found
                for one in items
                for found in below(one, "extension")
                if found.node.value.__class__ is dict and found.node.value.get("url") == argument
            ]
        elif kind == "ofType":
            items = [one for one in items if one.node.type == argument]
        else:
            items = [found for one in items for found in _resolved(run, one)]
    return items


def _resolved(run: Run, item: Item) -> list[Item]:
    """Return what a reference points to: contained, in the same Bundle, or its type alone."""
    found = held(run, item)
    if found is not None:
        return [found]
    value = item.node.value
    type = referred_type(text_of(value.get("reference"))) if value.__class__ is dict else ""
    return [Item(Node({}, type), item.where)] if type else []


def held(run: Run, item: Item) -> Item | None:
    """Return what a reference points to where it is at hand: contained, or in the same Bundle."""
    value = item.node.value
    reference = text_of(value.get("reference")) if value.__class__ is dict else ""
    found = run.entries.get(reference)
    if reference.startswith("#"):
        contained = run.root.get("contained")
        found = (
            next((r for r in contained if r.__class__ is dict and f"#{r.get('id')}" == reference), None)
            if contained.__class__ is list
            else None
        )
    return Item(Node(found, text_of(found.get("resourceType"))), item.where) if found is not None else None


__all__ = ["DEFAULT", "DOUBTFUL", "OPEN", "Given", "expectation", "held", "reach", "slice_of", "steps_of", "undecided"]
