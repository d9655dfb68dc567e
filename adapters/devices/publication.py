"""What becomes of one MQTT publication: stored, known already, or kept aside with a reason; never lost, never again.

`take` returns once that is committed, and only then the publication is acknowledged. It raises where the store cannot
answer: then the publication is not acknowledged, and the broker brings it again.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections import Counter
from typing import Any, Final, NamedTuple

from adapters.devices import presence, reason
from adapters.devices.arrival import arrival_key, first_arrival, seen_arrival
from adapters.devices.format import Given, read_format
from adapters.devices.intake import Intake
from adapters.devices.message import REFERENCE, Message, Received
from adapters.devices.quarantine import keep
from adapters.devices.reading import DeviceName
from adapters.devices.reason import Reason
from adapters.devices.topic import STATUS, Topic, read_topic
from fhir_server.errors import FhirError, UnsupportedMediaType
from fhir_server.interface import Core, Writing

MAX_PAYLOAD: Final = 262_144  # bytes
TOPIC: Final = "urn:predmp:devices:topic"
"""Identifier system under which payloads that name no device are kept aside: the value is the topic's device."""

ACTOR: Final = "adapters.devices.mqtt"

log = logging.getLogger("predmp.devices")


class Publication(NamedTuple):
    """One message of a broker."""

    topic: str
    payload: bytes
    media_type: str = ""  # its Content Type property
    is_copy: bool = False  # whether the broker says that it may have come before
    is_retained: bool = False  # whether the broker had kept it for who subscribes: nobody knows since when


class Publications:
    """Takes publications.

    Args:
        core: The door.
        intake: What takes readings.
    """

    def __init__(self, core: Core, intake: Intake) -> None:
        self._core, self._intake = core, intake
        self.counts: Counter[tuple[str, str]] = Counter()  # (kind of topic, outcome) -> publications

    async def take(self, publication: Publication) -> None:
        """Take one publication; returns after the commit.

        Raises:
            FhirError: The store cannot answer now, or too much is under way: nothing may be acknowledged.
        """
        topic = read_topic(publication.topic)
        try:
            outcome = await self._settle(publication, topic)
        except FhirError as error:
            if error.status >= 500 or error.status == 429:
                raise
            log.error("a publication on %s was refused: %s", topic.kind if topic else "an unknown topic", error.code)
            outcome = await self._keep(publication, topic, reason.REFUSED, error.code)
        except Exception as error:  # a supervisor: one payload that breaks a reader must not come for ever
            log.error("a publication was not read: %s", type(error).__name__)
            outcome = await self._keep(publication, topic, reason.PAYLOAD_MALFORMED, type(error).__name__)
        self.counts[topic.kind if topic else "unknown", outcome] += 1

    async def _settle(self, publication: Publication, topic: Topic | None) -> str:
        if topic is None or topic.tenant not in self._core.tenants():
            return await self._keep(publication, None, reason.TOPIC_UNKNOWN, "")
        if len(publication.payload) > MAX_PAYLOAD:
            return await self._keep(publication, topic, reason.PAYLOAD_TOO_LARGE, "")
        if topic.kind == STATUS:
            return await self._take_status(publication, topic)
        if not publication.payload:
            return presence.CLEARED  # so a gateway takes back what the broker retained
        try:
            given = await self._read(publication, topic)
        except UnsupportedMediaType:
            return await self._keep(publication, topic, reason.FORMAT_UNKNOWN, "")
        except FhirError as error:
            if error.status >= 500 or error.status == 429:
                raise
            return await self._keep(publication, topic, reason.PAYLOAD_MALFORMED, error.text)
        if given is None:
            return await self._keep(publication, topic, reason.RETAINED, "")
        messages = [placed(message, topic)._replace(is_retained=publication.is_retained) for message in given.messages]
        actor = self._core.internal(topic.tenant, ACTOR)
        results = await self._intake.take_all(messages, actor=actor, source="mqtt")
        statuses = {result.status for of_device in results for result in of_device}
        if "refused" in statuses:
            log.error("a publication on %s has readings that are unfit, and there is no room to keep them", topic.kind)
        return next(status for status in ("refused", "quarantined", "stored", "duplicate") if status in statuses)

    async def _read(self, publication: Publication, topic: Topic) -> Given | None:
        """Read the payload; relative times of a copy are counted from when it came first, None: that is not known."""
        payload, media_type = publication.payload, publication.media_type
        given = read_format(media_type, payload, now=self._core.now(), base=self._core.base_url)
        if not given.is_relative:
            return given
        key = arrival_key("mqtt", publication.topic, hashlib.sha256(payload).hexdigest())
        if publication.is_retained:
            came = await seen_arrival(self._core, topic.tenant, key)
            return None if came is None else read_format(media_type, payload, now=came)
        first = await first_arrival(self._core, topic.tenant, key, is_copy=publication.is_copy)
        return read_format(media_type, payload, now=first)

    async def _take_status(self, publication: Publication, topic: Topic) -> str:
        state = presence.read_state(publication.payload)
        if state is None:
            return await self._keep(publication, topic, reason.PAYLOAD_MALFORMED, "neither online nor offline")
        await presence.note(self._core, topic, state, room=ACTOR)
        return state

    async def _keep(self, publication: Publication, topic: Topic | None, why: Reason, detail: str) -> str:
        """Keep a payload aside as it came."""
        tenant = topic.tenant if topic else self._core.tenants()[0]
        name = DeviceName(TOPIC, topic.device if topic else publication.topic[:256])

        async def work(writing: Writing) -> bool:
            return await keep(writing, name, raw_of(publication), why, sender=ACTOR, detail=detail)

        if await self._core.transact(tenant, work):
            return "quarantined"
        log.error("a publication was unfit (%s), and there is no room to keep it", why.code)
        return "refused"


def placed(message: Message, topic: Topic) -> Message:
    """Return a message with its gateway; its readings stay aside where it names another device than its topic does."""
    names = [(message.device.value, topic.device)]
    is_named = message.gateway is not None and message.gateway.system != REFERENCE
    names += [(message.gateway.value, topic.gateway)] if message.gateway and is_named else []
    gateway = message.gateway or DeviceName(presence.GATEWAY, topic.gateway)
    if all(said == way for said, way in names):
        return message._replace(gateway=gateway)
    aside = tuple(Received(item.raw, reason.IDENTITY_MISMATCH) for item in message.readings)
    return message._replace(readings=aside, gateway=gateway)


def raw_of(publication: Publication) -> dict[str, Any]:
    """Return what is kept of a payload: as text where it is one; of one that is too long only what it was."""
    made: dict[str, Any] = {"topic": publication.topic[:1_024], "type": publication.media_type[:128]}
    payload = publication.payload
    if len(payload) > MAX_PAYLOAD:
        return made | {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
    try:
        text = payload.decode("utf-8")
        if "\x00" not in text:
            return made | {"payload": text}
    except UnicodeDecodeError:
        log.debug("a payload is no text: it is kept as base64")
    return made | {"payload64": base64.b64encode(payload).decode("ascii")}
