"""Maps of HL7 v2 segments to FHIR elements, as data that cites the guide's rows."""
