"""Every page in a real browser: with and without scripts, by keyboard, narrow, dark; skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from tests.blackbox.browser import Browser, programs
from tests.running import RunningHub
from tests.unit.consent_cases import SYSTEM, care_team, consent

pytestmark = pytest.mark.skipif(
    programs() is None, reason="NOT TESTED: no Chromium with chromedriver here (Debian: chromium, chromium-driver)"
)

TAB, ENTER = "\ue004", "\ue007"

# Elements with text of their own whose colour stands out from what is behind them by less than WCAG 1.4.3 asks.
FAINT = """
const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] ?? 1]; };
const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                     return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
const ground = e => { if (!e) return [255, 255, 255];
                      const c = parse(getComputedStyle(e).backgroundColor);
                      return c[3] === 1 ? c.slice(0, 3) : over(c, ground(e.parentElement)); };
const faint = [];
for (const e of document.body.querySelectorAll('*')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.checkVisibility() || e.closest('.visually-hidden, .skip')) continue;
  const s = getComputedStyle(e), under = ground(e), text = over(parse(s.color), under);
  const [a, b] = [light(text), light(under)].sort((x, y) => y - x), size = parseFloat(s.fontSize);
  const needed = size >= 24 || (size >= 18.66 && s.fontWeight >= 700) ? 3 : 4.5;
  if ((a + 0.05) / (b + 0.05) < needed) faint.push(e.tagName + ' ' + e.textContent.trim().slice(0, 40));
}
return faint;
"""

# What one can click or type into that is smaller than WCAG 2.5.8 asks (24 CSS pixels), links inside sentences excepted.
SMALL = """
return [...document.querySelectorAll('button, .button, nav a, .person a, input:not([type=hidden]), select, summary')]
  .filter(e => e.checkVisibility() && Math.min(e.getBoundingClientRect().width, e.getBoundingClientRect().height) < 24)
  .map(e => e.outerHTML.slice(0, 80));
"""

# Fields without a label, images without a text, ids given twice.
UNNAMED = """
return [...[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
          .filter(e => !e.labels.length && !e.ariaLabel).map(e => 'no label: ' + e.outerHTML.slice(0, 80)),
        ...[...document.querySelectorAll('img:not([alt])')].map(e => 'no alt: ' + e.src),
        ...[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, n, all) => all.indexOf(id) !== n)
          .map(id => 'twice: ' + id)];
