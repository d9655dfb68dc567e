"""What an actor may see: the guards' answers, intersected and kept until the state they rest on changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fhir_server.interactions.asking import Ask, RoomView
from fhir_server.interface import Guard
from fhir_server.model import EVERYTHING, Actor, Resource, Visibility
from fhir_server.store.protocol import View

_KEPT = 1_000  # actors whose answers are kept


class Sight:
    """Answers of all guards for an actor, in the state of a view.

    Args:
        guards: Asked all; their answers are intersected. Without any, only the operator sees patients.
        ask: Turns a query string into a Query.
        clock: Returns microseconds since 1970.
    """

    def __init__(self, guards: Sequence[Guard], ask: Ask, clock: Callable[[], int]) -> None:
        self._guards = tuple(guards)
        self._ask = ask
        self._clock = clock
        self._kept: dict[Actor, tuple[int, Visibility]] = {}
        self.types = frozenset(type for guard in guards for type in guard.types)

    async def of(self, view: View, actor: Actor, *, keep: bool = True) -> Visibility:
        """Return what the actor may see in the state of this view.

        Args:
            view: The state.
            actor: Who asks.
            keep: Whether the answer may serve later calls: never inside a transaction, whose state may be undone.
        """
        if actor.is_operator and _types(actor) is None:
            return EVERYTHING
        epoch, now = await view.epoch(), self._clock()
        kept = self._kept.get(actor)
        if kept is not None and kept[0] == epoch and (kept[1].expires is None or now < kept[1].expires):
            return kept[1]
        made = await self._decide(view, actor, now)
        if not keep:
            return made
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[actor] = (epoch, made)
        return made

    async def _decide(self, view: View, actor: Actor, now: int) -> Visibility:
        types = _types(actor)
        if actor.is_operator:
            return Visibility(None, types=types)
        asking = RoomView(view, self._ask)
        answers = [await guard.visibility(asking, actor, now) for guard in self._guards]
        made = answers[0] if answers else Visibility(frozenset())
        for other in answers[1:]:
            made = intersect(made, other)
        if actor.patient:
            made = intersect(made, Visibility(frozenset({actor.patient})))
        return Visibility(made.patients, made.partial, types, made.expires)


def _types(actor: Actor) -> frozenset[str] | None:
    """Return the types that the scopes let the actor read; None for all."""
    readable = []
    for scope in actor.scopes:
        if "r" in scope.actions or "s" in scope.actions:
            if scope.type == "*":
                return None
            readable.append(scope.type)
    return frozenset(readable)


def intersect(one: Visibility, other: Visibility) -> Visibility:
    """Return what both let see."""
    if one.patients is None:
        one, other = other, one
    if one.patients is None:
        return one
    expires = min((e for e in (one.expires, other.expires) if e is not None), default=None)
    if other.patients is None:
        return Visibility(one.patients, one.partial, one.types, expires)
    whole = one.patients & other.patients
    partial: dict[str, Callable[[Resource], bool]] = {}
    for patient in {*one.patients, *one.partial} & {*other.patients, *other.partial}:
        if patient not in whole:
            partial[patient] = _both(one.partial, other.partial, patient)
    return Visibility(whole, partial, one.types, expires)


def _both(
    one: Mapping[str, Callable[[Resource], bool]], other: Mapping[str, Callable[[Resource], bool]], patient: str
) -> Callable[[Resource], bool]:
    tests = [tests[patient] for tests in (one, other) if patient in tests]
    return lambda resource: all(test(resource) for test in tests)
