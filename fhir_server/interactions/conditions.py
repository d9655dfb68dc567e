"""Which resources the condition of a write means: those that the actor may see, along its chains too.

What is hidden is as if it were not there, else a condition would tell of it. Only what would be made although a hidden
resource meets the condition is refused: it would be there twice.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#ccreate
"""

from __future__ import annotations

from collections.abc import Collection

from fhir_server.errors import MultipleMatches, Unprocessable
from fhir_server.model import Visibility
from fhir_server.search.query import Query
from fhir_server.store.protocol import Transaction
from fhir_server.store.visibility import is_visible


async def one_match(tx: Transaction, asked: Query, see: Visibility, gone: Collection[str]) -> str:
    """Return the id of the one match beside `gone`, "" for none; raise MultipleMatches for several."""
    found = await tx.search(asked, see=see)
    versions = [version for version in found.versions if version.id not in gone] if gone else found.versions
    if len(versions) > 1:
        raise MultipleMatches("The condition matches more than one resource.")
    return versions[0].id if versions else ""


async def all_matches(tx: Transaction, asked: Query, see: Visibility, *, most: int) -> list[str]:
    """Return the ids of all matches; raise MultipleMatches for more than `most`."""
    found = await tx.search(asked, see=see)
    if len(found.versions) > most:
        number = "one resource" if most == 1 else f"{most} resources"
        raise MultipleMatches(f"The condition matches more than {number}; _count says how many may be deleted.")
    return [version.id for version in found.versions]


async def check_free(tx: Transaction, asked: Query, see: Visibility, gone: Collection[str]) -> None:
    """Raise Unprocessable where a resource that is hidden meets the condition."""
    found = await tx.search(asked)
    if any(version.id not in gone and not is_visible(version, see) for version in found.versions):
        raise Unprocessable("The condition cannot be met.")
