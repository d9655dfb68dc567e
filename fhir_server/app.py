"""The composition root: settings -> store -> core -> rooms -> one ASGI application and its tasks.

Rooms are loaded by the dotted names that the settings give; one that is missing fails the start.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from fhir_server.definitions import resource_types
from fhir_server.errors import BadRequest, FhirError, MethodNotAllowed, NotFound
from fhir_server.http import asynchronous
from fhir_server.http.asgi import FhirApp, failure, where
from fhir_server.http.capability import capability_statement
from fhir_server.http.metadata import Metadata
from fhir_server.http.metrics import Metrics
from fhir_server.http.openapi import add_fhir, by_tag
from fhir_server.indexing import room as indexing
from fhir_server.indexing.definitions import Definitions
from fhir_server.interactions.apply import Applier, Parts
from fhir_server.interactions.core import Hub
from fhir_server.interactions.cursor import Cursors
from fhir_server.interactions.ids import new_id
from fhir_server.interactions.instant import system_clock
from fhir_server.interactions.sight import Sight
from fhir_server.interactions.steps import MOST_DELETED
from fhir_server.interface import Room
from fhir_server.jobs import room as jobs
from fhir_server.model import Actor
from fhir_server.operations import room as operations
from fhir_server.operations.terminology_capabilities import terminology_capabilities
from fhir_server.outcome import to_outcome
from fhir_server.overview import addresses, overview
from fhir_server.pages.pages import Pages
from fhir_server.pages.routes import core_pages
from fhir_server.pages.session import SignInNeeded
from fhir_server.profiles import Judge, Library, Policy, read_required
from fhir_server.search.clauses import Registry
from fhir_server.search.extract import Indexer
from fhir_server.search.parse import parse
from fhir_server.search.registry import SearchParameters
from fhir_server.security.scopes import ALL
from fhir_server.security.tokens import Tokens
from fhir_server.settings import Settings, SettingsError
from fhir_server.store.choice import check_there, open_store
from fhir_server.store.copying import check_whole
from fhir_server.store.protocol import Store
from fhir_server.subscriptions import room as subscriptions
from fhir_server.terminology import WATCHED as TERMINOLOGY
from fhir_server.validation import validate

log = logging.getLogger("predmp")

FHIR = "/fhir"
FEEDS = ("/hl7v2", "/devices", "/livez", "/readyz", "/metrics", "/static/")
"""Paths that show nothing of patients: they need not wait for what was taken in."""

Settled = Callable[[], Awaitable[None] | None]


@dataclass(slots=True)
class Composed:
    """A hub that is put together."""

    settings: Settings
    store: Store
    hub: Hub
    tokens: Tokens
    rooms: tuple[Room, ...]
    metrics: Metrics
    asgi: Callable[..., Awaitable[None]]

    @property
    def starts(self) -> list[Callable[[], Awaitable[None]]]:
        """What runs before the hub says ready."""
        return [start for room in self.rooms for start in room.starts]

    @property
    def stops(self) -> list[Callable[[], Awaitable[None]]]:
        """What runs at the end."""
        return [stop for room in reversed(self.rooms) for stop in room.stops]


def load_rooms(core: Hub, settings: Settings) -> tuple[Room, ...]:
    """Open each room that the settings name."""
    rooms = []
    for name in settings.rooms:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise SettingsError(f"the room {name} is not there: no module {error.name}") from None
        rooms.append(module.open(core, settings))
    return tuple(rooms)


async def compose(settings: Settings, store: Store, index: Indexer, registry: SearchParameters) -> Composed:
    """Put the hub together over an open store."""
    anyone = Actor(settings.tenant, "anyone", ALL) if settings.auth == "off" else None
    tokens = Tokens(await _token_key(settings, store), system_clock)

    def authenticate(authorization: str) -> Actor:
        return anyone if anyone is not None and not authorization else tokens.read(authorization)

    hub = await _core(settings, store, index, registry, authenticate)
    hub.definitions = Definitions(hub.store, settings.tenant, registry, settings.zone)
    await hub.definitions.load()
    subscribing, match = subscriptions.open(hub, settings)
    indexed = indexing.open(hub, settings)
    rooms = (subscribing, jobs.open(hub, settings), indexed, operations.open(hub, settings), *load_rooms(hub, settings))
    metadata = _metadata(hub, settings)
    for kind in asynchronous.kinds(hub, metadata.answer):
        hub.jobs.register(kind)
    _furnish(hub, settings, index, rooms, match)
    metrics = Metrics()
    for room in rooms:
        hub.pages.add_room(room.name, room.templates, room.menu)
        if room.metrics is not None:
            metrics.add_source(room.metrics)
    fhir = FhirApp(
        hub,
        authenticate=tokens.read,
        anyone=anyone,
        max_body=settings.max_body,
        max_import=settings.max_import,
        metrics=metrics,
        prefix=FHIR,
        metadata=metadata,
    )
    web = _web(settings, hub, rooms, metrics)
    settled = tuple(room.settled for room in rooms if room.settled is not None)
    return Composed(settings, store, hub, tokens, rooms, metrics, _split(fhir, web, settled))


async def _token_key(settings: Settings, store: Store) -> bytes:
    """Return the key of tokens: the store's own; in memory, where nobody else can ask for it, that of the settings."""
    if not settings.token_key:
        return await store.secret("tokens")
    if settings.store != "memory:":
        raise SettingsError("--token-key is for --store memory: only; other stores keep their own key")
    return bytes.fromhex(settings.token_key)


