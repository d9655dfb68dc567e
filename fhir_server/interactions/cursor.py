"""Page links: where a page ended, sealed and bound to who asked what.

A cursor carries sort values, such as names and dates: it is encrypted (AES-SIV, RFC 5297), so that a link
in a log tells nothing. One that was edited, or is used by another caller or for another query, is refused;
authorisation runs again for each page.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from fhir_server import gate
from fhir_server.errors import BadParameter, Malformed
from fhir_server.model import Actor


class Cursors:
    """Writes and reads page cursors.

    Args:
        key: 32 secret bytes, the same in every process on the store.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESSIV(key)

    def write(self, after: tuple[object, ...], actor: Actor, query: str) -> str:
        """Return the text of a cursor, fit for a URL."""
        sealed = self._cipher.encrypt(gate.write(list(after)), _bound(actor, query))
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def read(self, text: str, actor: Actor, query: str) -> tuple[Any, ...]:
        """Return where the page before ended; raise BadParameter when the cursor does not hold."""
        try:
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return tuple(gate.parse(self._cipher.decrypt(sealed, _bound(actor, query))))
        except (binascii.Error, ValueError, InvalidTag, Malformed):
            raise BadParameter("The page link does not hold for this caller and query.") from None


def _bound(actor: Actor, query: str) -> list[bytes]:
    return ["\n".join((actor.tenant, actor.subject, actor.reference, actor.patient, query)).encode()]
