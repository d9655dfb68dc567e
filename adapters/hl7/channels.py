"""Channels: how the messages of one sender are read and answered. None need be configured.

A TOML file (setting `hl7_channels`) may name some: each `[[channel]]` says which connections and senders it is
for, and what differs from `[default]`. The first channel that fits a message takes it; where none does, the
channel of the way it came (`mllp`, `http`, `folder`) does, unless `[default]` says `open = false`.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.hl7.local import NOTHING_LOCAL, Local
from adapters.hl7.memory import Memory
from fhir_server.errors import Unavailable

ACK_WHEN = ("stored", "validated", "applied")


@dataclass(frozen=True, slots=True)
class Channel:
    """A way in: its name, the tenant it feeds, how what its senders leave out is read, how they are answered."""

    name: str  # mllp, http, folder, or one of the file
    tenant: str
    zone: ZoneInfo
    authorities: Mapping[str, str]
    charset: str = "cp1252"  # of text that declares nothing and is neither ASCII nor UTF-8
    ack_when: str = "stored"  # what AA says: safely kept, found right, or its effect is committed
    test: bool = False  # whether MSH-11 T and D are taken
    enhanced: bool = True  # whether MSH-15 and MSH-16 are followed; else always one AA, AE or AR
    sequence: bool = False  # whether MSH-13 is the sequence number protocol
    key_by_day: bool = False  # whether the sender uses its control ids again each day
    batch: str = "each"  # a batch is answered by one frame for each message (each), or by one batch (batch)
    when_store_down: str = "reject"  # AR 207 (reject), or the connection ends without an answer (close)
    hold_lane: bool = False  # whether a message in quarantine holds back the later ones of its patient
    max_message: int = 0  # bytes; 0: as the hub says
    device_final: bool = False  # whether results that a device calls unverified (OBX-11 R) are final
    local: Local = NOTHING_LOCAL  # what the hub was told of its senders: their codes and profiles
    memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)  # another after `replace`


class Peer(NamedTuple):
    """Who is at the other end of a connection."""

    address: str  # IP address; "" where there is none
    names: frozenset[str] = frozenset()  # common name and alternative names of its certificate


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Row:
    """A channel of the file: what it is for, and itself (with the authorities of nobody)."""

    channel: Channel
    bind: str = ""  # host:port of a listener of its own; "": that of the setting `mllp`
    peers: tuple[Network, ...] = ()  # addresses it is for; none: all
    certificates: frozenset[str] = frozenset()  # names of certificates it is for; none: all
    is_tls: bool = True  # of `bind`: whether it has TLS where the hub has certificates
    senders: frozenset[str] = field(default_factory=frozenset)  # MSH-3.1, or MSH-3.1|MSH-4.1; none: all

    def fits(self, peer: Peer) -> bool:
        """Whether it is for a connection."""
        if self.certificates and self.certificates.isdisjoint(peer.names):
            return False
        return not self.peers or is_within(peer.address, self.peers)


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks; IPv4 written as IPv6 counts as IPv4."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks if network.version == found.version)


def sender_of(raw: bytes) -> tuple[str, str]:
    """Return MSH-3.1 and MSH-4.1 of a message in an ASCII-compatible set, as written; two "" for any other."""
    if raw[:3] not in (b"MSH", b"BHS", b"FHS") or len(raw) < 9:
        return "", ""
    cells = raw[:1024].split(raw[3:4], 4)
    component = raw[4:5]
    names = [cell.split(component, 1)[0].decode("latin-1") for cell in (*cells[2:4], b"", b"")]
    return names[0], names[1]


class Table:
    """All channels.

    Args:
        rows: Those of the file, in its order.
        usual: The channel of messages that none of them is for.
        is_open: Whether there is such a channel.
    """

    def __init__(self, rows: Sequence[Row], usual: Channel, *, is_open: bool = True) -> None:
        self._rows, self._usual, self._is_open = tuple(rows), usual, is_open
        self._ways: dict[str, Channel] = {}

    @property
    def binds(self) -> list[str]:
        """The addresses that channels have for themselves."""
        return list(dict.fromkeys(row.bind for row in self._rows if row.bind))

    def has_tls(self, bind: str) -> bool:
        """Whether a listener has TLS where the hub has certificates."""
        return all(row.is_tls for row in self._rows if row.bind == bind)

    def longest(self, bind: str, usual: int) -> int:
        """Return the bytes of the longest message that a listener takes; `usual` is the hub's own limit."""
        sizes = [row.channel.max_message for row in self._rows if row.bind == bind]
        if not bind and self._is_open:
            sizes.append(self._usual.max_message)
        return max((size or usual for size in sizes), default=usual)

    @property
    def tenants(self) -> frozenset[str]:
        """The tenants that channels feed."""
        return frozenset({self._usual.tenant, *(row.channel.tenant for row in self._rows)})

    def rows(self, bind: str, peer: Peer) -> tuple[Row, ...] | None:
        """Return the rows that may take messages of a connection; None where none may and it is refused."""
        found = tuple(row for row in self._rows if row.bind == bind and row.fits(peer))
        return found if found or (self._is_open and not bind) else None

    def choose(self, rows: Sequence[Row], name: str, raw: bytes) -> Channel | None:
        """Return the channel of a message among those of its connection; None where none is for its sender.

        Args:
            rows: What `rows` gave.
            name: Of the channel where no row fits.
            raw: The message.
        """
        if rows:
            application, facility = sender_of(raw)
            for row in rows:
                if not row.senders or not row.senders.isdisjoint((application, f"{application}|{facility}")):
                    return row.channel
            if rows[0].bind:
                return None
        return self._way(name) if self._is_open else None

    def _way(self, name: str) -> Channel:
        """Return the usual channel under a name: always the same, so that what is made of it can be kept."""
        made = self._ways.get(name)
        if made is None:
            made = self._ways[name] = replace(self._usual, name=name)
        return made

    def named(self, name: str) -> Channel:
        """Return the channel of a name; the usual one under that name where it is not in the file."""
        for row in self._rows:
            if row.channel.name == name:
                return row.channel
        return self._way(name)


