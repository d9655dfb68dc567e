"""Suites that test any FHIR R4 base over HTTP; imports nothing of ours."""
