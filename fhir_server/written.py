"""Decimals as they were written; a module of its own, which is not compiled: C lays a Decimal out otherwise."""

from __future__ import annotations

from decimal import Decimal


class Written(Decimal):
    """A decimal whose text Python would write otherwise (`1.0e2`, `-0`)."""

    __slots__ = ("text",)
    text: str
