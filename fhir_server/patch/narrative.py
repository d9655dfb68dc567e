"""The narrative after a patch: what was written for people must not tell of what is no longer so.

R4 asks of a server that patches that no clinically unsafe narrative remains, and names as ways to leave it out
or to refuse. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

from fhir_server.errors import Unprocessable
from fhir_server.model import Resource


def settled(before: Resource, after: Resource) -> Resource:
    """Return the patched resource with a narrative that may stand.

    A patch that writes the narrative itself has the last word. Else a narrative that was wholly generated is left
    out once the data differ; one that holds more than the data (`extensions`, `additional`) cannot be made anew.

    Raises:
        Unprocessable: Such a narrative stands, and the patch neither writes nor removes it.
    """
    text = before.get("text")
    if not isinstance(text, dict) or after.get("text") != text or _data(after) == _data(before):
        return after
    if text.get("status") in ("generated", "empty"):
        return {name: value for name, value in after.items() if name != "text"}
    raise Unprocessable(
        "The narrative holds more than the data: a patch of this resource writes or removes text too.",
        expression=f"{before['resourceType']}.text",
    )


def _data(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if name != "meta"}