async def _core(
    settings: Settings,
    store: Store,
    index: Indexer,
    registry: SearchParameters,
    authenticate: Callable[[str], Actor],
) -> Hub:
    """Return the core with its pages, without what rests on rooms."""
    hub = Hub(
        store=store,
        ask=partial(_parsed, settings, registry),
        authenticate=authenticate,
        cursors=Cursors(await store.secret("cursors")),
        clock=system_clock,
        base_url=settings.root_url + FHIR,
        validate=validate,
        index=index,
        registry=registry,
        tenant=settings.tenant,
        types=resource_types(),
        update_create=settings.update_create == "on",
    )
    hub.query_written = partial(_parsed, settings, registry.written)
    hub.profiles = Judge(Library(hub.query, hub.terminology), _policy(settings))
    hub.pages = Pages(
        hub.authenticate,
        key=await store.secret("pages"),
        now=system_clock,
        zone=settings.zone,
        secure=settings.root_url.startswith("https:"),
    )
    return hub


def _policy(settings: Settings) -> Policy:
    try:
        return Policy(settings.unknown_profiles, read_required(settings.require_profiles, resource_types()))
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _furnish(hub: Hub, settings: Settings, index: Indexer, rooms: Sequence[Room], match: subscriptions.Matcher) -> None:
    """Give the core what the rooms hand in."""
    hub.checks = tuple(check for room in rooms for check in room.checks)
    hub.sight = Sight([guard for room in rooms for guard in room.guards], hub.query, system_clock)
    hub.applier = Applier(
        Parts(
            types=hub.types,
            validate=hub.validate,
            index=hub.index,
            written=index.written,
            ask=hub.query,
            sight=hub.sight,
            new_id=new_id,
            checks=hub.checks,
            enrichers=tuple(enricher for room in rooms for enricher in room.enrichers),
            watched=hub.sight.types | {"Subscription"} | TERMINOLOGY | {"StructureDefinition"},
            most_deleted=MOST_DELETED if settings.conditional_delete == "multiple" else 1,
            judge=hub.profiles.on_write,
            matchers=(hub.definitions.take, hub.profiles.note, match),
        )
    )
    hub.listeners = tuple(listener for room in rooms for listener in room.listeners)
    hub.operations = tuple(operation for room in rooms for operation in room.operations)
    hub.erasers = tuple(eraser for room in rooms for eraser in room.erasers)
    hub.calm = tuple(calm for room in rooms for calm in room.calm)


def _metadata(hub: Hub, settings: Settings) -> Metadata:
    full = partial(capability_statement, hub, settings)
    # R4's normative part is the interactions and formats; nothing is said here that is not of them.
    modes = {"full": full, "normative": full, "terminology": partial(terminology_capabilities, hub)}
    return Metadata(modes, lambda: (len(hub.operations), hub.registry.revision))


def _parsed(
    settings: Settings, registry: Registry, types: str, pairs: list[tuple[str, str]], lenient: bool = False
) -> Any:
    return parse(
        tuple(types.split(",")) if types else (),
        pairs,
        zone=settings.zone,
        registry=registry,
        base_url=settings.root_url + FHIR,
        lenient=lenient,
        now=system_clock(),
    )


