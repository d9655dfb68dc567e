"""The pages' frame over real HTTP: headers, signing in, forms, languages, failures."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.running import PATIENCE_S, RunningHub

pytestmark = pytest.mark.every_store

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def client(hub: RunningHub) -> Iterator[httpx.Client]:
    """A browser's cookies, nobody signed in, redirects not followed."""
    with httpx.Client(base_url=hub.http.base_url, timeout=PATIENCE_S, trust_env=False) as made:
        yield made


def csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


def sign_in(client: httpx.Client, token: str, following: str = "/admin") -> httpx.Response:
    page = client.get("/login", params={"next": following})
    return client.post("/login", data={"csrf": csrf(page.text), "next": following, "token": token})


@pytest.mark.parametrize("path", ["/", "/login", "/docs", "/nothing-here"])
def test_every_page_has_the_headers(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", answer.text)


def test_the_documentation_says_of_each_route_what_it_does(client: httpx.Client) -> None:
    text = client.get("/docs", headers={"Accept": "text/html"}).text
    effects = re.findall(r'<td lang="en">(.*?)</td>', text)
    assert "Take one HL7 v2 message or batch; answers its acknowledgement, AA once it is stored" in effects
    assert all(" " in one or one in ("Read", "Patch", "Delete", "Vread") for one in effects)
    assert not [one for one in effects if "`" in one or "Source:" in one or (one == one.title() and " " in one)]


@pytest.mark.parametrize("path", ["/admin", "/consent", "/worklist", "/records"])
def test_who_is_not_signed_in_is_led_to_sign_in_and_back(hub: RunningHub, client: httpx.Client, path: str) -> None:
    answer = client.get(path + "?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next={path}%3Fx%3D1")
    assert answer.headers["content-security-policy"] == POLICY
    following = httpx.URL(answer.headers["location"]).params["next"]
    done = sign_in(client, hub.operator, following)
    assert (done.status_code, done.headers["location"]) == (303, path + "?x=1")
    assert client.get(path).status_code == 200


def test_the_session_is_kept_from_scripts_and_other_sites(hub: RunningHub, client: httpx.Client) -> None:
    cookies = sign_in(client, hub.operator).headers.get_list("set-cookie")
    session = next(cookie for cookie in cookies if cookie.startswith("predmp_session="))
    assert "HttpOnly" in session and "SameSite=strict" in session and "Path=/" in session
    assert "Expires" not in session and "Max-Age" not in session


@pytest.mark.parametrize(
    ("token", "why"),
    [
        pytest.param("", "Collez votre jeton", id="none"),
        pytest.param("nonsense-token", "pas valable", id="one that does not hold"),
        pytest.param("<script>alert(1)</script>", "pas valable", id="what is no token"),
        pytest.param("x" * 4000, "pas valable", id="one that fits into no cookie"),
    ],
)
def test_a_wrong_token_is_refused_beside_its_field(client: httpx.Client, token: str, why: str) -> None:
    answer = sign_in(client, token)
    assert answer.status_code == 401
    assert why in answer.text and 'aria-invalid="true"' in answer.text and 'role="alert"' in answer.text
    assert not token or token not in answer.text
    assert "predmp_session" not in client.cookies


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nX: y", ""]
)
def test_no_redirect_leads_elsewhere(hub: RunningHub, client: httpx.Client, elsewhere: str) -> None:
    assert sign_in(client, hub.operator, elsewhere).headers["location"] == "/"
    assert client.get("/language/en", params={"next": elsewhere}).headers["location"] == "/"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="without a token"),
        pytest.param({"csrf": "0" * 64}, id="with a wrong one"),
        pytest.param({"csrf": "é"}, id="with one that is none"),
    ],
)
def test_a_form_of_another_session_is_refused(hub: RunningHub, client: httpx.Client, given: dict[str, str]) -> None:
    sign_in(client, hub.operator)
    answer = client.post("/logout", data=given, headers=FORM)
    assert answer.status_code == 403 and "Accès refusé" in answer.text
    assert client.get("/admin").status_code == 200


def test_a_form_of_ones_own_other_session_is_refused(hub: RunningHub, client: httpx.Client) -> None:
    sign_in(client, hub.token())
    old = csrf(client.get("/admin").text)
    sign_in(client, hub.operator)
    assert client.post("/logout", data={"csrf": old}).status_code == 403


