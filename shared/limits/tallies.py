"""How many things of a kind each caller has open, in all processes of a server together."""
from __future__ import annotations

import os

from shared.limits.table import Table, digest

ROWS, ROW = 256, 32


class Tallies:
    """Counts by caller. What a process has counted that has died counts no more. Exact as `Rates` is."""

    def __init__(self) -> None:
        self._table = Table("=Qqq", ROWS, ROW)  # the caller, the process and its count

    def enter(self, name: str, most: int) -> bool:
        """Count one more, unless there are `most` already, or a row of the table is full."""
        wanted, own = digest(name), os.getpid()
        with self._table.row(name) as records:
            alive = [(place, owner, pid, count) for place, (owner, pid, count) in records
                     if count and (pid == own or _lives(int(pid)))]
            mine = next(((place, count) for place, owner, pid, count in alive if (owner, pid) == (wanted, own)), None)
            if sum(count for _, owner, _, count in alive if owner == wanted) >= most:
                return False
            free = {place for place, _ in records} - {place for place, *_ in alive}
            if mine is None and not free:
                return False
            place, count = mine or (min(free), 0)
            self._table.write(place, wanted, own, count + 1)
            return True

    def leave(self, name: str) -> None:
        wanted, own = digest(name), os.getpid()
        with self._table.row(name) as records:
            for place, (owner, pid, count) in records:
                if (owner, pid) == (wanted, own) and count:
                    self._table.write(place, wanted, own, count - 1)

    def close(self) -> None:
        self._table.close()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
