"""`:above` and `:below` where no code system has the hierarchy: versions of a canonical, and media types.

- `questionnaire:below=http://x/q|1.0` asks for 1.0 and all versions that begin with its parts, such as 1.0.3;
  `:above=http://x/q|1.0.3` for those whose parts it begins with, and for what says no version. R4 lets a canonical's
  search say `url|version` and keeps `:below` for what is more precise: https://hl7.org/fhir/R4/search.html#versions
- `contenttype:below=text/xml` asks for `text/xml; charset=UTF-8` too, and `image` for every image:
  https://hl7.org/fhir/R4/search.html#mimetype

What is stored says which there are: the resources that the other parameters leave are read, up to a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fhir_server import gate
from fhir_server.interactions.canonicals import walk, with_ids
from fhir_server.interactions.includes import Index
from fhir_server.model import Visibility
from fhir_server.search.query import Ask, Clause, Match, Parameter
from fhir_server.search.values import Reference, Token, Value
from fhir_server.store.protocol import View


class Subsumption:
    """Settles `:above` and `:below` of one search by what is stored.

    Args:
        view: The state.
        see: What may be seen.
        index: Gives the values of a resource.
    """

    def __init__(self, view: View, see: Visibility, index: Index) -> None:
        self._view, self._see, self._index = view, see, index

    async def versions(
        self,
        types: Sequence[str],
        reference: Parameter,
        asked: Sequence[Reference],
        *,
        below: bool,
        narrowing: Iterable[Clause],
    ) -> list[Clause]:
        """Return what finds canonicals of these urls, of versions below or above those that are asked for.

        Raises:
            TooCostly: More resources name these urls than are read.
        """
        if not asked:
            return []
        urls = tuple(Ask(one) for one in dict.fromkeys(one._replace(version="") for one in asked))
        if below and not any(one.version for one in asked):
            return [Match(reference, urls)]

        def fits(value: Value) -> bool:
            return isinstance(value, Reference) and any(
                one.url == value.url
                and (_is_below(value.version, one.version) if below else _is_below(one.version, value.version))
                for one in asked
            )

        return await self._those(types, reference, (Match(reference, urls), *narrowing), fits)

    async def media_types(
        self, types: Sequence[str], code: Parameter, asked: Sequence[Token], *, below: bool, narrowing: Iterable[Clause]
    ) -> list[Clause]:
        """Return what finds media types below or above those that are asked for.

        Raises:
            TooCostly: More resources have a media type than are read.
        """
        names = [media_type(one.code or "") for one in asked]

        def fits(value: Value) -> bool:
            if not isinstance(value, Token) or not value.code:
                return False
            stored = media_type(value.code)
            return any(_begins(stored, name) if below else _begins(name, stored) for name in names)

        given = Match(code, (), "missing", missing=False)
        return await self._those(types, code, (given, *narrowing), fits)

    async def _those(
        self, types: Sequence[str], parameter: Parameter, where: tuple[Clause, ...], fits: Callable[[Value], bool]
    ) -> list[Clause]:
        ids: dict[str, list[str]] = {}
        async for version in walk(self._view, self._see, types, where):
            values = self._index(gate.load(version.body)).values.get(parameter.code, ())
            if any(map(fits, values)):
                ids.setdefault(version.type, []).append(version.id)
        return with_ids(types, ids)


def _is_below(version: str, start: str) -> bool:
    """Whether a version is another, or one that is more precise; no version stands for all."""
    return not start or version == start or version.startswith(start + ".")


def media_type(text: str) -> tuple[str, ...]:
    """Return type, subtype and each of its parameters, as far as there are any, without case and blanks.

    Source: https://www.rfc-editor.org/rfc/rfc2045#section-5.1: type, subtype and the names of parameters are not
    case-sensitive; values are taken so too, as those of charset are.
    """
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    return (*name.split("/", 1), *sorted(filter(None, parameters)))


def _begins(whole: tuple[str, ...], start: tuple[str, ...]) -> bool:
    return whole[:2][: len(start)] == start[:2] and set(start[2:]) <= set(whole[2:])
