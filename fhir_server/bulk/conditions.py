"""Conditional references of Bundles answered before a worker prepares them, and asked again when they are written.

What is known from before is a guess that saves searches; only what the transaction itself finds counts.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#trules (conditional references)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from fhir_server.errors import FhirError
from fhir_server.interactions.asking import split_query
from fhir_server.interactions.core import Hub
from fhir_server.interactions.steps import criteria
from fhir_server.store.protocol import View

MOST: Final = 20_000  # answers that are kept
# One that is written with an escape is not found here: its Bundle is done step by step.
_references = re.compile(rb'"reference"\s*:\s*"([A-Z][A-Za-z]*\?[^"\\]*)"').findall


def references_in(body: bytes) -> frozenset[str]:
    """Return what looks like conditional references in a text."""
    return frozenset([found.decode("utf-8", "replace") for found in set(_references(body))])


class Conditions:
    """Answers conditional references, and keeps the answers.

    Args:
        hub: The core.
        tenant: Whose store.
    """

    def __init__(self, hub: Hub, tenant: str) -> None:
        self._hub, self._tenant = hub, tenant
        self._known: dict[str, str] = {}

    async def answers(self, references: Collection[str]) -> dict[str, str] | None:
        """Return `Type/id` of each; None where one of them has no answer, or several."""
        asked = [reference for reference in references if reference not in self._known]
        if asked:
            if len(self._known) > MOST:
                self._known.clear()
                return await self.answers(references)
            async with self._hub.store.view(self._tenant) as view:
                for reference in asked:
                    target = await self._find(view, reference)
                    if not target:
                        return None
                    self._known[reference] = target
        return {reference: self._known[reference] for reference in references}

    async def hold(self, view: View, answers: Mapping[str, str]) -> bool:
        """Whether answers are those of a state; else they are forgotten."""
        for reference, target in answers.items():
            if await self._find(view, reference) != target:
                self._known.clear()
                return False
        return True

    async def _find(self, view: View, reference: str) -> str:
        """Return `Type/id` of the one match, "" where there is none or it is not one."""
        try:
            type, pairs = split_query(reference)
            if type not in self._hub.types:
                return ""
            found = await view.search(self._hub.query(type, [*criteria(pairs), ("_count", "2")]))
        except FhirError:
            return ""
        return found.versions[0].reference if len(found.versions) == 1 else ""
