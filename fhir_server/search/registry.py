"""All search parameters of the hub: R4's, our own, and those that stored SearchParameter resources define.

One registry serves all tenants of a process; it is replaced as a whole, so a reader meets the old state or the new
one. Where nothing is defined a look-up is the one in R4's own table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple

from fhir_server.definitions import resource_types, search_parameters
from fhir_server.errors import BeingIndexed
from fhir_server.search import parameters
from fhir_server.search.definition import Definition
from fhir_server.search.own import OWN
from fhir_server.search.query import Parameter

_NONE: Final[Mapping[str, Parameter]] = MappingProxyType({})


class Kept(NamedTuple):
    """A definition, and whether every resource is indexed by it."""

    definition: Definition
    is_ready: bool


class _State(NamedTuple):
    """What is defined beside R4, by resource type and code."""

    kept: tuple[Kept, ...]
    ready: Mapping[str, Mapping[str, Parameter]]
    pending: Mapping[str, Mapping[str, Parameter]]
    whole: dict[str, Mapping[str, Parameter]]  # R4's and what is ready, filled as it is asked for
    urls: Mapping[tuple[str, str], str]


class SearchParameters:
    """`clauses.Registry` of a hub. Names of parameters are codes; a `Parameter.code` is the name in the index."""

    def __init__(self) -> None:
        self._state = _State((), {}, {}, {}, {})
        self._told: list[Callable[[], None]] = []
        self.revision = 0  # grows with each change

    def parameter(self, type: str, code: str) -> Parameter | None:
        """Return the parameter of a type; raise BeingIndexed for one whose index is not complete."""
        state = self._state
        if not state.kept:
            return parameters.parameter(type, code)
        if code in state.pending.get(type, _NONE):
            raise BeingIndexed("The search parameter is being indexed; it answers when its $reindex job has ended.")
        return state.ready.get(type, _NONE).get(code) or parameters.parameter(type, code)

    def parameters_of(self, type: str) -> Mapping[str, Parameter]:
        """Return all parameters of a type that answer, by code."""
        state = self._state
        own = state.ready.get(type)
        if own is None:
            return parameters.parameters_of(type)
        if type not in state.whole:
            merged = {**parameters.parameters_of(type), **own}
            state.whole[type] = MappingProxyType(dict(sorted(merged.items())))
        return state.whole[type]

    def indexed(self, type: str) -> Iterable[Parameter]:
        """Return all parameters that a resource of this type is indexed by, those that do not answer yet too."""
        state = self._state
        yield from parameters.parameters_of(type).values()
        yield from state.ready.get(type, _NONE).values()
        yield from state.pending.get(type, _NONE).values()

    def pending(self, type: str) -> Mapping[str, Parameter]:
        """Return the parameters of a type that do not answer yet, by code."""
        return self._state.pending.get(type, _NONE)

    def defines(self, type: str) -> bool:
        """Whether a resource of this type is indexed by more than R4's parameters and our own."""
        return type in self._state.ready or type in self._state.pending

    def url(self, type: str, code: str) -> str:
        """Return the canonical url of a parameter's definition, "" for none."""
        return self._state.urls.get((type, code)) or _urls().get((type, code), "")

    @property
    def written(self) -> Written:
        """The parameters of a resource that is written just now: those that do not answer yet are among them."""
        return Written(self)

    @property
    def kept(self) -> tuple[Kept, ...]:
        """The definitions that stored resources make."""
        return self._state.kept

    def replace(self, kept: Iterable[Kept]) -> None:
        """Take in what is defined now, and tell who rests on it; nothing happens where it is the same."""
        every = tuple(sorted(kept, key=lambda one: one.definition.id))
        if every == self._state.kept:
            return
        ready: dict[str, dict[str, Parameter]] = {}
        pending: dict[str, dict[str, Parameter]] = {}
        urls = {}
        for definition, is_ready in every:
            for type, parameter in definition.parameters().items():
                (ready if is_ready else pending).setdefault(type, {})[definition.code] = parameter
                urls[type, definition.code] = definition.url
        self._state = _State(every, ready, pending, {}, urls)
        self.revision += 1
        for tell in self._told:
            tell()

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call this after each change."""
        self._told.append(tell)


class Written:
    """`clauses.Registry` for questions about one resource that was written just now, by all that it is indexed by."""

    def __init__(self, registry: SearchParameters) -> None:
        self._registry = registry

    def parameter(self, type: str, code: str) -> Parameter | None:
        """Return the parameter of a type, whether it answers searches or not."""
        return self._registry.pending(type).get(code) or self._registry.parameter(type, code)

    def parameters_of(self, type: str) -> Mapping[str, Parameter]:
        """Return all parameters of a type, by code."""
        return {**self._registry.parameters_of(type), **self._registry.pending(type)}


@cache
def _urls() -> Mapping[tuple[str, str], str]:
    """Return the canonical url of each parameter of R4 and of our own, by type and code."""
    found = {}
    for definition in (*search_parameters(), *OWN):
        everywhere = {"Resource", "DomainResource"} & set(definition.base)
        for type in resource_types() if everywhere else definition.base:
            found[type, definition.code] = definition.url
    return MappingProxyType(found)
