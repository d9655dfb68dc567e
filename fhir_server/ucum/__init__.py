"""UCUM: units of measure, read and converted exactly.

Source: The Unified Code for Units of Measure 2.2, https://ucum.org/ucum
"""

from fhir_server.ucum.expression import MAX_LENGTH
from fhir_server.ucum.scale import (
    ONE,
    UCUM,
    Line,
    Measure,
    Scale,
    canonical,
    convert,
    is_comparable,
    line,
    scale,
)

__all__ = [
    "MAX_LENGTH",
    "ONE",
    "UCUM",
    "Line",
    "Measure",
    "Scale",
    "canonical",
    "convert",
    "is_comparable",
    "line",
    "scale",
]
