"""How many tasks a worker runs at once: in all, and of each target."""
from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Slots:
    """`total` for all of the worker's `platforms`; a target that is not in `limits` has no limit of its own."""

    total: int
    limits: Mapping[str, int]
    platforms: tuple[str, ...]

    def room(self, running: Collection[str]) -> frozenset[str]:
        """The targets of which one more task may run beside those that run (`running` has the target of each)."""
        if len(running) >= self.total:
            return frozenset()
        counts = Counter(running)
        return frozenset(name for name in self.platforms if counts[name] < self.limits.get(name, self.total))

    def opened(self, running: Collection[str], leaving: str) -> frozenset[str]:
        """The targets that have no room now, and would have it if one running task of target `leaving` left."""
        left = Counter(running) - Counter([leaving])
        return self.room(list(left.elements())) - self.room(running)
