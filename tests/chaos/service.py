"""The processes of one run: a gateway and three workers, each reaching its servers through proxies of its own."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from infra.servers.base import free_port
from tests.chaos.proxy import Proxies, Proxy
from tests.chaos.scenario import WORKERS
from tests.chaos.servers import port_of
from tests.chaos.stages import COUNTER
from tests.fixtures.disks import mount, unmount
from tests.fixtures.services import processes_that_mention
from worker.toolchains import ROOT

GATEWAY = WORKERS  # its number among the victims
STOP_S = 60.0
DIE_S = 10.0  # what a killed worker leaves ends by itself, soon
DISK_BYTES = 64 << 20  # of each worker, for its work and its cache
# Everything is short, so that a run is; a lease is five beats, as in production it is fifteen.
SETTINGS = {"LEASE_S": "1.0", "BEAT_S": "0.2", "SWEEP_S": "0.5", "RETRY_DELAY_S": "0.1", "HOLD_S": "0.5",
            "GRACE_S": "0.5", "PREFLIGHT": "false", "SLOTS": "2", "MAX_RETRIES": "6", "TOOLCHAIN_ENV": COUNTER}


@dataclass
class Service:
    """`urls` name the servers; with `proxies` each process gets its own way there. Buckets begin with `name`."""

    folder: Path
    name: str
    urls: dict[str, str]
    proxies: Proxies | None = None
    mutant: str | None = None
    ways: list[dict[str, Proxy]] = field(default_factory=list)
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    killed: set[int] = field(default_factory=set)  # process ids
    exits: list[str] = field(default_factory=list)  # of processes that should have ended well
    logs_from: dict[int, int] = field(default_factory=dict)  # where a process's own lines begin in its log

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.journal.touch()  # faults read it before anybody has written
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        if self.proxies:
            self.ways = [{kind: self.proxies.open(port_of(url)) for kind, url in self.urls.items()}
                         for _ in range(WORKERS + 1)]
        # Only root gets disks that can be filled. The same faults are drawn without: then these do nothing.
        self.disks = [disk for disk in map(self.disk, range(WORKERS)) if not mount(disk, DISK_BYTES)]

    @property
    def counter(self) -> Path:
        return self.folder / "counter"

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def buckets(self) -> tuple[str, str, str]:
        """Of the inputs, the results, and the cache."""
        return f"{self.name}-in", f"{self.name}-results", f"{self.name}-cache"

    @property
    def unwritable(self) -> str:
        """An object, below which nothing can be written."""
        return f"{self.name}-in/file"

    def disk(self, number: int) -> Path:
        """Where a worker keeps its files."""
        return self.folder / "disks" / self.name_of(number)

    def start(self, number: int) -> None:
        """Start a worker or the gateway, unless it runs."""
        if number in self.processes and self.processes[number].poll() is None:
            return
        name = self.name_of(number)
        arguments = ["gateway", "--port", str(self.port)] if number == GATEWAY else ["worker"]
        if self.mutant:
            arguments += ["--mutant", self.mutant]
        with self._log(number).open("ab") as log:
            self.logs_from[number] = log.tell()
            self.processes[number] = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.process", *arguments], env=self._environment(number, name),
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    @staticmethod
    def name_of(number: int) -> str:
        return "gateway" if number == GATEWAY else f"worker-{number}"

    def _log(self, number: int) -> Path:
        return self.folder / f"{self.name_of(number)}.log"

    def is_ready(self, number: int) -> bool:
        """Whether it serves: from then on it handles SIGTERM."""
        mark = b"listening" if number == GATEWAY else b'"ready"'
        return mark in self._log(number).read_bytes()[self.logs_from[number]:]

    def _environment(self, number: int, name: str) -> dict[str, str]:
        _, results, cache = self.buckets
        settings = SETTINGS | {
            "RESULTS_BUCKET": results, "CACHE_BUCKET": cache, "WORK_DIR": str(self.disk(number) / "work"),
            "CACHE_DIR": str(self.disk(number) / "cache")}
        for kind, url in self.urls.items():
            way = self.ways[number].get(kind) if self.ways else None
            settings[f"{kind.upper()}_URL"] = url.replace(f":{port_of(url)}", f":{way.port}") if way else url
        kept = {variable: os.environ[variable] for variable in ("PATH", "HOME", "LANG") if variable in os.environ}
        return kept | {f"MODEL_CONVERT_{key}": value for key, value in settings.items()} | {
            COUNTER: str(self.counter), "CHAOS_JOURNAL": str(self.journal), "CHAOS_NAME": name}

    def signal(self, number: int, what: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.processes[number].send_signal(what)

    def kill(self, number: int) -> None:
        """SIGKILL; the gateway's own children too, as when a machine dies."""
        process = self.processes[number]
        self.killed.add(process.pid)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, number: int) -> None:
        """SIGTERM, as a rolling deploy does; one that does not end well in time is told of in `exits`."""
        was_ready = self.is_ready(number)
        self.signal(number, signal.SIGTERM)
        self._wait_for_end(number, was_ready)

    def _wait_for_end(self, number: int, was_ready: bool) -> None:
        try:
            code: object = self.processes[number].wait(STOP_S)
        except subprocess.TimeoutExpired:
            code = f"no end within {STOP_S:g} s"
            self.kill(number)
        if code != 0 and was_ready:
            self.exits.append(f"the end of process {number} after SIGTERM: {code}")

    def descendants(self, number: int) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.processes[number].pid).children(recursive=True)
        return []

    def stage_processes(self) -> list[str]:
        """What still runs below the toolhosts of living workers."""
        found = []
        for number in range(WORKERS):
            for process in self.descendants(number):
                with suppress(psutil.NoSuchProcess):
                    if process.ppid() != self.processes[number].pid:
                        found.append(f"process {process.pid} of worker {number}: {' '.join(process.cmdline())}")
        return found

    def directories(self, depth: str) -> list[str]:
        """What is left in the work directories, at `*` (of workers) or `*/*` (of their tasks)."""
        wanted = Path("*", "work", depth)
        return [str(path.relative_to(self.folder)) for path in (self.folder / "disks").glob(str(wanted))
                if not path.name.endswith(".lock")]

    def end(self) -> list[str]:
        """Stop everything; what was left behind then."""
        for number in self.processes:
            self.signal(number, signal.SIGCONT)
            self.signal(number, signal.SIGTERM)
        for number in self.processes:
            self._wait_for_end(number, was_ready=True)
        for way in self.ways:
            for proxy in way.values():
                proxy.close()
        deadline = time.monotonic() + DIE_S
        while (living := processes_that_mention(str(self.folder))) and time.monotonic() < deadline:
            time.sleep(0.1)
        left = [*self.exits, *self.directories("*"), *living]
        for disk in self.disks:
            unmount(disk)
        return left
