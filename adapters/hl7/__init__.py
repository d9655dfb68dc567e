"""HL7 v2 in: framing, parsing, maps, acknowledgements, message log."""
