"""What the store keeps of a key."""
from __future__ import annotations

import re
import secrets
from typing import Literal, get_args

from pydantic import ConfigDict, Field

from shared.access import Scope
from shared.documents import Document, Seconds

SCOPES: tuple[Scope, ...] = get_args(Scope)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,62}")


class Key(Document):
    """A key's document: everything but the key itself. Times are seconds since the epoch."""

    model_config = ConfigDict(extra="ignore")

    id: str  # `key_<12 hex digits>`: people name the key by it
    digest: str  # SHA-256 of the key, unique
    name: str  # the words of whoever made it; events and the log show them
    tenant: str
    scopes: list[str]  # of a later version there may be others
    prefixes: list[str] = Field([])  # `bucket/…/` that its requests may name, beside the tenant's own places
    created_at: Seconds
    expires_at: Seconds | None = None
    revoked_at: Seconds | None = None
    last_used_at: Seconds | None = None  # written once a minute at most

    def why_ended(self, now: float) -> Literal["revoked", "expired"] | None:
        """None where the key is good."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else None


def new_key_id() -> str:
    return f"key_{secrets.token_hex(6)}"
