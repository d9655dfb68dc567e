"""Failed TLS handshakes are told: without that neither side of a new connection learns what is wrong.

The event loop drops them without a word. The reason is one of OpenSSL's own texts (an expired certificate, an unknown
issuer, none at all); nothing that a client sent is in it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable


class Handshake(ssl.SSLObject):
    """The server's side of a connection."""

    def do_handshake(self) -> None:
        """Go on with the handshake, and tell the context why it failed; a client that only went away is not told."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            raise
        except ssl.SSLError as error:
            context = self.context
            if isinstance(context, ServerContext):
                context.told(_reason(error))
            raise


class ServerContext(ssl.SSLContext):
    """TLS of a listener that wants to know of failed handshakes: it sets `told`."""

    sslobject_class = Handshake
    told: Callable[[str], None] = staticmethod(lambda reason: None)


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or "unknown").replace("_", " ").lower()
