"""A headless Chromium, driven by the W3C WebDriver protocol over plain HTTP.

Source: https://www.w3.org/TR/webdriver2/
"""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tests.running import PATIENCE_S, free_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key under which the protocol names an element


def programs() -> tuple[str, str] | None:
    """Return the paths of a Chromium and its driver; None where one is missing."""
    browser = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """One browser window; a context manager.

    Args:
        javascript: Whether pages may run scripts.
        width: Of the window, CSS pixels.
        language: Of the browser, e.g. "fr-FR".
        dark: Whether it prefers dark colours.
    """

    def __init__(
        self, *, javascript: bool = True, width: int = 1200, language: str = "fr-FR", dark: bool = False
    ) -> None:
        found = programs()
        assert found is not None
        self._browser, driver = found
        port = free_port()
        self._process = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S, trust_env=False)
        narrow = {"deviceMetrics": {"width": width, "height": 800, "pixelRatio": 1.0}}
        self._options: dict[str, Any] = {
            **({"mobileEmulation": narrow} if width < 500 else {}),  # a window is never narrower than 500
            "binary": self._browser,
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                f"--window-size={width},900", f"--lang={language}",
                *(["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []),
            ],
            "prefs": {
                "intl.accept_languages": language,
                **({} if javascript else {"profile.managed_default_content_settings.javascript": 2}),
            },
        }  # fmt: skip
        self._session = ""

    def __enter__(self) -> Browser:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                if self._http.get("/status").json()["value"]["ready"]:
                    break
            time.sleep(0.05)
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": self._options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        made = self._http.post("/session", json={"capabilities": {"alwaysMatch": capabilities}}).json()["value"]
        assert "sessionId" in made, made
        self._session = f"/session/{made['sessionId']}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(httpx.HTTPError):
            if self._session:
                self._http.delete(self._session)
        self._http.close()
        self._process.terminate()
        self._process.wait(PATIENCE_S)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, self._session + path, json=body if method == "POST" else None)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def open(self, url: str) -> None:
        """Load a page and wait for it."""
        self._call("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        """The address of the page."""
        return str(self._call("GET", "/url"))

    def arrive(self, url: str, *, exactly: bool = False) -> None:
        """Wait until a page whose address starts like this is loaded; a click does not wait for what it leads to."""
        self.wait(lambda: self.url == url if exactly else self.url.startswith(url))

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until a page is loaded on which this holds."""
        end = time.monotonic() + PATIENCE_S
        while not (condition() and self.script("return document.readyState") == "complete"):
            assert time.monotonic() < end, f"at {self.url}"
            time.sleep(0.02)

    @property
    def source(self) -> str:
        """The page as HTML."""
        return str(self._call("GET", "/source"))

    def _find(self, css: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": css})
        return f"/element/{found[ELEMENT]}"

    def count(self, css: str) -> int:
        """Return how many elements a selector matches."""
        return len(self._call("POST", "/elements", {"using": "css selector", "value": css}))

    def text(self, css: str) -> str:
        """Return the visible text of an element."""
        return str(self._call("GET", f"{self._find(css)}/text"))

    def type(self, css: str, text: str) -> None:
        """Type into a field."""
        element = self._find(css)
        self._call("POST", f"{element}/clear", {})
        self._call("POST", f"{element}/value", {"text": text})

    def click(self, css: str) -> None:
        """Click an element, scrolled into view."""
        self._call("POST", f"{self._find(css)}/click", {})

    def keys(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    @property
    def focused(self) -> str:
        """The id or visible text of the element that has the focus; "" where none has."""
        element = f"/element/{self._call('GET', '/element/active')[ELEMENT]}"
        if self._call("GET", f"{element}/name") == "body":
            return ""
        if id := self._call("GET", f"{element}/attribute/id"):
            return str(id)
        end = time.monotonic() + PATIENCE_S
        while not (text := self._call("GET", f"{element}/text")) and time.monotonic() < end:
            time.sleep(0.02)  # what is shown for having the focus comes with the next frame
        return str(text)

    def script(self, code: str) -> Any:
        """Run a script in the page and return what it returns."""
        return self._call("POST", "/execute/sync", {"script": code, "args": []})

    def errors(self) -> list[str]:
        """Return what the console says at warning level or above since the last call."""
        entries = self._call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def screenshot(self, path: Path) -> None:
        """Save the whole page as PNG."""
        self._call("POST", "/window/rect", {"height": 900})
        size = self._call("POST", "/execute/sync", {
            "script": "return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]", "args": [],
        })  # fmt: skip
        self._call("POST", "/window/rect", {"width": size[0], "height": min(size[1] + 140, 4000)})
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))
