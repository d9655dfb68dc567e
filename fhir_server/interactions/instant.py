"""Instants: microseconds since 1970 as FHIR writes them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache


def system_clock() -> int:
    """Return microseconds since 1970-01-01T00:00Z."""
    return time.time_ns() // 1000


def write_instant(micros: int) -> str:
    """Write an instant in UTC with all its digits, e.g. `2026-11-20T07:00:00.000000Z`.

    With fewer digits two versions could bear the same instant, and `_at` would name both.
    """
    seconds, rest = divmod(micros, 1_000_000)
    return f"{_second(seconds)}.{rest:06d}Z"


@lru_cache(1024)  # neighbours share their second
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def http_date(micros: int) -> str:
    """Write an HTTP date (RFC 9110 §5.6.7)."""
    return _http_date(micros // 1_000_000)


@lru_cache(1024)
def _http_date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
