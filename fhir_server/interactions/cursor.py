"""Page links: where a page ended, signed and bound to who asked what.

A cursor that was edited, or is used by another caller or for another query, is refused; authorisation
runs again for each page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any

from fhir_server import gate
from fhir_server.errors import BadParameter, Malformed
from fhir_server.model import Actor


class Cursors:
    """Writes and reads page cursors.

    Args:
        key: 32 secret bytes, the same in every process on the store.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, after: tuple[object, ...], actor: Actor, query: str) -> str:
        """Return the text of a cursor, fit for a URL."""
        body = gate.write(list(after))
        return base64.urlsafe_b64encode(self._sign(body, actor, query) + body).rstrip(b"=").decode()

    def read(self, text: str, actor: Actor, query: str) -> tuple[Any, ...]:
        """Return where the page before ended; raise BadParameter when the cursor does not hold."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if not hmac.compare_digest(raw[:16], self._sign(raw[16:], actor, query)):
                raise BadParameter("The page link does not hold for this caller and query.")
            return tuple(gate.parse(raw[16:]))
        except (binascii.Error, ValueError, Malformed):
            raise BadParameter("The page link cannot be read.") from None

    def _sign(self, body: bytes, actor: Actor, query: str) -> bytes:
        bound = "\n".join((actor.tenant, actor.subject, actor.reference, actor.patient, query)).encode()
        return hmac.new(self._key, body + b"\x00" + bound, hashlib.sha256).digest()[:16]
