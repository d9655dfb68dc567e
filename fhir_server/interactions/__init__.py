"""The FHIR interactions, one file each, over any store."""
