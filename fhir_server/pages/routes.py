"""The core's own pages: start, sign in and out, language, administration, static files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from fhir_server.errors import Forbidden, NotFound
from fhir_server.model import Actor
from fhir_server.pages import language, session
from fhir_server.pages.pages import Pages

STATIC_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",  # the address carries the content's hash
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",  # an SVG opened by itself
}


@dataclass(frozen=True, slots=True)
class Address:
    """One way into the hub, shown on the start page."""

    french: str
    english: str
    address: str  # url or host:port
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class Overview:
    """What the operator sees on /admin."""

    version: str
    store: str  # which engine; no path, no credentials
    started: int  # microseconds since 1970
    counts: Sequence[tuple[str, int]]  # (resource type, how many current ones)
    open_alerts: int | None  # None where no room counts alerts
    facts: Sequence[tuple[str, str, str]] = ()  # further lines: (French, English, value)


def core_pages(
    pages: Pages, *, overview: Callable[[Actor], Awaitable[Overview]], addresses: Sequence[Address]
) -> APIRouter:
    """Return the routes of the core's pages.

    Args:
        pages: What all pages share.
        overview: Asked on each visit of /admin, by an operator only.
        addresses: Shown on the start page, in this order.
    """
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get("/")
    async def start(request: Request) -> Response:
        actor = await pages.visitor(request)
        return pages.render(request, "start.html", actor=actor, addresses=addresses)

    @router.get("/admin")
    async def admin(request: Request) -> Response:
        actor = await pages.actor(request)
        if not actor.is_operator:
            raise Forbidden("Only the operator sees this page.")
        return pages.render(request, "admin.html", actor=actor, overview=await overview(actor))

    @router.get("/language/{name}")
    async def switch(request: Request, name: str) -> Response:
        if name not in language.LANGUAGES:
            raise NotFound("There is no such language here.")
        answer = pages.redirect(request.query_params.get("next", "/"))
        session.keep(answer, session.LANGUAGE, name, secure=pages.secure, max_age=session.YEAR_S)
        return answer

    @router.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in pages.static:
            raise NotFound("There is no such file.")
        body, media_type = pages.static[name]
        return Response(body, media_type=media_type, headers=STATIC_HEADERS)

    @router.get("/favicon.ico")
    async def favicon() -> Response:
        return await static("favicon.svg")

    _sign_in(router, pages)
    return router


def _sign_in(router: APIRouter, pages: Pages) -> None:
    """Add /login and /logout."""

    def form_page(request: Request, following: str, problem: str = "") -> Response:
        visit = session.visit(request) or pages.random(16).hex()
        answer = pages.render(
            request,
            "login.html",
            actor=None,
            status=401 if problem else 200,
            csrf=pages.csrf(request) or pages.csrf(request, visit),
            following=following,
            problem=problem,
        )
        session.keep(answer, session.VISIT, visit, secure=pages.secure)
        return answer

    @router.get("/login")
    async def login(request: Request) -> Response:
        return form_page(request, session.local(request.query_params.get("next", "/")))

    @router.post("/login")
    async def sign_in(request: Request) -> Response:
        form = await pages.form(request)
        following = session.local(form.get("next", "/"))
        token = form.get("token", "").strip()
        if not token:
            return form_page(request, following, "missing")
        if not session.is_token(token):
            return form_page(request, following, "refused")
        try:
            await pages.authenticate(f"Bearer {token}")
        except session.SignInNeeded:
            return form_page(request, following, "refused")
        answer = pages.redirect(following)
        session.keep(answer, session.SESSION, token, secure=pages.secure)
        session.drop(answer, session.VISIT, secure=pages.secure)
        return answer

    @router.post("/logout")
    async def sign_out(request: Request) -> Response:
        await pages.form(request)
        answer = pages.redirect("/login")
        session.drop(answer, session.SESSION, secure=pages.secure)
        return answer
