"""Resources checked against the R4 definitions, by compiled code."""
