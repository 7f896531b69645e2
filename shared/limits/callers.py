"""Whose share the work of this thread takes: a name of a key's owner, and empty where no request shows whose it is.
Then all clients are one caller."""
from __future__ import annotations

from contextvars import ContextVar

caller_name: ContextVar[str] = ContextVar("caller_name", default="")
EVERYBODY = "*"  # the name of what all take together; no key has it
