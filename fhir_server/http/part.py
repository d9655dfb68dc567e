"""Parts of what is answered: `_summary` and `_elements`, which every interaction takes.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#parameters and https://hl7.org/fhir/R4/search.html#summary
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from fhir_server import gate
from fhir_server.errors import BadParameter
from fhir_server.http.message import Request
from fhir_server.interactions.subset import subset
from fhir_server.model import Resource
from fhir_server.search.results import SUMMARIES, is_element, read_choice, read_elements

NAMES: Final = frozenset({"_summary", "_elements"})


class Part(NamedTuple):
    """What of a resource is asked for."""

    summary: str = "false"
    elements: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out: a whole resource bears no tag that says it is a part."""
        return not self.elements and self.summary in ("false", "count")

    def of(self, body: bytes) -> bytes:
        """Return the part of a resource."""
        return body if self.is_whole else gate.write(subset(gate.load(body), self.summary, self.elements))

    def of_answer(self, resource: Resource) -> Resource:
        """Return the part of what an operation answers: of a Bundle that of each of its entries.

        Links to more of the answer ask for the same part.
        """
        if resource.get("resourceType") != "Bundle":
            return subset(resource, self.summary, self.elements)
        made: dict[str, Any] = dict(resource)
        if "entry" in made:
            made["entry"] = [self._entry(entry) for entry in made["entry"]]
        if "link" in made:
            made["link"] = [{**each, "url": self._linked(each["url"])} for each in made["link"]]
        return made

    def _entry(self, entry: dict[str, Any]) -> dict[str, Any]:
        if "resource" not in entry or entry.get("search", {}).get("mode") == "outcome":
            return entry
        return {**entry, "resource": subset(entry["resource"], self.summary, self.elements)}

    def _linked(self, url: str) -> str:
        asked = [("_summary", self.summary)] if self.summary != "false" else []
        asked += [("_elements", ",".join(self.elements))] if self.elements else []
        return url + ("&" if "?" in url else "?") + "&".join(f"{name}={quote(value)}" for name, value in asked)


WHOLE: Final = Part()


def read_part(request: Request, types: Iterable[str], *, counts: bool = False) -> Part:
    """Return what part of its answer a request asks for.

    Args:
        request: Its query string may have `_summary` and `_elements`.
        types: Of the resources that the answer may hold; an element that none of them has is refused.
        counts: Whether `_summary=count` is answered, as by searches and histories.

    Raises:
        BadParameter: One is given twice, or says nothing that the answer could have.
    """
    asked: dict[str, str] = {}
    for name, value in request.pairs if request.query else ():
        if name in NAMES:
            if name in asked:
                raise BadParameter(f"The parameter '{name}' is given twice.")
            asked[name] = value
    return _checked(asked, types, counts=counts, is_lenient=request.is_lenient) if asked else WHOLE


def _checked(asked: Mapping[str, str], types: Iterable[str], *, counts: bool, is_lenient: bool) -> Part:
    choices = SUMMARIES if counts else tuple(choice for choice in SUMMARIES if choice != "count")
    summary = read_choice("_summary", asked.get("_summary", "false"), choices)
    elements = read_elements(asked["_elements"]) if "_elements" in asked else ()
    allowed = tuple(types)
    if not is_lenient and not all(is_element(name, allowed) for name in elements):
        raise BadParameter("The parameter '_elements' names an element that the answer does not have.")
    return Part(summary, elements)
