"""Who may do what. Here: on whose behalf this thread works, the owner of the key that the request has shown.

Nobody is named where no key is asked for, and in workers. Then nothing is hidden, and every path that the settings
allow may be named.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from shared.documents import DEFAULT_TENANT
from shared.request_ids import request_id

Scope = Literal["read", "write", "admin"]


@dataclass(frozen=True)
class Caller:
    """Who has shown a key. `proof` is the key's digest, by which it can be looked up again; empty for a token of an
    identity provider, which is good until `ends_at` (seconds since the epoch)."""

    name: str
    tenant: str
    scopes: frozenset[str]
    prefixes: tuple[str, ...] = ()
    key_id: str = ""
    proof: str = ""
    ends_at: float | None = None


NOBODY = Caller("", "", frozenset())  # who shows no key where others do

_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def get_caller() -> Caller | None:
    return _caller.get()


@contextmanager
def acting_for(caller: Caller | None) -> Iterator[None]:
    """Inside, this thread works on behalf of `caller`."""
    before = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(before)


def seen_tenant() -> str | None:
    """The only tenant whose tasks exist for the caller; None where all do."""
    caller = _caller.get()
    return None if caller is None else caller.tenant


def own_tenant() -> str:
    """The tenant to which a new task belongs."""
    return seen_tenant() or DEFAULT_TENANT


def by_whom() -> dict[str, Any]:
    """What an event tells of the client that has caused it; nothing where no key is asked for."""
    caller = _caller.get()
    return {} if caller is None else {"key": caller.name, "request_id": request_id.get()}
