"""Resources beside the matches of a search: `_include`, `_revinclude`, with `:iterate` and wildcards.

A reference to a version brings that version, a canonical reference what has its url. Source: FHIR R4 4.0.1,
https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fhir_server import gate
from fhir_server.model import Resource, Version, Visibility
from fhir_server.search.clauses import Registry
from fhir_server.search.parameters import parameter
from fhir_server.search.query import Ask, Clause, Include, Match, Parameter, Query
from fhir_server.search.values import Indexed, Reference, Uri
from fhir_server.store.protocol import View
from fhir_server.store.visibility import is_visible

MOST_INCLUDED = 1_000  # resources that includes may add to one page
_STEP = 100  # references, or urls, asked for at once

Index = Callable[[Resource], Indexed]


class Including:
    """Gathers what the includes of one page add; each resource once.

    Args:
        view: The state.
        see: What may be seen; nothing else is added.
        index: Resource -> index values.
        matches: The page.
        registry: Where search parameters are defined.
    """

    def __init__(
        self, view: View, see: Visibility, index: Index, matches: Sequence[Version], registry: Registry
    ) -> None:
        self._view, self._see, self._index, self._registry = view, see, index, registry
        self._matches = list(matches)
        self._known = {(v.type, v.id, v.version) for v in matches}
        self._asked = {v.reference for v in matches}  # current versions that are here, or not to be seen
        self._indexed: dict[tuple[str, str, int], Indexed] = {}
        self.made: list[Version] = []
        self.is_cut = False

    async def run(self, rules: Sequence[Include]) -> None:
        """Follow rules from the matches, and those with :iterate from what was added, until nothing is new."""
        fresh = self._matches
        while fresh and rules and not self.is_cut:
            start = len(self.made)
            for rule in rules:
                if not self.is_cut:
                    await (self._reverse if rule.reverse else self._forward)(rule, fresh)
            fresh, rules = self.made[start:], tuple(rule for rule in rules if rule.iterate)

    def _add(self, version: Version) -> None:
        key = (version.type, version.id, version.version)
        if key in self._known or version.is_deleted or not is_visible(version, self._see):
            return
        if len(self.made) >= MOST_INCLUDED:
            self.is_cut = True
            return
        self._known.add(key)
        self.made.append(version)

    # --- forward -------------------------------------------------------------------------------------------

    async def _forward(self, rule: Include, sources: Sequence[Version]) -> None:
        urls: dict[tuple[str, str], tuple[str, ...]] = {}
        for source in sources:
            if rule.source not in ("*", source.type):
                continue
            for found, reference in self._references(rule.parameter, source):
                if reference.url:
                    urls[reference.url, reference.version] = _canonical_types(found, rule.target)
                elif reference.id and rule.target in ("", reference.type):
                    await self._local(reference)
        for (url, version), types in urls.items():
            if types and not self.is_cut:
                await self._canonical(url, version, types)

    def _references(self, wanted: Parameter | None, source: Version) -> Iterable[tuple[Parameter, Reference]]:
        key = (source.type, source.id, source.version)
        if key not in self._indexed:
            self._indexed[key] = self._index(gate.load(source.body))
        values = self._indexed[key].values
        if wanted is not None:
            known = parameter(source.type, wanted.code) or wanted
            return [(known, v) for v in values.get(wanted.code, ()) if isinstance(v, Reference)]
        every = [p for p in self._registry.parameters_of(source.type).values() if p.type == "reference"]
        return [(p, v) for p in every for v in values.get(p.code, ()) if isinstance(v, Reference)]

    async def _local(self, reference: Reference) -> None:
        if reference.version:
            if reference.version.isascii() and reference.version.isdigit() and len(reference.version) < 10:
                version = await self._view.vread(reference.type, reference.id, int(reference.version))
                if version is not None:
                    self._add(version)
            return
        name = f"{reference.type}/{reference.id}"
        if name in self._asked:
            return
        self._asked.add(name)
        version = await self._view.read(reference.type, reference.id)
        if version is not None:
            self._add(version)

    async def _canonical(self, url: str, version: str, types: tuple[str, ...]) -> None:
        itself = parameter(types[0], "url")
        assert itself is not None
        asked = Query(types, (Match(itself, (Ask(Uri(url)),)),), count=_STEP, total="none")
        for found in (await self._view.search(asked, see=self._see)).versions:
            if not version or gate.load(found.body).get("version") == version:
                self._add(found)

    # --- backward ------------------------------------------------------------------------------------------

    async def _reverse(self, rule: Include, targets: Sequence[Version]) -> None:
        wanted = [t for t in targets if rule.target in ("", t.type)]
        for known in self._reverse_parameters(rule):
            fitting = [t for t in wanted if not known.targets or "Resource" in known.targets or t.type in known.targets]
            for start in range(0, len(fitting), _STEP):
                if self.is_cut:
                    return
                await self._referring(rule.source, known, fitting[start : start + _STEP])

    def _reverse_parameters(self, rule: Include) -> list[Parameter]:
        if rule.parameter is not None:
            return [rule.parameter]
        return [p for p in self._registry.parameters_of(rule.source).values() if p.type == "reference"]

    async def _referring(self, source: str, known: Parameter, targets: Sequence[Version]) -> None:
        asks = [Ask(Reference(t.type, t.id)) for t in targets]
        named = [(url, version) for t in targets for url, version in _canonical_of(t)]
        asks += [Ask(Reference("", "", url)) for url in dict.fromkeys(url for url, _ in named)]
        where: tuple[Clause, ...] = (Match(known, tuple(asks)),)
        found = await self._view.search(Query((source,), where, count=MOST_INCLUDED + 1, total="none"), see=self._see)
        for version in found.versions:
            if not named or self._leads(known, version, {(t.type, t.id) for t in targets}, named):
                self._add(version)
        if found.after is not None:
            self.is_cut = True

    def _leads(
        self, known: Parameter, source: Version, ids: set[tuple[str, str]], named: Sequence[tuple[str, str]]
    ) -> bool:
        """Whether a resource refers to one of these, by a canonical only where it names no other version."""
        return any(
            (one.type, one.id) in ids or any(one.url == url and one.version in ("", version) for url, version in named)
            for _, one in self._references(known, source)
        )


def _canonical_types(found: Parameter, target: str) -> tuple[str, ...]:
    """Return the types that a canonical reference may lead to: those that have a url of their own."""
    named = (target,) if target else found.targets
    return tuple(type for type in named if type != "Resource" and parameter(type, "url") is not None)


def _canonical_of(version: Version) -> list[tuple[str, str]]:
    """Return the canonical url of a resource with its business version, nothing where it has none."""
    if parameter(version.type, "url") is None:
        return []
    resource = gate.load(version.body)
    url, said = resource.get("url"), resource.get("version")
    return [(url, said if isinstance(said, str) else "")] if isinstance(url, str) and url else []
