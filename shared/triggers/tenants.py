"""Whose tasks an upload starts: the tenant that the rule names, else the one whose place the object lies in."""
from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from shared.access import Caller
from shared.access.documents import Key
from shared.access.places import EVERYWHERE, owner_of
from shared.deps import get_store, process_wide
from shared.documents import DEFAULT_TENANT
from shared.settings import Settings
from shared.triggers.rules import Rule

TRUST_S = 5.0


class _Keys:
    """All keys, as they were seconds ago. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: Sequence[Key] = ()
        self._read_at = float("-inf")

    def get(self) -> Sequence[Key]:
        with self._lock:
            now = time.monotonic()
            if now - self._read_at >= TRUST_S:
                self._keys, self._read_at = get_store().all_keys(), now
            return self._keys

    def close(self) -> None:
        """Nothing is open."""


_keys = process_wide(_Keys)


def callers_of(rule: Rule, path: str, settings: Settings) -> tuple[Caller, Caller] | None:
    """For whom the tasks are made that the rule starts for this object, and for whom the object itself speaks. The
    rule is the operator's and names what it likes but for other tenants' own places. The object speaks for whoever may
    write it. None where there are neither keys nor tenants.

    Raises:
        Unavailable: the store does not answer.
    """
    keys = _keys().get()
    if rule.tenant is None and not keys:
        return None
    tenant = rule.tenant or tenant_of(path, keys, settings)
    own = {prefix for key in keys if key.tenant == tenant for prefix in key.prefixes}
    of_rule = caller_of(rule, tenant)
    return of_rule, replace(of_rule, prefixes=(*sorted(own), f"{rule.bucket}/{rule.prefix}"))


def caller_of(rule: Rule, tenant: str | None = None) -> Caller:
    """For whom the rule makes tasks, if its own `tenant` or this one is known."""
    return Caller(f"rule {rule.name}", rule.tenant or tenant or DEFAULT_TENANT, frozenset(), (EVERYWHERE,))


def tenant_of(path: str, keys: Iterable[Key], settings: Settings) -> str:
    """The tenant whose own place the path is in; else the one with the longest prefix that covers it, among the keys
    that are good, and then among the others. `default` where there is none, or more than one."""
    if owner := owner_of(path, settings):
        return owner
    now, found = time.time(), []
    for key in keys:
        lengths = [len(prefix) for prefix in key.prefixes if prefix != EVERYWHERE and path.startswith(prefix)]
        if lengths:
            found.append((key.why_ended(now) is None, max(lengths), key.tenant))
    best = {tenant for good, length, tenant in found if (good, length) == max(found)[:2]}
    return best.pop() if len(best) == 1 else DEFAULT_TENANT
