"""Profiles: StructureDefinitions that constrain R4's types, checked beside R4 itself."""

from __future__ import annotations

from fhir_server.profiles.builtin import definition, supported
from fhir_server.profiles.judge import Judge, Task
from fhir_server.profiles.library import Library
from fhir_server.profiles.policy import Policy, read_required

__all__ = ["Judge", "Library", "Policy", "Task", "definition", "read_required", "supported"]
