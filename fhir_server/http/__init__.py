"""FHIR over HTTP: routes, negotiation, capability statement."""
