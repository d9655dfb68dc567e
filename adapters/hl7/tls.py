"""TLS of the MLLP listeners: server certificate, clients' certificates, their names, and when they end.

Source: IHE ITI TF-2, ATNA (ITI-19): both sides show a certificate; TLS 1.2 or newer.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509

from adapters.hl7.handshake import ServerContext
from fhir_server.errors import Unavailable


def _unusable(error: Exception) -> Unavailable:
    return Unavailable(f"MLLP: the certificates cannot be used: {type(error).__name__}")


class Certificates(NamedTuple):
    """The files of one listener."""

    cert: str = ""  # PEM file of the certificate; "" for plain TCP
    key: str = ""  # PEM file of its key; "" where the key is in the same file
    client_ca: str = ""  # PEM file of who signs the clients' certificates; then each client must have one

    def context(self) -> ssl.SSLContext | None:
        """Return what a listener needs; None for plain TCP.

        Raises:
            Unavailable: A file cannot be used.
        """
        if not self.cert:
            return None
        context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.cert, self.key or None)
            if self.client_ca:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise _unusable(error) from None
        return context

    def ends(self) -> dict[str, float]:
        """Return when the certificates of the files end, in seconds since 1970: `server`, `client_ca`.

        Raises:
            Unavailable: A file cannot be used.
        """
        return {
            name: min(one.not_valid_after_utc.timestamp() for one in _certificates(file))
            for name, file in (("server", self.cert), ("client_ca", self.client_ca))
            if file
        }

    def state(self) -> tuple[tuple[int, int], ...]:
        """Return what changes when a file does."""
        found = []
        for file in filter(None, self):
            try:
                stat = Path(file).stat()
            except OSError:
                continue  # being replaced: it is looked at again
            found.append((stat.st_mtime_ns, stat.st_size))
        return tuple(found)


def _certificates(file: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable(error) from None


def peer_names(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the common names and alternative names of a verified certificate, as `ssl` gives it."""
    if not certificate:
        return frozenset()
    subject = (pair for group in certificate.get("subject", ()) for pair in group)
    common = {str(value) for name, value in subject if name == "commonName"}
    return frozenset(
        common | {str(value) for _, value in certificate.get("subjectAltName", ()) if isinstance(value, str)}
    )
