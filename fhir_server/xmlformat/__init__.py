"""FHIR XML: bytes to resources in their JSON form, and back.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/xml.html
"""

from fhir_server.xmlformat.document import run
from fhir_server.xmlformat.indent import laid_out
from fhir_server.xmlformat.reading import read
from fhir_server.xmlformat.writing import write

__all__ = ["laid_out", "read", "run", "write"]
