"""Who is signed in to the pages: the cookies, the CSRF token, and where to go after signing in.

The session cookie holds the access token itself, so that every worker and every restart knows it; it is
HttpOnly and SameSite=Strict. Source for both: https://www.rfc-editor.org/rfc/rfc6265 and
https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis
"""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from fhir_server.errors import Unauthorized

SESSION = "predmp_session"  # the access token
VISIT = "predmp_visit"  # random, given by the sign-in page: what its own form is bound to
LANGUAGE = "predmp_language"  # fr or en
YEAR_S = 365 * 24 * 3600

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,3500}")  # RFC 6750 b64token; a cookie holds 4,096 bytes
_VISIT = re.compile(r"[0-9a-f]{32}")
_LOCAL = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")  # no //host, no backslash, no control character


class SignInNeeded(Unauthorized):
    """A page needs to know who asks; it becomes a redirect to /login."""

    def __init__(self) -> None:
        super().__init__("Sign in first.")


def token(request: Request) -> str:
    """Return the access token of the session cookie, "" where there is none."""
    value = request.cookies.get(SESSION, "")
    return value if _TOKEN.fullmatch(value) else ""


def is_token(value: str) -> bool:
    """Whether a text has the form of an access token that fits into a cookie."""
    return bool(_TOKEN.fullmatch(value))


def visit(request: Request) -> str:
    """Return the random text of the visit cookie, "" where there is none."""
    value = request.cookies.get(VISIT, "")
    return value if _VISIT.fullmatch(value) else ""


def bearer(request: Request) -> str:
    """Return the Authorization header where it carries a bearer token, else ""."""
    value = request.headers.get("authorization", "")
    return value if value[:7].lower() == "bearer " else ""


def csrf(key: bytes, bound_to: str) -> str:
    """Return the token that forms of one session post; only who has the session's page can know it."""
    return hmac.new(key, b"csrf\x00" + bound_to.encode(), hashlib.sha256).hexdigest()


def is_csrf(key: bytes, bound_to: str, given: str) -> bool:
    """Compare in constant time; nothing to be bound to means no."""
    return bool(bound_to) and hmac.compare_digest(csrf(key, bound_to).encode(), given.encode())


def local(path: str) -> str:
    """Return `path` where it leads to a page of this hub, else "/": no redirect leads elsewhere."""
    return path if len(path) <= 2000 and _LOCAL.fullmatch(path) else "/"


def here(request: Request) -> str:
    """Return the path and query of a request."""
    path: str = request.scope["path"]
    query = request.scope.get("query_string", b"").decode("ascii", "replace")
    return path + ("?" + query if query else "")


def to_sign_in(request: Request) -> str:
    """Return the address of the sign-in page, with where to go back to.

    A posted form is not sent again: one comes back to the page that its path starts with.
    """
    back = here(request)
    if request.method not in ("GET", "HEAD"):
        back = "/" + back.split("?")[0].split("/")[1]
    return "/login?next=" + quote(local(back), safe="/")


def keep(response: Response, name: str, value: str, *, secure: bool, max_age: int | None = None) -> None:
    """Set a cookie that scripts and other sites cannot use."""
    response.set_cookie(name, value, max_age=max_age, path="/", secure=secure, httponly=True, samesite="strict")


def drop(response: Response, name: str, *, secure: bool) -> None:
    """Take a cookie back."""
    response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")
