"""Where the MQTT broker is, and how the hub shows who it is."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fhir_server.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, and how the hub shows who it is.

    `url` is `mqtt://HOST[:1883]` or `mqtts://HOST[:8883]`; files are PEM, "" none. The password is read at each
    connection, so that a new one needs no restart.
    """

    url: str
    client: str  # client identifier: the broker knows the session by it
    user: str = ""
    password_file: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (8883 if self.is_tls else 1883)

    @property
    def is_tls(self) -> bool:
        """Whether the connection is TLS."""
        return self.url.startswith("mqtts:")

    def tls(self) -> ssl.SSLContext | None:
        """Return what TLS needs; raise Unavailable where a file cannot be used."""
        if not self.is_tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.tls_cert:
                context.load_cert_chain(self.tls_cert, self.tls_key or None)
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(f"MQTT: the certificates cannot be used: {type(error).__name__}") from None
        return context

    def password(self) -> str | None:
        """Return the password; raise Unavailable where its file cannot be read."""
        if not self.password_file:
            return None
        try:
            return Path(self.password_file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"MQTT: the password file cannot be read: {type(error).__name__}") from None

    def check(self) -> None:
        """Raise Unavailable where a file cannot be used, so that the start fails and says why."""
        self.tls()
        self.password()


def broker_of(settings: Any) -> Broker:
    """Return the broker that the settings `mqtt` and `mqtt_*` name."""
    return Broker(
        settings.mqtt,
        settings.mqtt_client,
        settings.mqtt_user,
        settings.mqtt_password_file,
        settings.mqtt_tls_ca,
        settings.mqtt_tls_cert,
        settings.mqtt_tls_key,
    )
