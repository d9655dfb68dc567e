"""Codes: what a code system has, what a value set contains, what subsumes what, what maps to what."""

from fhir_server.terminology.service import WATCHED, Terminology

__all__ = ["WATCHED", "Terminology"]
