"""Whose share the work of this thread takes: its tenant's, and where no key is asked for, that of the one caller that
all clients are then."""
from __future__ import annotations

from shared.access import seen_tenant

EVERYBODY = "*"  # the name of what all take together; no tenant has it


def caller_name() -> str:
    return seen_tenant() or ""