"""


def vital(code: str, unit: str, value: int, patient: str) -> dict[str, Any]:
    """A measurement of this moment; several such raise an alert."""
    return {
        "resourceType": "Observation", "status": "final", "subject": {"reference": patient},
        "category": [{"coding": [{"system": f"{SYSTEM}observation-category", "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "effectiveDateTime": datetime.now(UTC).isoformat(timespec="seconds"),
        "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
    }  # fmt: skip


@pytest.fixture(scope="module")
def record(hub: RunningHub) -> dict[str, str]:
    """A patient with a care team, a permission, an objection; and tokens."""

    def stored(resource: dict[str, Any]) -> str:
        bare = {name: value for name, value in resource.items() if name not in ("id", "meta")}
        return f"{resource['resourceType']}/{hub.create(bare)['id']}"

    patient = stored({"resourceType": "Patient", "name": [{"family": "Épreuve", "given": ["Zoé"]}]})
    doctor = stored({"resourceType": "Practitioner", "name": [{"prefix": ["Dr"], "family": "Martin"}]})
    nurse = stored({"resourceType": "Practitioner", "name": [{"family": "Petit"}]})
    vendor = stored({"resourceType": "Organization", "name": "Télésoins"})
    of_patient: dict[str, Any] = {"patient": {"reference": patient}}
    stored(care_team(doctor, nurse, subject={"reference": patient}))
    stored(consent("permit", vendor, **of_patient))
    stored(consent("deny", nurse, **of_patient))
    for code, unit, value in (("9279-1", "/min", 27), ("2708-6", "%", 88), ("8867-4", "/min", 134)):
        stored(vital(code, unit, value, patient))
    id = patient.removeprefix("Patient/")
    return {
        "patient": patient,
        "doctor": doctor,
        "as operator": hub.operator,
        "as patient": hub.token("patient/*.cruds", patient=id, sub="Zoé Épreuve"),
        "as doctor": hub.token("system/*.cruds", actor=doctor, sub="Dr Martin"),
    }


@pytest.fixture(scope="module", params=["with JavaScript", "without JavaScript"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    with Browser(javascript=request.param == "with JavaScript") as running:
        yield running


def base(hub: RunningHub) -> str:
    return str(hub.http.base_url).rstrip("/")


def sign_in(browser: Browser, hub: RunningHub, token: str, following: str) -> None:
    browser.open(f"{base(hub)}/login?next={quote(following)}")
    browser.type("#token", token)
    browser.click("main button")
    browser.arrive(base(hub) + following, exactly=True)


PAGES = [
    pytest.param("as operator", "/", id="start"),
    pytest.param("as operator", "/login", id="sign-in"),
    pytest.param("as operator", "/admin", id="administration"),
    pytest.param("as operator", "/admin/devices", id="readings kept aside"),
    pytest.param("as operator", "/docs", id="documentation"),
    pytest.param("as operator", "/worklist", id="worklist"),
    pytest.param("as operator", "/records", id="records"),
    pytest.param("as operator", "/consent", id="consent, look up"),
    pytest.param("as patient", "/consent", id="consent, patient"),
    pytest.param("as patient", "/consent?find=t%C3%A9l%C3%A9", id="consent, search"),
    pytest.param("as doctor", "/consent", id="consent, practitioner"),
    pytest.param("as doctor", "/worklist", id="worklist, practitioner"),
]


def is_fine(browser: Browser) -> None:
    """Assert what holds for every page."""
    assert browser.count("h1") == 1
    assert browser.count("html[lang=fr]") == 1
    assert browser.count("main") == 1
    assert browser.text("h1")
    assert browser.errors() == []


@pytest.mark.parametrize(("who", "path"), PAGES)
def test_a_page_opens_without_a_word_on_the_console(
    hub: RunningHub, browser: Browser, record: dict[str, str], who: str, path: str
) -> None:
    sign_in(browser, hub, record[who], path)
    is_fine(browser)


@pytest.mark.parametrize("path", ["/worklist", "/records"])
def test_what_a_list_leads_to_opens_too(hub: RunningHub, browser: Browser, record: dict[str, str], path: str) -> None:
    sign_in(browser, hub, record["as doctor"], path)
    browser.click(f"main a[href^='{path}/']")
    browser.arrive(f"{base(hub)}{path}/")
    assert "Épreuve" in browser.text("h1")
    is_fine(browser)


def test_a_patient_objects_and_lifts_it_in_two_clicks_each(
    hub: RunningHub, browser: Browser, record: dict[str, str]
) -> None:
    def doctor_sees() -> bool:
        return hub.request("GET", f"/fhir/{record['patient']}", token=record["as doctor"]).status_code == 200

    sign_in(browser, hub, record["as patient"], "/consent")
    assert doctor_sees()
    browser.click(f"a[href*='act=object'][href*='{record['doctor'].partition('/')[2]}']")
    browser.arrive(f"{base(hub)}/consent/confirm?act=object")
    is_fine(browser)
    browser.click("main button")
    browser.arrive(f"{base(hub)}/consent/receipt?consent=")
    is_fine(browser)
    assert not doctor_sees()
    hub_says = hub.request("GET", f"/fhir/Consent/{browser.url.partition('consent=')[2]}").json()
    assert (hub_says["status"], hub_says["provision"]["type"]) == ("active", "deny")
    browser.click("main a.button")
    browser.arrive(f"{base(hub)}/consent", exactly=True)
    browser.click(f"a[href*='act=end'][href*='{hub_says['id']}']")
    browser.arrive(f"{base(hub)}/consent/confirm?act=end")
    is_fine(browser)
    browser.click("main button")
    browser.arrive(f"{base(hub)}/consent/receipt?consent=")
    assert doctor_sees()


def test_signing_out_ends_it(hub: RunningHub, browser: Browser, record: dict[str, str]) -> None:
    sign_in(browser, hub, record["as patient"], "/consent")
    browser.click("form[action='/logout'] button")
    browser.arrive(base(hub) + "/login")
    browser.open(base(hub) + "/consent")
    assert browser.url == base(hub) + "/login?next=/consent"


def test_the_language_is_switched(hub: RunningHub, browser: Browser) -> None:
    browser.open(base(hub) + "/login")
    browser.click("a[hreflang=en]")
    browser.wait(lambda: browser.count("html[lang=en]"))
    assert browser.text("h1") == "Sign in"
    browser.click("a[hreflang=fr]")
    browser.wait(lambda: browser.count("html[lang=fr]"))
    assert browser.text("h1") == "Se connecter"


def test_by_keyboard_alone_a_patient_reaches_a_decision(hub: RunningHub, record: dict[str, str]) -> None:
    with Browser() as browser:
        sign_in(browser, hub, record["as patient"], "/consent")
        browser.keys(TAB)
        assert browser.focused == "Aller au contenu"
        browser.keys(ENTER, TAB)
        reached = [browser.focused]
        while "opposer" not in reached[-1]:
            assert len(reached) < 20, reached
            browser.keys(TAB)
            reached.append(browser.focused)
        browser.keys(ENTER)
        browser.arrive(f"{base(hub)}/consent/confirm?act=object")
        assert browser.text("h1") == "S’opposer à l’accès au dossier"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_can_be_read_and_touched_on_a_small_screen(hub: RunningHub, record: dict[str, str], dark: bool) -> None:
    with Browser(width=320, dark=dark) as browser:
        for who, path in (values for one in PAGES for values in [one.values]):
            sign_in(browser, hub, record[str(who)], str(path))
            assert browser.script("return document.documentElement.scrollWidth") <= 320, path
            assert browser.script(FAINT) == [], path
            assert browser.script(SMALL) == [], path
            assert browser.script(UNNAMED) == [], path
        for path in ("/worklist", "/records"):
            sign_in(browser, hub, record["as doctor"], path)
            browser.open(str(browser.script(f"return document.querySelector(\"main a[href^='{path}/']\").href")))
            assert browser.script("return document.documentElement.scrollWidth") <= 320, path
            assert browser.script(FAINT) + browser.script(SMALL) + browser.script(UNNAMED) == [], path


def test_the_checks_themselves_find_what_is_wrong(hub: RunningHub) -> None:
    with Browser() as browser:
        browser.open(base(hub) + "/login")
        browser.script("document.querySelector('h1').style.color = '#cccccc'")
        browser.script("document.querySelector('main button').style.height = '10px'")
        browser.script("document.querySelector('main button').style.minHeight = '10px'")
        browser.script("document.querySelector('label').remove()")
        assert [len(browser.script(check)) for check in (FAINT, SMALL, UNNAMED)] == [1, 1, 1]
        browser.script("const s = document.createElement('script'); s.textContent = 'x'; document.body.append(s)")
        assert any("Content Security Policy" in error for error in browser.errors())
