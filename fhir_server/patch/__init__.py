"""PATCH: JSON Patch, JSON Merge Patch, XML Patch and FHIRPath Patch as pure functions on resources."""

from fhir_server.patch.document import MEDIA_TYPES, Patch, read
from fhir_server.patch.entry import carried
from fhir_server.patch.narrative import settled

__all__ = ["MEDIA_TYPES", "Patch", "carried", "read", "settled"]
