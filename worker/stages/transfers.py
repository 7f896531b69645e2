"""How far a core stage's transfers are, and whether they are to go on."""
from __future__ import annotations

from collections.abc import Callable

from shared.files import Watch

STEP_BYTES = 8 << 20  # is told at once, and less than that with the next


class Progress:
    """Of `size_bytes` bytes in several files, told as percents from `begin` to `end`. `report` may raise, which ends
    the transfer that asks. Threads may share it."""

    def __init__(self, report: Callable[[float, str], None], size_bytes: int, begin: float = 0.0, end: float = 100.0
                 ) -> None:
        self._report, self._size_bytes = report, max(size_bytes, 1)
        self._begin, self._share = begin, end - begin
        self._told: dict[str, int] = {}

    def note(self, name: str, size_bytes: int) -> None:
        """So many bytes of the file have passed."""
        if name in self._told and abs(size_bytes - self._told[name]) < STEP_BYTES:
            return
        self._told[name] = size_bytes
        done = sum(list(self._told.values()))
        self._report(self._begin + self._share * min(done / self._size_bytes, 1.0), name)

    def of(self, name: str) -> Watch:
        return lambda size_bytes: self.note(name, size_bytes)
