"""Counters in the Prometheus text format; labels never hold ids.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping


class Metrics:
    """What this process counted."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._sources: list[Callable[[], Mapping[str, float]]] = []

    def count(self, method: str, status: int) -> None:
        """Count one FHIR request."""
        known = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") else "other"
        self._requests[known, status] += 1

    def add_source(self, source: Callable[[], Mapping[str, float]]) -> None:
        """Take in a room's numbers, by full name with labels."""
        self._sources.append(source)

    def write(self) -> str:
        """Return all numbers as text."""
        lines = ["# TYPE hub_http_requests_total counter"]
        lines += [
            f'hub_http_requests_total{{method="{method}",status="{status}"}} {count}'
            for (method, status), count in sorted(self._requests.items())
        ]
        for source in self._sources:
            lines += [f"{name} {value:g}" for name, value in source().items()]
        return "\n".join(lines) + "\n"
