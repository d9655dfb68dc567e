"""The vendors whose webhooks are taken: a TOML file of the operator's, one table a vendor; secrets stay out of FHIR.

```toml
[withings]
secret_file = "/etc/predmp/withings.secret"
api = "https://wbsapi.withings.net"
client_id = "…"
client_secret_file = "/etc/predmp/withings.client"
```
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from fhir_server.errors import Unavailable

ACCOUNT: Final = "urn:predmp:devices:account:"
"""With the vendor's name: identifier system of the Device that stands for an account; its value is the user's id."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_NUMBERS: Final = ("tolerance_s", "poll_s", "overlap_s")
_TEXTS: Final = ("signature_header", "timestamp_header", "api", "client_id", "tenant")
_SECRETS: Final = ("secret", "client_secret", "url_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A vendor; its name stands in the address that it calls.

    `secret` signs its notifications. `url_key` is for one that does not sign: it stands at the end of the address.
    `api` is where measurements are asked for.
    """

    name: str
    secret: str = ""
    url_key: str = ""
    signature_header: str = "X-Webhook-Signature"
    timestamp_header: str = "X-Webhook-Timestamp"  # "" where the vendor sends none
    tolerance_s: int = 300
    api: str = "https://wbsapi.withings.net"
    client_id: str = ""
    client_secret: str = ""
    poll_s: int = 3_600  # 0: no polling
    overlap_s: int = 86_400
    tenant: str = ""  # "" the tenant of feeds that name none

    @property
    def account_system(self) -> str:
        """Identifier system of the Devices that stand for accounts."""
        return ACCOUNT + self.name


def read_vendors(path: str) -> dict[str, Vendor]:
    """Read the file; "" gives none.

    Raises:
        Unavailable: It cannot be read, or something in it is not understood; names the table and key, no value.
    """
    if not path:
        return {}
    try:
        tables = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Unavailable(f"The file of webhooks cannot be read: {type(error).__name__}.") from None
    return {name: _vendor(name, table) for name, table in tables.items()}


def _vendor(name: str, table: Any) -> Vendor:
    if not isinstance(table, Mapping) or not _NAME.fullmatch(name):
        raise Unavailable("The file of webhooks has a table for each vendor, named in small letters, digits and -.")
    known = {*_NUMBERS, *_TEXTS, *_SECRETS, *(f"{key}_file" for key in _SECRETS)}
    given: dict[str, Any] = {}
    for key, value in table.items():
        is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if key not in known or not (is_number if key in _NUMBERS else isinstance(value, str)):
            raise Unavailable(f"The file of webhooks: {name}.{key} is not known, or has no value that it may have.")
        given[key.removesuffix("_file")] = _content(name, key, value) if key.endswith("_file") else value
    vendor = Vendor(name=name, **given)
    if not vendor.secret and not vendor.url_key:
        raise Unavailable(f"The file of webhooks: {name} has neither a secret nor a url_key.")
    if urlsplit(vendor.api).scheme not in ("http", "https"):
        raise Unavailable(f"The file of webhooks: {name}.api is no http or https URL.")
    return vendor


def _content(name: str, key: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"The file of webhooks: {name}.{key} cannot be read: {type(error).__name__}.") from None
