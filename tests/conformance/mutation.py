"""One change to a resource, drawn at random: the ways in which senders get FHIR wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from decimal import Decimal
from random import Random
from typing import Any, Final

from fhir_server.model import Resource

Place = tuple[Any, Any]  # a dict or list, and the key or index in it


def places(value: Any) -> Iterator[Place]:
    """Yield every place below `value`, but for resourceType and what is inside a narrative."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(entries):
        if key not in ("resourceType", "div"):
            yield value, key
            if isinstance(item, (dict, list)):
                yield from places(item)


def removed(random: Random, resource: Resource) -> None:
    """Remove one element, with preference for one of the root."""
    every = [place for place in places(resource) if isinstance(place[0], dict)]
    near = [place for place in every if place[0] is resource]
    owner, key = random.choice(near if random.random() < 0.5 else every)
    del owner[key]


def retyped(random: Random, resource: Resource) -> None:
    """Give one element a value of another JSON type."""
    owner, key = random.choice(list(places(resource)))
    others: list[Any] = ["x", 7, Decimal("1.5"), True, {"x": "y"}, ["x"], None]
    owner[key] = random.choice([value for value in others if type(value) is not type(owner[key])])


def recoded(random: Random, resource: Resource) -> None:
    """Give one code another value; a resource without one loses an element instead."""
    names = ("status", "code", "use", "type", "system", "intent", "kind", "mode", "gender", "comparator", "priority")
    every = [(o, k) for o, k in places(resource) if k in names and isinstance(o[k], str)]
    if not every:
        return removed(random, resource)
    owner, key = random.choice(every)
    owner[key] = random.choice(["not-a-code", "", "two  blanks", owner[key].upper() + "X"])
    return None


def recounted(random: Random, resource: Resource) -> None:
    """Break a cardinality: an array for one, one for an array, none in an array."""
    owner, key = random.choice([place for place in places(resource) if isinstance(place[0], dict)])
    value = owner[key]
    owner[key] = random.choice([value[0], [], [value]]) if isinstance(value, list) and value else [value]


KINDS: Final[dict[str, Callable[[Random, Resource], None]]] = {
    "field removed": removed,
    "type changed": retyped,
    "code changed": recoded,
    "cardinality broken": recounted,
}


def mutated(resource: Resource, kind: str, seed: float) -> Resource:
    """Return a copy of a resource with one change of a kind; the same seed gives the same change."""
    changed = deepcopy(resource)
    KINDS[kind](Random(seed), changed)
    return changed
