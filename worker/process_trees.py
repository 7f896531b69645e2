"""A stage's processes: its session, and whatever descends from it. Read from /proc, since a toolchain's grandchildren
may outlive their parent or start sessions of their own. Also runs in toolchains' interpreters, down to Python 3.8.

While a stage's leader lives, its orphans are adopted by it (PR_SET_CHILD_SUBREAPER), so nobody leaves the tree.
"""
from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NamedTuple

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ATTEMPTS = 100
PAUSE_S = 0.002  # a killed process is there until the kernel has taken it down


class Process(NamedTuple):
    pid: int
    parent: int
    session: int
    stopped: bool
    started: int  # clock ticks since boot: with the pid, it names one process for ever
    resident_bytes: int


def _read_process(pid: int) -> Process | None:
    with suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before it may hold anything
        if fields[0] not in (b"Z", b"X"):
            return Process(pid, int(fields[1]), int(fields[3]), fields[0] in (b"T", b"t"), int(fields[19]),
                           int(fields[21]) * PAGE_BYTES)
    return None


def read_processes() -> list[Process]:
    """Every living process of the machine."""
    return [p for p in map(_read_process, (int(name) for name in os.listdir("/proc") if name.isdigit())) if p]


def count_oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it runs: this machine's, or a control group's
    (`oom_kill` in proc_vmstat(5), since Linux 4.13)."""
    with open("/proc/vmstat", encoding="ascii") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)


def _with_descendants(found: list[Process], members: dict[int, Process]) -> list[Process]:
    while more := [p for p in found if p.parent in members and p.pid not in members]:
        members.update((p.pid, p) for p in more)
    return list(members.values())


def find_descendants(root: int, spare: Collection[int] = ()) -> list[Process]:
    """The children of `root` but for those to `spare`, with all that descends from them."""
    found = read_processes()
    return _with_descendants(found, {p.pid: p for p in found if p.parent == root and p.pid not in spare})


def find_started_in(folder: str) -> list[Process]:
    """Whoever works in `folder` or below it, or had it for its home when it was started."""
    return [process for process in read_processes() if _lives_in(process.pid, folder)]


def _lives_in(pid: int, folder: str) -> bool:
    with suppress(OSError):
        if f"{os.readlink(f'/proc/{pid}/cwd')}/".startswith(f"{folder}/"):
            return True
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"HOME={folder}".encode() in file.read().split(b"\0")
    return False


def freeze(find: Callable[[], list[Process]]) -> None:
    """SIGSTOP until nobody that `find` finds still runs: one may have forked while it was looked for."""
    for _ in range(ATTEMPTS):
        running = [p for p in find() if not p.stopped]
        if not running:
            return
        _send(running, signal.SIGSTOP)
        time.sleep(PAUSE_S)


def kill(find: Callable[[], list[Process]]) -> None:
    """SIGKILL all that `find` finds. Frozen first: nobody forks on, or is adopted out of sight, while others die."""
    for _ in range(ATTEMPTS):
        if not find():  # the usual case; each look reads all of /proc
            return
        freeze(find)
        _send(find(), signal.SIGKILL)
        time.sleep(PAUSE_S)


def _send(processes: list[Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


class Group:
    """One stage's processes by its leader's pid. Whoever was seen in it once stays in it, also after the leader's and
    the host's death have cut the tree."""

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._known: dict[int, int] = {}  # pid -> started

    def find(self) -> list[Process]:
        found = read_processes()
        members = _with_descendants(found, {p.pid: p for p in found if p.session == self._leader
                                            or self._known.get(p.pid) == p.started})
        self._known = {p.pid: p.started for p in members}
        return members

    def freeze(self) -> None:
        freeze(self.find)

    def thaw(self) -> None:
        _send(self.find(), signal.SIGCONT)

    def kill(self) -> None:
        kill(self.find)

    def resident_bytes(self) -> int:
        """Resident memory of the whole group; pages shared between its processes count more than once."""
        return sum(member.resident_bytes for member in self.find())
