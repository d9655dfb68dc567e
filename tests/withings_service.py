"""A vendor's service for tests: a real HTTP server in the shape of Withings' interface, that can be down."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest

from tests.running import RunningHub
from tests.telemetry import Bedside


class WithingsService:
    """One service; a context manager.

    `groups` are the measure groups it gives by user, `tokens` the access tokens that hold, with their user; what it
    was asked stands in `asked`. While `is_down` it answers 503.
    """

    def __init__(self) -> None:
        self.groups: dict[str, list[dict[str, Any]]] = {}
        self.tokens: dict[str, str] = {}
        self.refreshes: dict[str, tuple[str, str]] = {}  # refresh token -> (access token that it gives, next one)
        self.asked: list[dict[str, str]] = []
        self.is_down = False
        self.page = 1_000
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                form = dict(parse_qsl(body.decode()))
                with service._lock:
                    status, answer = service._answer(form, self.headers.get("Authorization", ""))
                sent = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> WithingsService:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        self.asked.append(form)
        if self.is_down:
            return 503, {}
        if form["action"] == "requesttoken":
            access, following = self.refreshes.pop(form["refresh_token"], ("", ""))
            if not access:
                return 200, {"status": 503, "body": {}}
            return 200, {
                "status": 0,
                "body": {"access_token": access, "refresh_token": following, "expires_in": 10_800},
            }
        user = self.tokens.get(authorization.removeprefix("Bearer "))
        if user is None:
            return 200, {"status": 401, "body": {}, "error": "invalid_token"}
        found = [group for group in self.groups.get(user, []) if _is_asked_for(group, form)]
        start = int(form.get("offset", "0"))
        held: dict[str, Any] = {
            "updatetime": 1,
            "timezone": "Europe/Paris",
            "measuregrps": found[start : start + self.page],
        }
        if start + self.page < len(found):
            held |= {"more": 1, "offset": start + self.page}
        return 200, {"status": 0, "body": held}


def _is_asked_for(group: dict[str, Any], form: dict[str, str]) -> bool:
    if "lastupdate" in form:
        return int(group.get("modified", group["date"])) >= int(form["lastupdate"])
    return int(form["startdate"]) <= int(group["date"]) <= int(form["enddate"])


def group(id: int, date: int, *measures: tuple[int, int, int], **odd: Any) -> dict[str, Any]:
    """Return a group of measures: (type, value, power of ten) each."""
    return {
        "grpid": id,
        "attrib": 0,
        "date": date,
        "category": 1,
        "deviceid": "d0",
        "measures": [{"type": type, "value": value, "unit": unit} for type, value, unit in measures],
        **odd,
    }


SECRET = "a secret of the vendor's"
DATE = 1_795_000_000  # seconds since 1970, in November 2026


class Vendor:
    """A vendor's service with a hub that it calls, and one linked account."""

    def __init__(self, hub: RunningHub, service: WithingsService, name: str = "withings") -> None:
        self.hub, self.service, self.name = hub, service, name
        self.user = uuid.uuid4().hex[:12]
        service.tokens[f"token-{self.user}"] = self.user
        self.bed = Bedside(hub, system=f"urn:predmp:devices:account:{name}", value=self.user)

    def link(self, access: str = "", **more: str | int) -> None:
        body = {"vendor": self.name, "user": self.user, "access_token": access or f"token-{self.user}", **more}
        answer = self.hub.request("POST", "/devices/accounts", json=body)
        assert answer.status_code == 204, answer.text

    def notify(self, *, secret: str = SECRET, at: int = 0, tamper: bytes = b"", **fields: object) -> httpx.Response:
        """Send a signed notification, of the moment of the measurement unless it says otherwise."""
        said = {"userid": self.user, "appli": 1, "startdate": DATE, "enddate": DATE + 60, **fields}
        body, timestamp = urlencode(said).encode(), str(at or int(time.time()))
        made = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": f"sha256={made}"}
        return self.hub.http.post(
            f"/devices/webhooks/{self.name}",
            content=body + tamper,
            headers={**headers, "Content-Type": "application/x-www-form-urlencoded"},
        )


@pytest.fixture(scope="module")
def service() -> Iterator[WithingsService]:
    """A vendor's service that runs."""
    with WithingsService() as running:
        yield running


@pytest.fixture
def vendor(called: RunningHub, service: WithingsService) -> Vendor:
    """A new user's account; `called` is the module's hub that the vendor calls."""
    return Vendor(called, service)
