"""MLLP: listens, and says who may connect and how much all connections may cost.

Source: HL7 v2.5.1 implementation guide, appendix C (minimal lower layer protocol); frames: `framing.py`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from adapters.hl7.channels import Network, Peer, is_within
from adapters.hl7.connection import Answered as Answered
from adapters.hl7.connection import Connection, Limits, Take
from adapters.hl7.framing import END as END
from adapters.hl7.framing import VT as VT
from adapters.hl7.handshake import Handshakes, ServerContext
from fhir_server.errors import Unavailable

log = logging.getLogger("predmp.hl7")

QUIET_S = 1.0  # seconds in which one reason of failed handshakes is logged once: strangers fill no disk

Admit = Callable[[Peer], Take | None]
"""Says who takes the messages of a connection; None refuses it."""


class Listener:
    """Accepts connections and hands their messages on.

    Args:
        address: `host:port`.
        admit: Called for each connection.
        limits: What a connection may cost.
        tls: Makes the server's TLS context when it starts, and again at each reload; None for plain TCP.
        allowed: Networks that may connect; none: all.
    """

    def __init__(
        self,
        address: str,
        admit: Admit,
        limits: Limits,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
        *,
        allowed: tuple[Network, ...] = (),
    ) -> None:
        self._address, self._admit, self._tls, self._allowed = address, admit, tls, allowed
        self.limits = limits
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._is_stopping = False
        self.open: set[Connection] = set()
        self._peers: Counter[str] = Counter()
        self._handshakes = Handshakes(limits.handshake_s, self._has_room, self._handshake_failed)
        self._told = ("", 0.0)  # why a handshake failed, and when that was logged
        self.begun = 0  # bytes of frames that have not ended
        self.counts: Counter[str] = Counter()  # connections, and how those ended that ended badly

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.open)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        """Begin to listen; raise Unavailable that names the port where it cannot be had."""
        host, _, port = self._address.rpartition(":")
        context = self._tls()
        try:
            self._socket = _bound(host.strip("[]"), int(port))
        except OSError as error:
            raise Unavailable(
                f"MLLP: port {port} on {host} cannot be used: {error.strerror or 'no such address'}"
            ) from None
        await self._serve(context)

    async def _serve(self, context: ssl.SSLContext | None) -> None:
        assert self._socket is not None
        if isinstance(context, ServerContext):
            context.handshakes = self._handshakes
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self),
            sock=self._socket.dup(),
            ssl=context,
            backlog=256,
            ssl_handshake_timeout=self.limits.handshake_s if context else None,
        )

    def _has_room(self, handshakes: int) -> bool:
        return len(self.open) + handshakes < self.limits.connections

    def _handshake_failed(self, reason: str) -> None:
        self.counts["handshake"] += 1
        now = asyncio.get_running_loop().time()
        if reason != self._told[0] or now - self._told[1] >= QUIET_S:
            log.warning("a TLS connection was refused: %s", reason)
            self._told = (reason, now)

    async def reload(self) -> None:
        """Read the certificates again: for new connections; those that are open stay.

        Raises:
            Unavailable: They cannot be used; then the ones before stay in force.
        """
        if self._server is None:
            return
        context, before = self._tls(), self._server
        await self._serve(context)  # on the same socket: no connection is refused between the two
        await _close(before)

    async def stop(self) -> None:
        """Take no more, answer what is under way, close; may be called without `start`."""
        if self._server is None or self._socket is None:
            return
        server, self._server = self._server, None
        await _close(server)
        self._is_stopping = True
        self._socket.close()
        gone = [connection.end() for connection in list(self.open)]
        if gone:
            await asyncio.wait(gone, timeout=self.limits.grace_s)
        for connection in list(self.open):
            connection.abort("stopped")
        await _turns()

    def admitted(self, peer: Peer) -> Take | None:
        """Return who takes the messages of a connection; None where it is refused."""
        local = _is_local(peer.address)
        if (
            self._is_stopping
            or len(self.open) >= self.limits.connections
            or (not local and self._peers[peer.address] >= self.limits.per_peer)
            or (self._allowed and not is_within(peer.address, self._allowed))
        ):
            return None
        return self._admit(peer)

    def opened(self, connection: Connection) -> None:
        """Count a connection."""
        self.counts["opened"] += 1
        self.open.add(connection)
        self._peers[connection.peer.address] += 1

    def closed(self, connection: Connection) -> None:
        """Count it no more."""
        self.open.discard(connection)
        self._peers[connection.peer.address] -= 1
        if self._peers[connection.peer.address] <= 0:
            del self._peers[connection.peer.address]


async def _close(server: asyncio.Server) -> None:
    """Close it once all that it accepted are connections: a closed one drops those that are on their way."""
    for listening in server.sockets:
        server.get_loop().remove_reader(listening.fileno())
    await _turns()
    server.close()


async def _turns() -> None:
    """Let the loop do what it has begun: what it accepted becomes a connection, what was aborted is closed."""
    for _ in range(3):
        await asyncio.sleep(0)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found, _, _, _, address = socket.getaddrinfo(host, port, 0 if host else family, socket.SOCK_STREAM)[0]
    made = socket.socket(found, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        made.bind(address)
        made.listen(256)
    except OSError:
        made.close()
        raise
    return made


def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True
