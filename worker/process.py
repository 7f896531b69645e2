"""Runs a stage in a toolchain's interpreter: the worker's side of `worker/toolhost.py`.

One warm host an environment; it is started on first use and again after it died. Each stage is a child of it with a
session, a directory, limits and a log of its own, and no credentials in its environment.
"""
from __future__ import annotations

import itertools
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import ConversionFailed
from worker import groups, toolhost
from worker.control import TaskControl, Wanted
from worker.toolchains import ROOT

log = logging.getLogger(__name__)

TICK_S = 0.2  # how often a running stage's limits are looked at
START_TIMEOUT_S = 120.0
LOG_TAIL_BYTES = 4000
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE")


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
class _Child:
    pid: int = 0
    events: queue.SimpleQueue[dict[str, Any]] = field(default_factory=queue.SimpleQueue)


class ToolHost:
    """A warm interpreter. `run` may be called from several threads at once; each call is one child."""

    def __init__(self, name: str, interpreter: Path, preload: tuple[str, ...], environment: dict[str, str]) -> None:
        self.name = name
        self._command = [str(interpreter), "-I", toolhost.__file__, str(ROOT)]
        self._preload = preload
        self._environment = environment
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._children: dict[int, _Child] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._ready = threading.Event()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the host unless it runs; returns at once, `run` waits until it is warm."""
        with self._lock:
            if self._process is not None and self._process.poll() is None and self._link is not None:
                return
            ours, theirs = socket.socketpair()
            self._ready = threading.Event()
            try:
                self._process = subprocess.Popen(
                    [*self._command, str(theirs.fileno()), *self._preload], pass_fds=[theirs.fileno()],
                    env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
            except OSError as error:
                ours.close()
                raise ConversionFailed("toolchain_broken", f"the toolchain {self.name} cannot be started: {error}",
                                       "install it again (make toolchains)") from error
            finally:
                theirs.close()
            self._link = ours
            threading.Thread(target=self._listen, args=(ours, self._process, self._ready), daemon=True,
                             name=f"toolhost-{self.name}").start()

    def close(self) -> None:
        """End the host and whatever it runs."""
        with self._lock:
            if self._link is not None:
                with suppress(OSError):
                    self._link.shutdown(socket.SHUT_RDWR)
            if self._process is not None:
                try:
                    self._process.wait(5.0)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()

    def run(self, entry: str, folder: Path, job: dict[str, Any], limits: StageLimits, control: TaskControl,
            on_progress: Callable[[float, str], None] = lambda percent, text: None) -> StageRun:
        """Run `entry` ("module:function") on `job` in `folder`, which is the stage's own.

        Raises:
            ConversionFailed: the stage failed, crashed, or ran into a limit; with the end of its log.
            Interrupted: `control` wanted it ended (its group is gone).
        """
        (folder / "job.json").write_text(json.dumps(job))
        number, child = next(self._ids), _Child()
        self._children[number] = child
        try:
            self._send({"id": number, "entry": entry, "dir": str(folder), "limits": {
                "RLIMIT_DATA": limits.memory_bytes, "RLIMIT_FSIZE": limits.disk_bytes,
                "RLIMIT_CPU": int(limits.time_s * (os.cpu_count() or 1)) + 1}})
            watch = _Watch(child, folder, limits, control, on_progress)
            watch.until_exit()
            return watch.result()
        finally:
            self._children.pop(number, None)
            if child.pid:
                groups.kill_members(child.pid)  # whatever outlived the stage

    def _send(self, message: dict[str, Any]) -> None:
        """Raises `ConversionFailed` where the toolchain itself cannot start."""
        for attempt in (1, 2):
            self.start()
            if not self._ready.wait(START_TIMEOUT_S) or self._link is None:
                raise ConversionFailed("toolchain_broken", f"the toolchain {self.name} does not start",
                                       "see the worker's log; install it again (make toolchains)")
            try:
                with self._lock:
                    self._link.sendall(json.dumps(message).encode() + b"\n")
                return
            except OSError:
                if attempt == 2:
                    raise ConversionFailed("toolchain_broken", f"the toolchain {self.name} keeps dying") from None

    def _listen(self, link: socket.socket, process: subprocess.Popen[bytes], ready: threading.Event) -> None:
        with link.makefile("rb") as lines:
            try:
                for line in lines:
                    message = json.loads(line)
                    if message["event"] == "ready":
                        log.info("toolchain %s is warm after %s s", self.name, message["seconds"])
                        ready.set()
                    elif child := self._children.get(message["id"]):
                        if message["event"] == "started":
                            child.pid = message["pid"]
                        child.events.put(message)
            except OSError:
                pass
        process.wait()
        with self._lock:
            if self._link is link:
                self._link = None
            link.close()
        ready.set()  # whoever waits for it learns that it is gone
        for child in list(self._children.values()):
            child.events.put({"event": "exited", "code": None, "signal": signal.SIGKILL, "peak_memory_bytes": 0})


class _Watch:
    """One running child: its limits, its progress, and what `control` wants of it."""

    def __init__(self, child: _Child, folder: Path, limits: StageLimits, control: TaskControl,
                 on_progress: Callable[[float, str], None]) -> None:
        self._child, self._folder, self._limits, self._control = child, folder, limits, control
        self._on_progress = on_progress
        self._started = time.monotonic()
        self._ran_s = 0.0  # without frozen time
        self._frozen_since: float | None = None
        self._peak_bytes = 0
        self._broken: ConversionFailed | None = None
        self._interrupted = False
        self._exit: dict[str, Any] = {}

    def until_exit(self) -> None:
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
            if self._child.pid and not self._exit:
                self._obey()
                self._look_at_limits()

    def _obey(self) -> None:
        wanted = self._control.wanted
        if wanted is Wanted.PAUSE and self._frozen_since is None:
            groups.signal_members(self._child.pid, signal.SIGSTOP)
            self._frozen_since = time.monotonic()
        elif wanted is Wanted.RUN and self._frozen_since is not None:
            groups.signal_members(self._child.pid, signal.SIGCONT)
            self._frozen_since = None
        held_s = 0.0 if self._frozen_since is None else time.monotonic() - self._frozen_since
        if wanted is Wanted.STOP or held_s > self._limits.hold_s or self._control.give_up:
            self._interrupted = True
            groups.kill_members(self._child.pid)

    def _look_at_limits(self) -> None:
        if self._broken or self._interrupted:
            return
        resident = groups.resident_bytes(self._child.pid)
        self._peak_bytes = max(self._peak_bytes, resident)
        if self._ran_s > self._limits.time_s:
            self._broken = ConversionFailed("timeout", f"the stage ran longer than {self._limits.time_s:.0f} s",
                                            "raise limits.stage_time_s, or send a smaller model")
        elif resident > self._limits.memory_bytes:
            self._broken = ConversionFailed(
                "out_of_memory", f"the stage used more than {self._limits.memory_bytes >> 20} MiB",
                "raise limits.stage_memory_bytes, or send a smaller model or shape")
        elif _size_bytes(self._folder) > self._limits.disk_bytes:
            self._broken = ConversionFailed("disk_full",
                                            f"the stage wrote more than {self._limits.disk_bytes >> 20} MiB")
        if self._broken:
            groups.kill_members(self._child.pid)

    def result(self) -> StageRun:
        """What came of it. Success is a whole result, not an exit code."""
        if self._interrupted:
            raise Interrupted
        tail = read_tail(self._folder / "log.txt")
        path = self._folder / "result.json"
        if self._broken is None and path.exists():
            result = json.loads(path.read_text())
            if "facts" in result:
                return StageRun(result["facts"], round(self._ran_s, 3),
                                max(self._peak_bytes, self._exit["peak_memory_bytes"]))
            error = result["error"]
            self._broken = ConversionFailed(error["code"], error["message"], error.get("hint") or "")
            self._broken.vendor_code = error.get("vendor_code")
        if self._broken is None:
            self._broken = _died(self._exit)
        self._broken.log_tail = tail
        raise self._broken


def _died(event: dict[str, Any]) -> ConversionFailed:
    """The child ended without a result: by which signal, or with which code."""
    number = event["signal"]
    if number == signal.SIGXCPU:
        return ConversionFailed("timeout", "the stage used up its CPU time", "raise limits.stage_time_s")
    if number == signal.SIGXFSZ:
        return ConversionFailed("disk_full", "the stage wrote a file above its limit")
    if number == signal.SIGKILL:
        return ConversionFailed("killed", "the stage was killed from outside",
                                "most often the machine ran out of memory: give it more, or fewer slots")
    if number is not None:
        return ConversionFailed("stage_crashed", f"the tool crashed with {signal.Signals(number).name}",
                                "the log shows the last step; a crash is the tool's own fault")
    return ConversionFailed("stage_crashed", f"the tool ended with code {event['code']} and without a result")


def _size_bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


def read_tail(path: Path, limit_bytes: int = LOG_TAIL_BYTES) -> str:
    """The end of a log, from a line's beginning; "" where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit_bytes))
            data = file.read()
    except FileNotFoundError:
        return ""
    text = data.decode(errors="replace").replace("\r", "\n")
    return text if size <= limit_bytes else text.partition("\n")[2]


def clean_environment(passed_on: tuple[str, ...]) -> dict[str, str]:
    """The environment of a toolchain: an allowlist, so no credential can be in it."""
    return {name: os.environ[name] for name in (*PASSED_ON, *passed_on) if name in os.environ}
