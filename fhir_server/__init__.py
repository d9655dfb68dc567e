"""The FHIR R4 server: the core that knows no other room by name."""