@pytest.mark.parametrize(
    ("content", "type", "status"),
    [
        pytest.param(b'{"csrf":"x"}', "application/json", 415, id="no form"),
        pytest.param(b"a=1&a=2", FORM["Content-Type"], 400, id="a field twice"),
        pytest.param(b"a=%ff", FORM["Content-Type"], 400, id="no UTF-8"),
        pytest.param(b"a=%00", FORM["Content-Type"], 400, id="NUL"),
        pytest.param(b"\xff", FORM["Content-Type"], 400, id="no ASCII"),
        pytest.param(b"&".join(b"a%d=1" % n for n in range(300)), FORM["Content-Type"], 400, id="300 fields"),
        pytest.param(b"a=" + b"x" * 70_000, FORM["Content-Type"], 413, id="70,000 bytes"),
    ],
)
def test_a_form_that_cannot_be_read(client: httpx.Client, content: bytes, type: str, status: int) -> None:
    answer = client.post("/login", content=content, headers={"Content-Type": type})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_signing_out_takes_the_session_back(hub: RunningHub, client: httpx.Client) -> None:
    sign_in(client, hub.operator)
    answer = client.post("/logout", data={"csrf": csrf(client.get("/admin").text)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert client.get("/admin").status_code == 303


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        pytest.param("", "fr", id="without a wish"),
        pytest.param("en-GB,en;q=0.9", "en", id="English"),
        pytest.param("de,fr;q=0.5,en;q=0.7", "en", id="the better liked of two"),
        pytest.param("en;q=0, *", "fr", id="anything else"),
        pytest.param("fr;q=abc,,*;q=2", "fr", id="malformed"),
        pytest.param("xx", "fr", id="one that is not there"),
    ],
)
def test_the_language_a_browser_asks_for(client: httpx.Client, accepted: str, language: str) -> None:
    answer = client.get("/login", headers={"Accept-Language": accepted})
    assert answer.status_code == 200 and answer.headers["content-language"] == language
    assert f'<html lang="{language}">' in answer.text


def test_the_switch_of_language_wins_and_stays(client: httpx.Client) -> None:
    answer = client.get("/language/en", params={"next": "/login?next=/admin"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/admin")
    assert '<html lang="en">' in client.get("/login", headers={"Accept-Language": "fr"}).text
    assert client.get("/language/xx").status_code == 404


def test_only_the_operator_sees_the_administration(hub: RunningHub, client: httpx.Client) -> None:
    sign_in(client, hub.token("system/*.rs", actor="Practitioner/x"))
    assert client.get("/admin").status_code == 403
    assert 'href="/admin"' not in client.get("/").text
    sign_in(client, hub.operator)
    page = client.get("/admin").text
    assert 'href="/admin" aria-current="page"' in page and "CapabilityStatement" in page


def test_a_failure_is_a_page_for_people_and_an_outcome_for_programs(client: httpx.Client) -> None:
    page = client.get("/nothing-here", headers={"Accept": "text/html"})
    assert page.status_code == 404 and "<h1>Page introuvable</h1>" in page.text
    assert client.get("/nothing-here").json()["resourceType"] == "OperationOutcome"
    fhir = client.get("/fhir/Patient", headers={"Accept": "text/html,*/*;q=0.8"})
    assert fhir.status_code == 401 and "<html" not in fhir.text


def test_names_are_shown_as_text(hub: RunningHub, client: httpx.Client) -> None:
    sign_in(client, hub.token(sub='<b onclick="x">'))
    page = client.get("/").text
    assert "<b onclick" not in page and "&lt;b onclick=" in page


@pytest.mark.parametrize(
    ("name", "type"),
    [("style.css", "text/css"), ("htmx.min.js", "text/javascript"), ("favicon.svg", "image/svg+xml")],
)
def test_static_files_are_found_by_their_content(client: httpx.Client, name: str, type: str) -> None:
    found = re.search(rf"/static/{re.escape(name)}\?v=[0-9a-f]{{12}}", client.get("/").text)
    assert found is not None
    answer = client.get(found[0])
    assert answer.status_code == 200 and answer.headers["content-type"].startswith(type)
    assert "immutable" in answer.headers["cache-control"] and answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["", "../pages.py", "..%2Fpages.py", "none.css"])
def test_no_other_file_is_served(client: httpx.Client, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404
