"""The pages' door: who is signed in, in which language, rendered how.

Layout and rules: RGAA 4.1 (https://accessibilite.numerique.gouv.fr/); Content Security Policy:
https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import hashlib
import secrets
import zoneinfo
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fhir_server.errors import FhirError, Forbidden, Unauthorized
from fhir_server.model import Actor
from fhir_server.pages import language, session
from fhir_server.pages.form import read_form
from fhir_server.pages.message import MESSAGES

HERE = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".LICENSE": "text/plain"}


class Pages:
    """What HTML pages share (`interface.Pages`), and what the composition root needs of them.

    Args:
        authenticate: Turns the value of an Authorization header into an Actor, or raises Unauthorized.
        key: At least 16 secret bytes, the same in every worker: CSRF tokens are made with it.
        now: Microseconds since 1970, of the hub's clock.
        zone: In which moments are written.
        secure: Whether browsers reach the hub by https; cookies are then sent only there.
        default: The language of who states no preference.
        random: Gives n random bytes.
    """

    def __init__(
        self,
        authenticate: Callable[[str], Awaitable[Actor]],
        *,
        key: bytes,
        now: Callable[[], int],
        zone: str = "Europe/Paris",
        secure: bool = False,
        default: str = "fr",
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        if len(key) < 16:
            raise ValueError("the key of the pages has fewer than 16 bytes")
        self.secure = secure
        self.random = random
        self.zone = zoneinfo.ZoneInfo(zone)
        self.static = {
            file.name: (file.read_bytes(), MEDIA_TYPES[file.suffix]) for file in sorted((HERE / "static").iterdir())
        }
        self._authenticate, self._key, self._now, self._default = authenticate, key, now, default
        self._menu: list[tuple[str, str, str]] = []
        self._folders: dict[str, jinja2.BaseLoader] = {}
        self._templates = jinja2.Environment(
            loader=jinja2.ChoiceLoader(
                [jinja2.FileSystemLoader(HERE / "templates"), jinja2.PrefixLoader(self._folders)]
            ),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["static"] = self._static_path
        self._templates.filters["iso"] = lambda at: language.iso(at, self.zone)

    def add_room(self, name: str, templates: Path | None = None, menu: tuple[tuple[str, str, str], ...] = ()) -> None:
        """Take in a room's templates, found as `name/file.html`, and its menu entries (path, French, English)."""
        if templates is not None:
            self._folders[name] = jinja2.FileSystemLoader(templates)
        self._menu.extend(menu)

    @property
    def menu(self) -> tuple[tuple[str, str, str], ...]:
        """(path, French title, English title) of each page in the menu."""
        return tuple(self._menu)

    async def actor(self, request: Request) -> Actor:
        """Return who is signed in, or sent a bearer token; raise SignInNeeded."""
        token = session.token(request)
        authorization = session.bearer(request) or (f"Bearer {token}" if token else "")
        if not authorization:
            raise session.SignInNeeded
        return await self.authenticate(authorization)

    async def authenticate(self, authorization: str) -> Actor:
        """Return whom an Authorization header names; raise SignInNeeded where it holds no more."""
        try:
            return await self._authenticate(authorization)
        except Unauthorized:
            raise session.SignInNeeded from None

    async def visitor(self, request: Request) -> Actor | None:
        """Return who is signed in, None when nobody is: for pages that everybody may see."""
        try:
            return await self.actor(request)
        except session.SignInNeeded:
            return None

    def language(self, request: Request) -> str:
        """Return fr or en: the cookie of the switch, else Accept-Language, else the hub's default."""
        chosen = request.cookies.get(session.LANGUAGE, "")
        if chosen in language.LANGUAGES:
            return chosen
        return language.choose(request.headers.get("accept-language", ""), self._default)

    def csrf(self, request: Request, visit: str = "") -> str:
        """Return the token that this session's forms post as `csrf`; "" where there is no session."""
        bound_to = visit or self._bound_to(request)
        return session.csrf(self._key, bound_to) if bound_to else ""

    async def form(self, request: Request) -> Mapping[str, str]:
        """Read a posted form and check its csrf token.

        A request that carries its own Authorization header was not made by another site's page: it needs none.

        Raises:
            Forbidden: The csrf token is missing or belongs to another session.
            BadRequest, TooLarge, UnsupportedMediaType: The form cannot be read.
        """
        fields = await read_form(request)
        if not session.bearer(request) and not session.is_csrf(
            self._key, self._bound_to(request), fields.get("csrf", "")
        ):
            raise Forbidden("The form was not made by a page of this session; load the page again.")
        return fields

    def render(
        self, request: Request, template: str, *, actor: Actor | None, status: int = 200, **context: Any
    ) -> HTMLResponse:
        """Fill a template and answer it with the headers every page has.

        The context always has: language, t (a function (French, English) -> the one in the page's language),
        moment (microseconds -> words), actor, menu, csrf, path,
        here (path with query), now. A fragment for htmx is a template that
        does not extend `layout.html`.
        """
        chosen = self.language(request)
        fields = {
            "language": chosen,
            "t": (lambda french, english: french) if chosen == "fr" else (lambda french, english: english),
            "moment": lambda at: language.moment(at, chosen, self.zone),
            "actor": actor,
            "menu": self.menu,
            "csrf": self.csrf(request),
            "path": request.scope["path"],
            "here": session.here(request),
            "now": self._now(),
            **context,
        }
        headers = {**HEADERS, "Content-Language": chosen, "Vary": "Accept-Language, Cookie"}
        return HTMLResponse(self._templates.get_template(template).render(fields), status, headers)

    def redirect(self, path: str) -> RedirectResponse:
        """Answer 303 to a page of this hub: what follows a posted form."""
        return RedirectResponse(session.local(path), 303, HEADERS)

    def is_page(self, request: Request) -> bool:
        """Whether a failure of this request is shown as a page: it is an HTML route, or a browser lost its way."""
        route = request.scope.get("route")
        if isinstance(route, APIRoute):
            return not route.include_in_schema
        return route is None and "text/html" in request.headers.get("accept", "")

    async def failure(self, request: Request, error: Exception) -> Response:
        """Answer any exception as a page: SignInNeeded by a redirect, the rest with its status and plain words."""
        if isinstance(error, session.SignInNeeded):
            return self.redirect(session.to_sign_in(request))
        known = error if isinstance(error, FhirError) else FhirError("The hub failed.")
        actor = await self.visitor(request) if known.status < 500 else None
        message = MESSAGES.get(known.status, MESSAGES[500])
        details = known.text if known.status in (400, 409, 422) else ""
        reference = getattr(request.state, "request_id", "")
        answer = self.render(
            request,
            "error.html",
            actor=actor,
            status=known.status,
            message=message,
            details=details,
            reference=reference,
        )
        answer.headers.update(known.headers)
        return answer

    def _bound_to(self, request: Request) -> str:
        return session.bearer(request) or session.token(request) or session.visit(request)

    def _static_path(self, name: str) -> str:
        return f"/static/{name}?v={hashlib.sha256(self.static[name][0]).hexdigest()[:12]}"