def _refuse(where: str, text: str) -> Unavailable:
    return Unavailable(f"hl7_channels: {where}: {text}")


def _choice(*allowed: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in allowed:
            raise ValueError
        return str(value)

    return parse


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value.strip()


def _codec(value: Any) -> str:
    try:
        "".encode(_text(value))
    except LookupError:
        raise ValueError from None
    return _text(value)


def _zone(value: Any) -> ZoneInfo:
    try:
        return ZoneInfo(_text(value))
    except ZoneInfoNotFoundError:
        raise ValueError from None


def _bind(value: Any) -> str:
    host, _, port = _text(value).rpartition(":")
    if not host or not 0 < int(port) < 65536:
        raise ValueError
    return _text(value)


def _texts(value: Any) -> list[str]:
    return [_text(each) for each in (value if isinstance(value, list) else [value])]


def _networks(value: Any) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(each) for each in _texts(value))


HOW: Mapping[str, Callable[[Any], Any]] = {
    "tenant": _text,
    "zone": _zone,
    "charset": _codec,
    "ack_when": _choice(*ACK_WHEN),
    "test": _flag,
    "enhanced": _flag,
    "sequence": _flag,
    "key_by_day": _flag,
    "batch": _choice("each", "batch"),
    "when_store_down": _choice("reject", "close"),
    "hold_lane": _flag,
    "max_message": _size,
    "device_final": _flag,
}
"""Keys of `[default]` and `[[channel]]` that say how messages are taken."""

WHOSE: Mapping[str, Callable[[Any], Any]] = {
    "bind": _bind,
    "tls": _flag,
    "peers": _networks,
    "certificates": lambda value: frozenset(_texts(value)),
    "senders": lambda value: frozenset(_texts(value)),
}
"""Keys of `[[channel]]` alone: which connections and messages it is for."""


def _read(given: Any, keys: Mapping[str, Callable[[Any], Any]], where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _refuse(where, "is no table")
    if unknown := sorted(set(given) - set(keys)):
        raise _refuse(where, f"there is no key {unknown[0]}; known are {', '.join(sorted(keys))}")
    made: dict[str, Any] = {}
    for key, value in given.items():
        try:
            made[key] = keys[key](value)
        except (ValueError, TypeError):
            raise _refuse(where, f"{key} is malformed") from None
    return made


def read_table(file: str, usual: Channel) -> Table:
    """Read the file of the setting `hl7_channels`.

    Args:
        file: Its path; "" for no file.
        usual: The channel where the file says nothing.

    Raises:
        Unavailable: The file cannot be read, or says what is not understood; names the place.
    """
    if not file:
        return Table((), usual)
    try:
        raw = tomllib.loads(Path(file).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _refuse(file, f"cannot be read: {type(error).__name__}") from None
    if unknown := sorted(set(raw) - {"default", "channel"}):
        raise _refuse(file, f"there is no table {unknown[0]}; known are default and channel")
    default = _read(raw.get("default", {}), {**HOW, "open": _flag}, "[default]")
    is_open = default.pop("open", True)
    usual = replace(usual, **default)
    rows: list[Row] = []
    listed = raw.get("channel", [])
    for number, given in enumerate(listed if isinstance(listed, list) else [listed], 1):
        made = _read(given, {**HOW, **WHOSE, "name": _text}, f"channel {number}")
        if "name" not in made or made["name"] in {row.channel.name for row in rows}:
            raise _refuse(f"channel {number}", "each has a name of its own")
        matching = {"is_tls" if key == "tls" else key: made.pop(key) for key in WHOSE if key in made}
        if not matching.get("is_tls", True) and "bind" not in matching:
            raise _refuse(f"channel {number}", "tls is for a channel with a bind of its own")
        rows.append(Row(replace(usual, **made), **matching))
    return Table(rows, usual, is_open=is_open)
