"""A stage's processes: its session, and whatever descends from it. Read from /proc, since a toolchain's grandchildren
may outlive their parent or start sessions of their own."""
from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import NamedTuple

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    pid: int
    parent: int
    session: int
    resident_bytes: int


def _read_process(pid: int) -> Process | None:
    with suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before it may hold anything
        if fields[0] != b"Z":
            return Process(pid, int(fields[1]), int(fields[3]), int(fields[21]) * PAGE_BYTES)
    return None


def find_members(leader: int) -> list[Process]:
    """The living processes of the session led by `leader`, and all their descendants."""
    found = [p for p in map(_read_process, (int(name) for name in os.listdir("/proc") if name.isdigit())) if p]
    members = {p.pid: p for p in found if p.session == leader}
    while more := [p for p in found if p.parent in members and p.pid not in members]:
        members.update((p.pid, p) for p in more)
    return list(members.values())


def signal_members(leader: int, number: signal.Signals) -> bool:
    """Signal every process of the group; False where there is none."""
    members = find_members(leader)
    for member in members:
        with suppress(ProcessLookupError):
            os.kill(member.pid, number)
    return bool(members)


def kill_members(leader: int) -> None:
    """SIGKILL until nobody is left: a process may have forked while it was looked for."""
    for _ in range(50):
        if not signal_members(leader, signal.SIGKILL):
            return
        time.sleep(0.002)  # a killed process is a member until the kernel has taken it down


def resident_bytes(leader: int) -> int:
    """Resident memory of the whole group; pages shared between its processes count more than once."""
    return sum(member.resident_bytes for member in find_members(leader))
