"""One connection to an MQTT 5 broker: each publication is stored, then acknowledged.

The library's own thread talks to the broker; what it receives is handed to the event loop, and PUBACK is sent once the
store has committed (`manual_ack`). Receive Maximum bounds what is under way, so that a slow store slows the broker and
fills no memory. The session outlives the connection: what was not acknowledged comes again.
Source: https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html (4.6 message ordering, 4.8.2 shared subscriptions)
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from adapters.devices.broker import Broker
from adapters.devices.publication import Publication
from adapters.devices.topic import read_topic
from fhir_server.errors import FhirError

RECEIVE_MAXIMUM: Final = 64  # publications under way at once, of each connection
MAX_PACKET: Final = 4_194_304  # bytes: what is larger the broker keeps to itself; its own limit is to be lower
SESSION_S: Final = 0xFFFFFFFF  # the session never ends by itself: the broker keeps what comes while the hub is away
KEEPALIVE_S: Final = 30
CONNECT_S: Final = 15.0  # seconds until the broker must have answered
DRAIN_S: Final = 5.0  # seconds that publications under way have to end when the connection does
STEADY_S: Final = 30.0  # a connection that lasted that long is no failure
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 60.0
MAX_UNCONFIRMED: Final = 1_000  # publications of QoS 0 under way; more are not taken, and counted
_FAILURE: Final = 128  # reason codes from here on are failures

log = logging.getLogger("predmp.devices")


class _Lost(Exception):
    """The connection ended; carries why, in a word."""


@dataclass(slots=True)
class _Ticket:
    """A publication under way."""

    mid: int
    qos: int
    is_done: bool = False


class Session:
    """A session with the broker, whatever happens to its connections.

    Args:
        broker: Where.
        name: Part of the client identifier; "" for the one of readings.
        filters: What to subscribe to, each at QoS 1.
        take: Returns once a publication is stored; raises FhirError where it cannot be now.
        jitter: Returns a number in [0, 1).
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        filters: tuple[str, ...],
        take: Callable[[Publication], Awaitable[None]],
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._broker, self.name, self._filters = broker, name, filters
        self._take, self._jitter = take, jitter
        self.counts: Counter[str] = Counter()  # what happened, by its name in the metrics
        self.is_connected = False
        self._tickets: deque[_Ticket] = deque()
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0

    @property
    def label(self) -> str:
        """What it is called in the log and in metrics."""
        return self.name or "readings"

    @property
    def under_way(self) -> int:
        """Publications that are taken just now."""
        return len(self._tasks)

    async def run(self) -> None:
        """Stay connected as long as the hub runs; a connection that ends is followed by another."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._connection()
            except (_Lost, OSError, ValueError, FhirError) as error:
                self.counts["losses"] += 1
                why = str(error) if isinstance(error, _Lost | FhirError) else type(error).__name__
                log.warning("mqtt %s: the connection ended: %s", self.label, why)
            if loop.time() - began > STEADY_S:
                self._failures = 0
            wait_s = min(FIRST_WAIT_S * 2 ** min(self._failures, 20), LONGEST_WAIT_S)
            self._failures += 1
            await asyncio.sleep(wait_s * (0.75 + self._jitter() / 2))

    async def _connection(self) -> None:
        """Connect, and take what comes until the connection ends; raise why it did."""
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[str] = loop.create_future()
        ended: asyncio.Future[str] = loop.create_future()
        client = self._client(loop, begun, ended)
        host, port = self._broker.address
        try:
            await asyncio.to_thread(
                partial(client.connect, host, port, KEEPALIVE_S, clean_start=False, properties=_lasting())
            )
            client.loop_start()
            await asyncio.wait({begun, ended}, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
            if not (begun.done() or ended.done()):
                raise _Lost("the broker did not answer")
            raise _Lost(await ended)
        finally:
            self.is_connected = False
            _end_with(ended, "the hub closes it")
            await self._end(client)

    def _client(
        self, loop: asyncio.AbstractEventLoop, begun: asyncio.Future[str], ended: asyncio.Future[str]
    ) -> Client:
        """Return the library's client, whose thread hands all it hears to the loop."""
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._broker.client + (f"-{self.name}" if self.name else ""),
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password())
        if (context := self._broker.tls()) is not None:
            client.tls_set_context(context)

        def tell(function: Callable[..., None], *values: Any) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(function, *values)

        def connected(_: Any, __: Any, flags: Any, code: Any, properties: Any) -> None:
            if code.value >= _FAILURE:
                tell(_end_with, ended, f"the broker refused: {code.getName()}")
            else:
                tell(self._greet, flags.session_present, getattr(properties, "SessionExpiryInterval", SESSION_S))
                client.subscribe([(name, _options()) for name in self._filters])

        def subscribed(_: Any, __: Any, ___: Any, codes: Any, ____: Any) -> None:
            refused = [code for code in codes if code.value >= _FAILURE]
            if refused:
                tell(_end_with, ended, f"a subscription was refused: {refused[0].getName()}")
            else:
                tell(self._begin, begun, ended)

        def disconnected(_: Any, __: Any, ___: Any, code: Any, ____: Any) -> None:
            tell(_end_with, ended, code.getName())

        def received(_: Any, __: Any, message: Any) -> None:
            tell(self._receive, client, ended, message.mid, message.qos, _publication(message))

        client.on_connect, client.on_subscribe = connected, subscribed
        client.on_disconnect, client.on_message = disconnected, received
        return client

    def _greet(self, was_kept: bool, lasting_s: int) -> None:
        """Say where the broker does not keep what comes while the hub is away."""
        if self.counts["connects"] and not was_kept:
            self.counts["forgotten"] += 1
            log.warning("mqtt %s: the broker had forgotten the session, and what came meanwhile with it", self.label)
        if lasting_s < SESSION_S:
            log.warning("mqtt %s: the broker keeps the session for %d seconds only", self.label, lasting_s)

    def _begin(self, begun: asyncio.Future[str], ended: asyncio.Future[str]) -> None:
        if ended.done() or begun.done():
            return
        begun.set_result("")
        self.is_connected = True
        self.counts["connects"] += 1
        log.info("mqtt %s: connected", self.label)

    def _receive(self, client: Any, ended: asyncio.Future[str], mid: int, qos: int, publication: Publication) -> None:
        """Begin to take a publication, after those of the same device that came before."""
        if ended.done():
            return  # it was not acknowledged: it comes again
        self.counts["received"] += 1
        self.counts["copies"] += publication.is_copy
        if not qos:
            self.counts["unconfirmed"] += 1
            if len(self._tasks) >= MAX_UNCONFIRMED:
                self.counts["refused"] += 1
                return
        topic = read_topic(publication.topic)
        lane = topic.lane if topic else publication.topic
        ticket = _Ticket(mid, qos)
        if qos:
            self._tickets.append(ticket)
        task = asyncio.get_running_loop().create_task(
            self._handle(client, ended, ticket, publication, self._lanes.get(lane))
        )
        self._lanes[lane] = task
        self._tasks.add(task)
        task.add_done_callback(partial(self._forget, lane))

    def _forget(self, lane: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._lanes.get(lane) is task:
            del self._lanes[lane]

    async def _handle(
        self,
        client: Client,
        ended: asyncio.Future[str],
        ticket: _Ticket,
        publication: Publication,
        before: asyncio.Task[None] | None,
    ) -> None:
        if before is not None:
            await asyncio.wait({before})
        if ended.done():
            return  # one before it was not stored: order is kept by taking both again
        try:
            await self._take(publication)
        except FhirError as error:
            _end_with(ended, f"the store did not take a publication: {error.code}")
            return
        except Exception as error:  # a supervisor: what was not stored is not acknowledged, and comes again
            _end_with(ended, f"a publication could not be kept: {type(error).__name__}")
            return
        ticket.is_done = True
        self._acknowledge(client)

    def _acknowledge(self, client: Client) -> None:
        """Send PUBACK for what is stored, in the order in which it came (MQTT-4.6.0-2)."""
        while self._tickets and self._tickets[0].is_done:
            ticket = self._tickets.popleft()
            client.ack(ticket.mid, ticket.qos)
            self.counts["acknowledged"] += 1
            self._failures = 0

    async def _end(self, client: Client) -> None:
        """Let what is under way end, acknowledge it where that is still possible, and close the connection."""
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=DRAIN_S)
        finally:
            for task in self._tasks:
                task.cancel()
            self._tickets.clear()
            client.disconnect()
            await asyncio.shield(asyncio.to_thread(client.loop_stop))
            # The callbacks hold the client: without them it, and its sockets, go at once.
            client.on_connect = client.on_subscribe = client.on_disconnect = client.on_message = None


def _end_with(ended: asyncio.Future[str], why: str) -> None:
    if not ended.done():
        ended.set_result(why)


def _publication(message: Any) -> Publication:
    """Return what the library received; a topic that is no text is no topic of devices."""
    try:
        topic = message.topic
    except UnicodeDecodeError:
        topic = ""
    media_type = getattr(message.properties, "ContentType", "")
    return Publication(topic, bytes(message.payload), media_type, bool(message.dup), bool(message.retain))


def _lasting() -> Properties:
    """Return the properties of CONNECT: a session that lasts, and how much may be under way."""
    made = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    made.SessionExpiryInterval = SESSION_S
    made.ReceiveMaximum = RECEIVE_MAXIMUM
    made.MaximumPacketSize = MAX_PACKET
    return made


def _options() -> SubscribeOptions:

    return SubscribeOptions(qos=1)
