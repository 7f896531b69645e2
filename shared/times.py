"""Moments as the contract spells them."""
from __future__ import annotations

from datetime import UTC, datetime


def format_time(seconds: float | None) -> str | None:
    """UTC in the contract's spelling, `2024-01-01T12:00:00`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def parse_time(text: str) -> float:
    """Seconds since the epoch; a time without an offset is UTC.

    Raises:
        ValueError: not an ISO 8601 time.
    """
    moment = datetime.fromisoformat(text.upper())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
