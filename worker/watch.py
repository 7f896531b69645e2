"""One running stage: its limits, its progress, what is wanted of it, and what came of it."""
from __future__ import annotations

import json
import logging
import os
import queue
import shutil
import signal
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import ConversionFailed
from shared.rules.refusal import Refusal
from worker import reasons
from worker.control import TaskControl, Wanted
from worker.log_cleaning import clean_line
from worker.process_trees import Group
from worker.stage_log import TAIL_BYTES, read_end, read_last_lines, read_tail, size_bytes
from worker.toolhost import LAST_WORDS, NO_ROOM

logger = logging.getLogger(__name__)

TICK_S = 0.2  # how soon what is wanted is done
LOOK_S = 0.5  # how often limits are looked at (which reads all of /proc) and the log's end is read
STARTED_WITHIN_S = 60.0  # a host that has not forked by then hangs
FULL_BELOW_BYTES = 1 << 20
MAX_RESULT_BYTES = 8 << 20  # facts are for people and keys; what is large belongs in a file


class Interrupted(Exception):
    """The stage was ended on purpose, by what `control` wants; its result is not missed."""


@dataclass(frozen=True)
class StageLimits:
    """Of the whole group: `memory_bytes` resident, `disk_bytes` in the stage's folder. Frozen time is not counted."""

    time_s: float
    memory_bytes: int
    disk_bytes: int
    hold_s: float = 60.0  # how long a paused stage stays in memory before it is given up


@dataclass
class StageRun:
    """What a child left: its facts, and what it took."""

    facts: dict[str, Any]
    seconds: float
    peak_memory_bytes: int


@dataclass
class Child:
    """What the host tells of one child."""

    group: Group | None = None
    lost: bool = False  # its host died
    events: queue.SimpleQueue[dict[str, Any]] = field(default_factory=queue.SimpleQueue)

    def lose(self) -> None:
        """Its host is gone, and with it the child."""
        self.lost = True
        self.events.put({"event": "exited", "code": None, "signal": signal.SIGKILL, "peak_memory_bytes": 0})