def _split(fhir: FhirApp, web: FastAPI, settled: Sequence[Settled] = ()) -> Callable[..., Awaitable[None]]:
    """Return both applications as one.

    Args:
        fhir: What is under the FHIR base.
        web: All else.
        settled: Say what a request awaits to see what rooms have taken in.
    """
    below = FHIR + "/"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        is_fhir = scope["type"] == "http" and (path.startswith(below) or path == FHIR)
        if is_fhir or not path.startswith(FEEDS):
            for ask in settled:
                if (waiting := ask()) is not None:
                    await waiting
        if is_fhir:
            await fhir(scope, receive, send)
            return
        try:
            await web(scope, receive, send)
        except Exception as error:  # answered by then; the log gets its place, never its text
            log.error("a page failed: %s at %s", type(error).__name__, where(error))

    return app


def _web(settings: Settings, hub: Hub, rooms: Sequence[Room], metrics: Metrics) -> FastAPI:
    """Return the FastAPI application: pages, CDS Hooks, devices, health, metrics, documentation."""
    web = FastAPI(title="predmp", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    pages: Pages = hub.pages

    async def failed(request: Request, error: Exception) -> Response:
        if isinstance(error, SignInNeeded) or pages.is_page(request):
            return await pages.failure(request, error)
        made = failure(error, request.headers.get("x-request-id", ""))
        return Response(made.body, made.status, dict(made.headers), made.media_type)

    for kind in (FhirError, Exception):
        web.add_exception_handler(kind, failed)
    web.add_exception_handler(RequestValidationError, _invalid)
    web.add_exception_handler(SignInNeeded, failed)
    web.add_exception_handler(404, partial(_missing, pages))
    web.add_exception_handler(405, partial(_not_taken, pages))
    web.include_router(core_pages(pages, overview=partial(overview, hub, settings), addresses=addresses(settings)))
    for room in rooms:
        if room.router is not None:
            web.include_router(room.router)

    @web.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        return PlainTextResponse("ok\n")

    @web.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        healthy = bool(getattr(hub.store, "healthy", True))
        return PlainTextResponse("ready\n" if healthy else "the store does not answer\n", 200 if healthy else 503)

    @web.get("/metrics", include_in_schema=False)
    async def write_metrics() -> Response:
        return PlainTextResponse(metrics.write(), media_type="text/plain; version=0.0.4")

    @web.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        actor = await pages.visitor(request)
        return pages.render(request, "docs.html", actor=actor, groups=by_tag(web.openapi()), base=hub.base_url)

    add_fhir(web, hub)
    return web


async def _invalid(request: Request, error: Exception) -> Response:
    """Answer a body that a route cannot read, without the values that FastAPI would show."""
    status, resource = to_outcome(BadRequest("The request is not of the form that this path takes."), request_id="")
    return JSONResponse(resource, status)


async def _missing(pages: Pages, request: Request, error: Exception) -> Response:
    missing = NotFound("There is nothing at this path.")
    if pages.is_page(request):
        return await pages.failure(request, missing)
    status, resource = to_outcome(missing, request_id="")
    return JSONResponse(resource, status)


async def _not_taken(pages: Pages, request: Request, error: Exception) -> Response:
    """Answer a method that a path does not take; `Allow` says which it takes."""
    refused = MethodNotAllowed("This path does not take this method.")
    if pages.is_page(request):
        made = await pages.failure(request, refused)
    else:
        status, resource = to_outcome(refused, request_id="")
        made = JSONResponse(resource, status)
    made.headers.update(getattr(error, "headers", None) or {})
    return made


@asynccontextmanager
async def opened(settings: Settings, *, must_exist: bool = False) -> AsyncIterator[Composed]:
    """Open the store and put the hub together; for commands, which serve nothing.

    Args:
        settings: Name the store.
        must_exist: Whether a SQLite file that is not there is an error (SettingsError), and not made.
    """
    if must_exist:
        check_there(settings)
    registry = SearchParameters()
    index = Indexer(settings.zone, settings.root_url + FHIR, registry)
    store = open_store(settings, index)
    await store.open()
    try:
        await check_whole(store)
        yield await compose(settings, store, index, registry)
    finally:
        await store.close()
