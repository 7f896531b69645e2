"""The id of the HTTP request that this thread answers. It is in the answer, and in every log line of that time."""
from __future__ import annotations

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