class Watch:
    """Watches one child in the thread that calls `until_exit`."""

    def __init__(self, child: Child, folder: Path, limits: StageLimits, control: TaskControl,
                 on_progress: Callable[[float, str], None]) -> None:
        self._child, self._folder, self._limits, self._control = child, folder, limits, control
        self._log, self._log_bytes = folder / "log.txt", 0
        self._on_progress = on_progress
        self._ran_s = 0.0  # without frozen time
        self._frozen_since: float | None = None
        self._peak_bytes = 0
        self._broken: ConversionFailed | None = None
        self._interrupted = False
        self._exit: dict[str, Any] = {}
        self._next_look = 0.0

    @property
    def exited(self) -> bool:
        return bool(self._exit)

    def until_exit(self, on_hang: Callable[[], None]) -> None:
        """`on_hang` is called where the host does not even start the child; it should end the host."""
        last = time.monotonic()
        while not self._exit:
            try:
                event = self._child.events.get(timeout=TICK_S)
                if event["event"] == "progress":
                    self._on_progress(event["percent"], event["text"])
                elif event["event"] == "exited":
                    self._exit = event
            except queue.Empty:
                pass
            now = time.monotonic()
            if self._frozen_since is None:
                self._ran_s += now - last
            last = now
            if self._exit:
                return
            if self._child.group is None:
                if self._ran_s > STARTED_WITHIN_S:
                    on_hang()
                continue
            self._obey(self._child.group)
            if now >= self._next_look:
                self._next_look = now + LOOK_S
                self._look_at_limits(self._child.group)
                self._look_at_log()

    def _obey(self, group: Group) -> None:
        wanted = self._control.wanted
        if wanted is Wanted.PAUSE:
            group.freeze()
            self._frozen_since = self._frozen_since or time.monotonic()
        elif self._frozen_since is not None:
            group.thaw()
            self._frozen_since = None
        held_s = 0.0 if self._frozen_since is None else time.monotonic() - self._frozen_since
        if wanted is Wanted.STOP or held_s > self._limits.hold_s or self._control.give_up:
            self._interrupted = True
            group.kill()

    def _look_at_log(self) -> None:
        seen, self._log_bytes = self._log_bytes, size_bytes(self._log)
        if self._log_bytes != seen:
            self._control.log_lines = read_last_lines(self._log, self._folder)

    def _look_at_limits(self, group: Group) -> None:
        if self._broken or self._interrupted:
            return
        resident = group.resident_bytes()
        self._peak_bytes = max(self._peak_bytes, resident)
        if self._ran_s > self._limits.time_s:
            self._broken = ConversionFailed(reasons.RAN_TOO_LONG(seconds=f"{self._limits.time_s:g}"))
        elif resident > self._limits.memory_bytes:
            self._broken = ConversionFailed(reasons.USED_TOO_MUCH_MEMORY(mib=self._limits.memory_bytes >> 20))
        elif _size_bytes(self._folder) > self._limits.disk_bytes:
            self._broken = ConversionFailed(reasons.WROTE_TOO_MUCH(mib=self._limits.disk_bytes >> 20))
        if self._broken:
            group.kill()

    def result(self) -> StageRun:
        """What came of it. Success is a whole result, not an exit code.

        Raises:
            ConversionFailed: the stage failed, crashed, or ran into a limit; with the end of its log.
            Interrupted: it was ended on purpose.
        """
        if self._interrupted:
            raise Interrupted
        error = self._broken
        if error is None:
            try:
                told = read_result(self._folder / "result.json")
                if "facts" in told:
                    return StageRun(dict(told["facts"]), round(self._ran_s, 3),
                                    max(self._peak_bytes, self._exit["peak_memory_bytes"]))
                error = ConversionFailed(self._refusal(told["error"]))
                error.found = dict(told.get("found", {}))
            except FileNotFoundError:
                error = ConversionFailed(self._last_words() or _died(self._exit))
            except (ValueError, TypeError, KeyError, RecursionError, OSError) as reason:
                said = reason.strerror if isinstance(reason, OSError) else reason
                error = ConversionFailed(reasons.UNREADABLE_RESULT(said=said))
        # Who cannot write cannot say so either: tools just end, each in its own way.
        if error.code == "stage_crashed" and shutil.disk_usage(self._folder).free < FULL_BELOW_BYTES:
            error = ConversionFailed(reasons.DISK_FULL())
        error.log_tail, error.seconds = read_tail(self._log, self._folder), round(self._ran_s, 3)
        # As the tool wrote it, for the operator: what clients see has no stack traces and no folders of the machine.
        logger.info("a stage fails with %s; its log ends with: %s", error.code,
                    read_end(self._log, TAIL_BYTES).decode(errors="replace"), extra={"folder": str(self._folder)})
        raise error

    def _last_words(self) -> Refusal | None:
        """What the stage wanted to be told if its CPU time ended, which it did."""
        if self._exit["signal"] != signal.SIGXCPU:
            return None
        with suppress(ValueError, TypeError, KeyError, RecursionError, OSError):
            return self._refusal(read_result(self._folder / LAST_WORDS))
        return None

    def _refusal(self, told: Any) -> Refusal:
        """What the stage says, fit for a client: an exception's text may name any of this machine's folders.

        Raises:
            KeyError, TypeError, ValueError: it is no refusal.
        """
        texts = {name: _text(value) for name, value in dict(told).items() if value is not None}
        return Refusal.from_json({name: "\n".join(clean_line(line, self._folder) for line in text.splitlines())
                                  for name, text in texts.items()})


def _died(event: dict[str, Any]) -> Refusal:
    """The child ended without a result: by which signal, or with which code."""
    number = event["signal"]
    if number == signal.SIGXCPU:
        return reasons.NO_CPU_TIME_LEFT()
    if number == signal.SIGXFSZ:
        return reasons.FILE_TOO_LARGE()
    if number == signal.SIGKILL:
        return reasons.KILLED()
    if number is not None:
        return reasons.CRASHED(signal=signal.Signals(number).name)
    if event["code"] == NO_ROOM:
        return reasons.DISK_FULL()
    return reasons.ENDED_WITHOUT_RESULT(code=event["code"])


def read_result(path: Path) -> dict[str, Any]:
    """What the child left. It is not trusted: never a link, a pipe, or more than memory should hold.

    Raises:
        FileNotFoundError: it left nothing.
        ValueError: what it left is no result.
    """
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_RESULT_BYTES:
        raise ValueError(f"not a regular file of at most {MAX_RESULT_BYTES >> 20} MiB")
    result = json.loads(path.read_bytes())
    if not isinstance(result, dict):
        raise ValueError("not an object")
    return result


def _text(value: object) -> str:
    """As a store can hold it: no lone surrogates, no NUL, not endless."""
    return str(value).encode(errors="replace").decode().replace("\0", " ")[:2000]


def _size_bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total
