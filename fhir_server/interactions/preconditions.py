"""If-Match and If-None-Match of a write.

Source: RFC 9110 §13.1, https://www.rfc-editor.org/rfc/rfc9110#section-13.1, and FHIR R4 4.0.1,
https://hl7.org/fhir/R4/http.html#concurrency
"""

from __future__ import annotations

from fhir_server.errors import VersionConflict
from fhir_server.interactions.body import etag_versions, names
from fhir_server.model import Version


def check_version(if_match: str, current: Version | None) -> None:
    """Refuse a write unless the resource is at the version named, or for `*` is there at all (RFC 9110 §13.1.1)."""
    there = current is not None and not current.is_deleted
    if if_match.strip() == "*":
        if not there:
            raise VersionConflict("There is no such resource, which If-Match asks for.")
        return
    expected = etag_versions(if_match)
    if current is None or not there or str(current.version) not in expected:
        raise VersionConflict("The resource is at another version than If-Match says.")


def check_none(if_none_match: str, current: Version | None) -> None:
    """Refuse an update of what is there (`*`), or is at one of the versions named (RFC 9110 §13.1.2)."""
    if current is None or current.is_deleted:
        return
    if names(if_none_match, current):
        raise VersionConflict("The resource is there already, at a version that If-None-Match excludes.")
