"""Load generator and scenarios against any FHIR R4 base."""
