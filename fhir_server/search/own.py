"""Search parameters that this hub adds to R4's, because its users ask for them every day.

R4 defines none for the status of a Flag (https://hl7.org/fhir/R4/flag.html#search); R5 added `status`
(https://hl7.org/fhir/R5/flag.html#search), with the meaning it has here.
"""

from __future__ import annotations

from typing import Final

from fhir_server.definitions import SearchParameter

OWN: Final = (
    SearchParameter("urn:predmp:search-parameter:Flag-status", "status", ("Flag",), "token", "Flag.status", (), ()),
)
