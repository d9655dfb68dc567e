"""What the operator does to a store from the command line, beside a server that may run on it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from fhir_server.interactions.instant import system_clock
from fhir_server.model import Actor
from fhir_server.search.extract import Indexer
from fhir_server.security.tokens import Tokens
from fhir_server.settings import Settings, SettingsError
from fhir_server.store.choice import check_there, open_store
from fhir_server.store.protocol import Store


def _store(settings: Settings) -> Store:
    if settings.store == "memory:":
        raise SettingsError("--store memory: is another process's; name a store that both can reach")
    return open_store(settings, Indexer(settings.zone, settings.root_url + "/fhir"))


async def make_token(settings: Settings, actor: Actor, ttl_s: int) -> str:
    """Return a bearer token signed with the store's key; with that of the settings for a store in memory."""
    jti = secrets.token_hex(16)
    if settings.store == "memory:" and settings.token_key:
        return Tokens(bytes.fromhex(settings.token_key), system_clock).make(actor, ttl_s=ttl_s, jti=jti)
    store = _store(settings)
    await store.open()
    try:
        return Tokens(await store.secret("tokens"), system_clock).make(actor, ttl_s=ttl_s, jti=jti)
    finally:
        await store.close()


async def index_fault(settings: Settings) -> str:
    """Return what is wrong with the index of a store, and what mends it; "" where nothing is."""
    from fhir_server.indexing.definitions import Definitions
    from fhir_server.search.registry import SearchParameters

    store = _store(settings)
    await store.open()
    try:
        definitions = Definitions(store, settings.tenant, SearchParameters(), settings.zone)
        await definitions.load()
        if not await definitions.is_of_this_form():
            return "it was made by another release, or for another zone; predmp reindex mends it"
        if definitions.pending:
            codes = ", ".join(definition.code for definition in definitions.pending)
            return f"not every resource is indexed by {codes}; a running server or predmp reindex mends it"
        return ""
    finally:
        await store.close()


async def verify_audit(settings: Settings) -> int | None:
    """Return the first row of the audit chain that does not hold; None when all do."""
    store = _store(settings)
    await store.open()
    try:
        return await store.verify_audit()
    finally:
        await store.close()


async def with_store(settings: Settings, work: Callable[[Store], Awaitable[int]]) -> int:
    """Run work over the store that the settings name, and return its exit code; raise SettingsError for none."""
    check_there(settings)
    store = _store(settings)
    await store.open()
    try:
        return await work(store)
    finally:
        await store.close()
