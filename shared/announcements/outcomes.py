"""What can become of an attempt to deliver an announcement."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Problem = Literal["name", "address", "connect", "tls", "timeout", "answer", "redirect", "status", "gone", "lost"]

# What clients and the log are told; never what a receiver has said, nor more of the URL than its host.
PROBLEMS: dict[str, str] = {
    "name": "the host's name is not found",
    "address": "the host has an address that callbacks must not reach",
    "connect": "no connection",
    "tls": "no trusted TLS connection",
    "timeout": "no answer in time",
    "answer": "what answered speaks no HTTP, or too much of it",
    "redirect": "the receiver answered with a redirect, which is not followed",
    "status": "the receiver answered with another status than 2xx",
    "gone": "the receiver answered 410: it wants no more of them",
    "lost": "the worker that sent was not heard of again",
}


@dataclass(frozen=True)
class Outcome:
    """`status` is the HTTP answer's, None where there was none. `retry_after_s` is what the receiver asked for."""

    problem: Problem | None
    status: int | None = None
    retry_after_s: float | None = None
