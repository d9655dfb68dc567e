"""Subscriptions matched inside the transaction of the write that they are about.

Each match is a durable row of the outbox in that transaction, numbered without gaps per subscription,
so nothing is missed and nothing is told that was not committed.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/subscription.html
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from fhir_server.errors import BadParameter, TooCostly, UnknownParameter, Unprocessable
from fhir_server.interactions.asking import split_query
from fhir_server.interactions.core import Hub
from fhir_server.interface import Asking, Erasure
from fhir_server.model import Actor, Change, Record, Resource, Scope
from fhir_server.search.parameters import parameter
from fhir_server.search.query import Ask, Match
from fhir_server.search.values import Token
from fhir_server.store.protocol import Transaction

log = logging.getLogger("predmp")

SUBSCRIPTION = "subscription"  # record: one for each Subscription, key its id, state its status, state its status
EVENT = "outbox"  # record: one for each event to deliver, key "id/number", lane the id
PAYLOADS = frozenset({"", "application/fhir+json", "application/json"})
WATCHING = ("requested", "active")  # events count from the moment a subscription is asked for
ACTIVATOR = "subscriptions"  # who the hub is when it makes a subscription active: not its author
MOST_HEADERS = 20
MOST_WATCHERS = 1_000  # active subscriptions of a tenant
MOST_NEWS = 10_000  # versions that are remembered until they are committed; those of undone transactions stay


class Watcher(msgspec.Struct):
    """An active Subscription as the matcher keeps it."""

    criteria: str
    endpoint: str
    payload: str
    headers: list[str]
    tenant: str
    subject: str
    scopes: list[tuple[str, str, str, str]]
    reference: str
    patient: str
    purpose: str
    events: int = 0  # how many there were; the number of the newest

    @property
    def actor(self) -> Actor:
        """Who made the subscription: what they may see at delivery is what is delivered."""
        scopes = tuple(Scope(*scope) for scope in self.scopes)
        return Actor(self.tenant, self.subject, scopes, self.reference, self.patient, self.purpose)


class Event(msgspec.Struct):
    """One thing to tell."""

    subscription: str
    number: int
    type: str
    id: str
    version: int
    attempts: int = 0
    next_at: int = 0  # microseconds since 1970


def tells_of(record: Record, erasure: Erasure) -> bool:
    """Whether an event is about a resource that is erased (`interface.Eraser`)."""
    event = msgspec.json.decode(record.body, type=Event)
    return f"{event.type}/{event.id}" in erasure.references


def check_subscription(resource: Resource, check_endpoint: Callable[[str], None], types: frozenset[str]) -> None:
    """Raise Unprocessable unless this server can serve the subscription."""
    channel = resource.get("channel", {})
    if channel.get("type") != "rest-hook":
        raise Unprocessable(
            "The channel is none that this server has: rest-hook.", expression="Subscription.channel.type"
        )
    if channel.get("payload", "").partition(";")[0] not in PAYLOADS:
        raise Unprocessable("The payload is application/fhir+json, or none.", expression="Subscription.channel.payload")
    headers = channel.get("header", [])
    if len(headers) > MOST_HEADERS or any(not is_header(line) for line in headers):
        raise Unprocessable("A header reads Name: value.", expression="Subscription.channel.header")
    if resource.get("criteria", "").partition("?")[0] not in types:
        raise Unprocessable("The criteria name no resource type.", expression="Subscription.criteria")
    check_endpoint(channel.get("endpoint", ""))


def is_header(line: str | None) -> bool:
    """Whether a text is one header line that may be sent; None is one that has extensions alone."""
    if line is None:
        return False
    name, colon, value = line.partition(":")
    known = name.strip().lower()
    return (
        bool(colon)
        and known.replace("-", "").isalnum()
        and known.isascii()
        and value.isprintable()
        and known not in ("host", "content-length", "transfer-encoding", "connection")
    )


class Matching:
    """Keeps watchers with their Subscriptions and numbers their events."""

    def __init__(self, hub: Hub, check_endpoint: Callable[[str], None]) -> None:
        self._hub, self._check_endpoint = hub, check_endpoint
        self._news: set[tuple[str, str, str, int]] = set()  # tenant and version: what events are about, not told yet
        self._types: dict[str, tuple[int, frozenset[str]]] = {}  # tenant -> (epoch, types that some watcher names)

    async def check(self, asking: Asking, change: Change, actor: Actor) -> None:
        """Refuse a Subscription that cannot be served (`interface.Check`)."""
        resource = change.resource
        if change.version.is_deleted or resource.get("status") not in ("requested", "active"):
            return
        check_subscription(resource, self._check_endpoint, self._hub.types)
        type, pairs = split_query(resource["criteria"])
        self._hub.query(type, pairs)
        # Asked of a resource that is not there, the criteria cost nothing, and a value set that is unknown is refused.
        await asking.find(f"{resource['criteria']}{'&' if pairs else '?'}_id=-")
        if not (actor.may("r", type) or actor.may("s", type)):
            raise Unprocessable("The token's scopes do not reach the criteria.", expression="Subscription.criteria")

    async def match(self, tx: Transaction, changes: Sequence[Change], actor: Actor) -> None:
        """Keep watchers, and put an event into the outbox for each watcher that a change concerns."""
        for change in changes:
            if change.version.type == "Subscription":
                await self._keep(tx, change, actor)
        if not await self._may_concern(tx, changes):
            return
        for record in await _watching(tx):
            watcher = msgspec.json.decode(record.body, type=Watcher)
            before = watcher.events
            for change in changes:
                if not change.version.is_deleted and await self._concerns(tx, record.key, watcher, change):
                    watcher.events += 1
                    await self._emit(tx, record.key, watcher.events, change)
            if watcher.events != before:
                await tx.put_record(SUBSCRIPTION, record.key, record.state, msgspec.json.encode(watcher))

    def has_news(self, tenant: str, changes: Sequence[Change]) -> bool:
        """Whether there are events about changes that are committed; it is asked once about each.

        An event that another transaction has put into the outbox is no news until that one is committed: who looked
        now would not find it, and would not be woken again.
        """
        if not self._news:
            return False
        told = {(tenant, c.version.type, c.version.id, c.version.version) for c in changes} & self._news
        self._news -= told
        if len(self._news) > MOST_NEWS:
            self._news.clear()
            return True
        return bool(told)

    async def _may_concern(self, tx: Transaction, changes: Sequence[Change]) -> bool:
        """Whether a watcher names the type of a change; known from before while no Subscription was written."""
        written = {change.version.type for change in changes}
        epoch = await tx.epoch()
        known = self._types.get(tx.tenant)
        if known is None or known[0] != epoch or "Subscription" in written:
            watchers = [msgspec.json.decode(record.body, type=Watcher) for record in await _watching(tx)]
            known = (epoch, frozenset(watcher.criteria.partition("?")[0] for watcher in watchers))
            if "Subscription" not in written:
                self._types[tx.tenant] = known
        return not known[1].isdisjoint(written)

    async def _keep(self, tx: Transaction, change: Change, actor: Actor) -> None:
        resource, id = change.resource, change.version.id
        known = await tx.record(SUBSCRIPTION, id)
        status = "off" if change.version.is_deleted else resource.get("status", "")
        if status not in WATCHING:
            if known is not None:
                await tx.put_record(SUBSCRIPTION, id, "off", known.body)
            return
        if known is not None and actor.subject == ACTIVATOR:
            await tx.put_record(SUBSCRIPTION, id, status, known.body)
            return
        channel = resource["channel"]
        watcher = Watcher(
            criteria=resource["criteria"],
            endpoint=channel["endpoint"],
            payload=channel.get("payload", ""),
            headers=list(channel.get("header", [])),
            tenant=actor.tenant,
            subject=actor.subject,
            scopes=[(s.context, s.type, s.actions, s.query) for s in actor.scopes],
            reference=actor.reference,
            patient=actor.patient,
            purpose=actor.purpose,
        )
        if known is not None:
            watcher.events = msgspec.json.decode(known.body, type=Watcher).events
        await tx.put_record(SUBSCRIPTION, id, status, msgspec.json.encode(watcher))

    async def _concerns(self, tx: Transaction, id: str, watcher: Watcher, change: Change) -> bool:
        """Whether the new version matches the criteria, for who made the subscription.

        The version is indexed by every parameter that is defined, by those too that do not answer searches yet.
        """
        type, pairs = split_query(watcher.criteria)
        if type != change.version.type:
            return False
        itself = parameter(type, "_id")
        assert itself is not None
        try:
            criteria = self._hub.query_written(type, pairs).where
        except UnknownParameter:  # it was defined, and was removed since; what is written is written all the same
            log.warning("the criteria of Subscription/%s name a search parameter that is not defined any more", id)
            return False
        where = (Match(itself, (Ask(Token(None, change.version.id)),)), *criteria)
        see = await self._hub.sight.of(tx, watcher.actor)
        try:
            return await tx.count((type,), where, see=see) > 0
        except (BadParameter, TooCostly):  # its value set was removed, or grew; others' writes must not fail for it
            log.warning("the criteria of Subscription/%s name a value set or hierarchy that cannot be read", id)
            return False

    async def _emit(self, tx: Transaction, id: str, number: int, change: Change) -> None:
        version = change.version
        self._news.add((tx.tenant, version.type, version.id, version.version))
        event = Event(id, number, version.type, version.id, version.version)
        await tx.put_record(EVENT, f"{id}/{number:012d}", "pending", msgspec.json.encode(event), lane=id)


async def _watching(tx: Transaction) -> list[Record]:
    records = await tx.records(SUBSCRIPTION, limit=MOST_WATCHERS)
    return [record for record in records if record.state in WATCHING]
