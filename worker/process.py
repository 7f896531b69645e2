"""Runs a stage in a toolchain's interpreter: the worker's side of `worker/toolhost.py`.

One warm host an environment; it is started on first use and again after it died. Each stage is a child of it with a
session, a directory, limits and a log of its own, and no credentials in its environment.
"""
from __future__ import annotations

import itertools
import json
import logging
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from shared.errors import ConversionFailed
from worker import reasons, toolhost
from worker.control import TaskControl
from worker.process_trees import Group, find_started_in, kill
from worker.toolchains import ROOT
from worker.watch import Child, StageLimits, StageRun, Watch

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 120.0
START_ATTEMPTS = 3
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE")
# ONNX Runtime 1.32 opens a database below HOME and starts a thread at its import, unless told not to.
QUIET = {"ORT_DISABLE_TELEMETRY": "1"}
# glibc begins by handing every array of more than 128 KiB back to the kernel when it is freed, and has the next one's
# pages cleared anew. A stage makes thousands of them and ends after seconds: it keeps what it has, up to what glibc
# comes to by itself in time (mallopt(3)).
KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}


class _Host:
    """One process of a toolchain, from its start to its death."""

    def __init__(self, process: subprocess.Popen[bytes], link: socket.socket) -> None:
        self.process, self.link = process, link
        self.settled = threading.Event()  # warm, or gone
        self.gone = False
        self.children: dict[int, Child] = {}


class ToolHost:
    """A warm interpreter. `run` may be called from several threads at once; each call is one child."""

    def __init__(self, name: str, interpreter: Path, preload: tuple[str, ...], environment: dict[str, str]) -> None:
        self.name = name
        self._command = [str(interpreter), "-I", toolhost.__file__, str(ROOT)]
        self._preload = preload
        self._environment = environment
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._host: _Host | None = None

    @property
    def pid(self) -> int | None:
        return self._host.process.pid if self._host else None

    def start(self) -> None:
        """Start the host unless it runs; returns at once, `run` waits until it is warm.

        Raises:
            ConversionFailed: the interpreter cannot be executed.
        """
        self._ensure()

    def close(self) -> None:
        """End the host and whatever it runs."""
        with self._lock:
            host, self._host = self._host, None
        if host is None:
            return
        with suppress(OSError):
            host.link.shutdown(socket.SHUT_RDWR)
        try:
            host.process.wait(5.0)
        except subprocess.TimeoutExpired:
            host.process.kill()
            host.process.wait()

    def run(self, entry: str, folder: Path, job: dict[str, Any], limits: StageLimits, control: TaskControl,
            on_progress: Callable[[float, str], None] = lambda percent, text: None) -> StageRun:
        """Run `entry` ("module:function") on `job` in `folder`, which is the stage's own.

        Raises:
            ConversionFailed: the stage failed, crashed, or ran into a limit; with the end of its log.
            Interrupted: `control` wanted it ended (its group is gone).
        """
        (folder / "result.json").unlink(missing_ok=True)
        (folder / "job.json").write_text(json.dumps(job))
        child, number = Child(), next(self._ids)
        host = self._send(child, {"id": number, "entry": entry, "dir": str(folder), "limits": {
            "RLIMIT_DATA": limits.memory_bytes, "RLIMIT_FSIZE": limits.disk_bytes,
            "RLIMIT_CPU": int(limits.time_s * (os.cpu_count() or 1)) + 1}})
        try:
            watch = Watch(child, folder, limits, control, on_progress)
            watch.until_exit(on_hang=host.process.kill)
            return watch.result()
        finally:
            with self._lock:
                host.children.pop(number, None)
            if child.group is not None and (child.lost or not watch.exited):
                child.group.kill()  # with the host alive, it has killed what outlived the stage before it told the end
            if child.lost:
                kill(lambda: find_started_in(str(folder)))  # who left the session just before is in no tree any more

    def _ensure(self) -> _Host:
        with self._lock:
            if self._host is not None and not self._host.gone and self._host.process.poll() is None:
                return self._host
            ours, theirs = socket.socketpair()
            try:
                process = subprocess.Popen(
                    [*self._command, str(theirs.fileno()), *self._preload], pass_fds=[theirs.fileno()],
                    env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
            except OSError as error:
                ours.close()
                raise ConversionFailed(reasons.CANNOT_START(name=self.name, said=error.strerror)) from error
            finally:
                theirs.close()
            self._host = host = _Host(process, ours)
            threading.Thread(target=self._listen, args=(host,), daemon=True, name=f"toolhost-{self.name}").start()
            return host

    def _send(self, child: Child, message: dict[str, Any]) -> _Host:
        """Hand a job to a warm host; from then on `child` hears of it, the host's death included.

        Raises:
            ConversionFailed: the toolchain itself does not start.
        """
        for _ in range(START_ATTEMPTS):
            host = self._ensure()
            if not host.settled.wait(START_TIMEOUT_S):
                host.process.kill()
                break
            with self._lock, suppress(OSError):
                if not host.gone:
                    host.link.sendall(json.dumps(message).encode() + b"\n")
                    host.children[message["id"]] = child
                    return host
            host.process.kill()  # it is ending, or deaf
            host.process.wait()
        raise ConversionFailed(reasons.DOES_NOT_START(name=self.name))

    def _listen(self, host: _Host) -> None:
        try:
            with host.link.makefile("rb") as lines:
                for line in lines:
                    self._hear(host, json.loads(line))
        except OSError:
            pass  # the same as its end
        finally:
            host.process.wait()
            with self._lock:
                host.gone = True
                lost = list(host.children.values())
                host.link.close()
            host.settled.set()
            for child in lost:
                child.lose()

    def _hear(self, host: _Host, message: dict[str, Any]) -> None:
        if message["event"] == "ready":
            logger.info("toolchain %s is warm after %s s", self.name, message["seconds"])
            host.settled.set()
            return
        with self._lock:  # a job's first event may come before `_send` has noted its child
            child = host.children.get(message["id"])
        if child is None:
            return
        if message["event"] == "started":
            child.group = Group(message["pid"])
        child.events.put(message)


def clean_environment(passed_on: tuple[str, ...]) -> dict[str, str]:
    """The environment of a toolchain: an allowlist, so no credential can be in it; and what `QUIET` and
    `KEEP_FREED_MEMORY` say."""
    allowed = {name: os.environ[name] for name in (*PASSED_ON, *passed_on) if name in os.environ}
    return QUIET | KEEP_FREED_MEMORY | allowed
