"""The functions of FHIRPath and those that FHIR adds, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fhir_server.fhirpath.functions import (
    boundaries,
    collections,
    conversion,
    existence,
    fhir,
    mathematics,
    strings,
    utility,
)
from fhir_server.fhirpath.functions.arguments import Function

FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {
        **existence.FUNCTIONS,
        **collections.FUNCTIONS,
        **conversion.FUNCTIONS,
        **strings.FUNCTIONS,
        **mathematics.FUNCTIONS,
        **boundaries.FUNCTIONS,
        **utility.FUNCTIONS,
        **fhir.FUNCTIONS,
    }
)
