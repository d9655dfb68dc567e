"""Settings as one table: each has a flag, a PREDMP_* variable and a TOML key of the same name."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

PREFIX = "PREDMP_"

ROOMS = (
    "consent.room",
    "triage_hooks.room",
    "adapters.hl7.room",
    "adapters.devices.room",
    "adapters.dmp.room",
)


class SettingsError(Exception):
    """A setting cannot be used; names it, never shows its value."""


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not 0 < int(port) < 65536:
        raise ValueError
    return text


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError
        return text

    return parse


def _broker(text: str) -> str:
    parts = urlsplit(text)
    host = parts.hostname if parts.scheme in ("mqtt", "mqtts") else ""
    if text and (not host or parts.username or parts.password or parts.path.strip("/") or parts.port == 0):
        raise ValueError
    return text


def _share(text: str) -> str:
    if any(character in text for character in "/+#$ \t\n\x00"):
        raise ValueError
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError from None
    return text


def _key(text: str) -> str:
    if text and len(bytes.fromhex(text)) != 32:
        raise ValueError
    return text


def _positive(text: str) -> int:
    if (value := int(text)) <= 0:
        raise ValueError
    return value


def _natural(text: str) -> int:
    if (value := int(text)) < 0:
        raise ValueError
    return value


def _coding(text: str) -> str:
    if not all(part.strip() for part in text.partition("|")[::2]):
        raise ValueError
    return text


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word)


def _networks(text: str) -> tuple[str, ...]:
    return tuple(str(ipaddress.ip_network(word)) for word in _words(text))


def _var(default: Any, parse: Callable[[str], Any], text: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Read once at start; a test compares these fields with docs/reference/settings.md."""

    http: str = _var("127.0.0.1:8080", _address, "host:port of HTTP")
    mllp: str = _var("127.0.0.1:2575", _address, "host:port of HL7 v2 over MLLP")
    store: str = _var(
        "sqlite:///var/predmp.db", str, "sqlite:///PATH, mongodb://HOST/DATABASE, or memory: for a store that forgets"
    )
    auth: str = _var(
        "on", _choice("on", "off"), "off answers every caller as the operator; refused unless bound to loopback"
    )
    base_url: str = _var("", str, "Root of every link, e.g. https://hub.example; empty: http://HOST:PORT of http")
    tenant: str = _var("default", str, "Tenant of callers and feeds that name none")
    token_key: str = _var(
        "",
        _key,
        "Only with --store memory:, for tests and trials: 64 hexadecimal digits that sign tokens, so that "
        "predmp token can make one",
    )
    zone: str = _var("Europe/Paris", _zone, "Zone of a date that has none")
    update_create: str = _var(
        "on", _choice("on", "off"), "off refuses a PUT over HTTP under an id that was never used: the hub gives the ids"
    )
    conditional_delete: str = _var(
        "single",
        _choice("single", "multiple"),
        "Whether a conditional delete takes one match, or up to 1,000; a request may say its own bound by _count",
    )
    unknown_profiles: str = _var(
        "ignore",
        _choice("ignore", "warn", "refuse"),
        "What a profile of meta.profile that is not known here does to a write: nothing, a line in the log, or 422",
    )
    require_profiles: tuple[str, ...] = _var(
        (), _words, "Type=canonical, parted by blanks: what each resource of a type must conform to, declared or not"
    )
    max_body: int = _var(33_554_432, _positive, "Largest request body, in bytes")
    max_import: int = _var(17_179_869_184, _positive, "Largest body of $import, in bytes, unpacked")
    max_message: int = _var(16_777_216, _positive, "Largest HL7 v2 message, in bytes")
    hl7_ack_when: str = _var(
        "stored",
        _choice("stored", "validated", "applied"),
        "What AA says of an HL7 v2 message: safely kept, or also found right, or its effect is committed",
    )
    hl7_waiting: int = _var(
        50_000, _positive, "HL7 v2 messages that wait to be applied at which no more are read from their connections"
    )
    hl7_retry: int = _var(
        86_400, _positive, "Seconds after which an HL7 v2 message that fails for a passing reason goes to quarantine"
    )
    hl7_disk_low: int = _var(
        104_857_600, _natural, "Free bytes beside the SQLite file below which HL7 v2 messages are refused; 0: never"
    )
    legal_hold: str = _var(
        "urn:predmp:hold|legal-hold", _coding, "Security label (system|code) of what $erase may not remove"
    )
    jobs_keep: int = _var(86_400, _positive, "Seconds that ended jobs and their files are kept")
    jobs_file: int = _var(67_108_864, _positive, "Bytes of one file of an export before the next is begun")
    outbound_allow: tuple[str, ...] = _var((), _networks, "Networks that outbound calls may reach beside public https")
    rooms: tuple[str, ...] = _var(ROOMS, _words, "Rooms to load, by dotted name")
    mllp_allow: tuple[str, ...] = _var((), _networks, "Networks that may connect by MLLP; none: all")
    mllp_connections: int = _var(512, _positive, "MLLP connections of one listener")
    mllp_peer_connections: int = _var(
        8, _positive, "MLLP connections of one address; those of the machine itself are not counted"
    )
    mllp_stall: int = _var(30, _positive, "Seconds that an MLLP frame which has begun may stand still")
    mllp_tls_cert: str = _var("", str, "PEM file: certificate of the MLLP listener")
    mllp_tls_key: str = _var("", str, "PEM file: its key")
    mllp_tls_client_ca: str = _var(
        "", str, "PEM file: who may sign MLLP clients' certificates; then they must have one"
    )
    device_watch: int = _var(
        60, _positive, "Seconds between two looks for expected measurements and devices that are missing"
    )
    mqtt: str = _var("", _broker, "MQTT 5 broker of devices: mqtt://HOST[:1883] or mqtts://HOST[:8883]; empty: none")
    mqtt_client: str = _var("predmp", str, "Client identifier at the broker; of several hubs each has its own")
    mqtt_share: str = _var(
        "", _share, "Group of a shared subscription, the same for several hubs that share the work; empty: one hub"
    )
    mqtt_user: str = _var("", str, "User name at the broker")
    mqtt_password_file: str = _var("", str, "File with the password at the broker, read at each connection")
    mqtt_tls_ca: str = _var("", str, "PEM file: who signs the broker's certificate; empty: those the system trusts")
    mqtt_tls_cert: str = _var("", str, "PEM file: the hub's certificate at the broker")
    mqtt_tls_key: str = _var("", str, "PEM file: its key")
    webhooks: str = _var("", str, "TOML file with the vendors whose webhooks are taken at /devices/webhooks/{vendor}")
    hl7_channels: str = _var("", str, "TOML file with channels: how the messages of a sender are read and answered")
    hl7_folder: str = _var("", str, "Folder whose files *.hl7 are taken, answered, and moved to done/ or failed/")

    @property
    def root_url(self) -> str:
        """The address of the hub without a closing slash."""
        return self.base_url.rstrip("/") or f"http://{self.http}"

    @property
    def is_loopback(self) -> bool:
        """Whether HTTP is bound where only this machine reaches it."""
        host = self.http.rpartition(":")[0].strip("[]")
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @classmethod
    def read(
        cls, environ: Mapping[str, str], flags: Mapping[str, str | None] | None = None, file: Path | None = None
    ) -> Settings:
        """Take each setting from the flag, else the variable, else the TOML file, else its default.

        Raises:
            SettingsError: A value is malformed, or the file names a setting that does not exist.
        """
        given: dict[str, Any] = {}
        table = _table(file)
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(table) - known):
            raise SettingsError(f"{file}: there is no setting {unknown[0]}")
        for item in fields(cls):
            sources = (
                (f"--{item.name.replace('_', '-')}", (flags or {}).get(item.name)),
                (PREFIX + item.name.upper(), environ.get(PREFIX + item.name.upper())),
                (f"{file}: {item.name}", table.get(item.name)),
            )
            for name, raw in sources:
                if raw is not None:
                    given[item.name] = _parsed(name, item.metadata["parse"], raw)
                    break
        return cls(**given)


def _table(file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        raw = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file} cannot be read: {type(error).__name__}") from None
    return {name: " ".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in raw.items()}


def _parsed(name: str, parse: Callable[[str], Any], raw: str) -> Any:
    try:
        return parse(raw)
    except ValueError:
        raise SettingsError(f"{name} is malformed") from None
