"""Translators between the hub and systems that do not speak FHIR."""
