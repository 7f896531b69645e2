"""The product itself, as `make serve` and `make up` run it: its gateway and a worker, in either profile."""
from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psutil
import urllib3

from infra.client import Client
from infra.models import fetch_models
from infra.servers.base import free_port, spawn, wait_until
from infra.toolchains import install
from shared.documents import TERMINAL, Status, Task
from shared.files import open_files
from shared.settings import get_settings
from shared.store import Store, open_store
from tests.bench.models import INTEL, object_path
from tests.bench.servers import Servers
from worker.plan import get_plans
from worker.toolchains import find_toolchain

KEPT = "MODEL_CONVERT_TOOLCHAINS_DIR"
STORE_TIMEOUT_S = 10.0


def bare_environment() -> dict[str, str]:
    """Ours without any of the product's settings, so that the defaults are measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MODEL_CONVERT_") or name == KEPT}


@dataclass(frozen=True)
class Programs:
    """Modules that `python -m` runs: the product's own, or a test's around the product."""

    gateway: str = "infra.gateway"
    worker: str = "worker"


PRODUCT = Programs()


@dataclass
class Service:
    """One profile with data of its own; leave it by `with`, then nothing of it runs any more."""

    profile: str
    folder: Path
    environment: dict[str, str]
    platforms: Sequence[str]
    programs: Programs
    wanted_port: int | None = None  # of the gateway; None is any
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    gateway: subprocess.Popen[bytes] | None = None  # once `client` or `gateway_port` was asked for

    def __enter__(self) -> Service:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if "store" in self.__dict__:
            self.store.close()
        stop(self.processes)
        if error is not None:
            for log in sorted(self.folder.glob("*.log")):
                error.add_note(log_tail(log))

    @functools.cached_property
    def store(self) -> Store:
        return open_store(self.environment["MODEL_CONVERT_STORE_URL"], STORE_TIMEOUT_S)

    @functools.cached_property
    def client(self) -> Client:
        """Of the gateway, which the first use starts."""
        return Client(f"http://127.0.0.1:{self.gateway_port}")

    @functools.cached_property
    def gateway_port(self) -> int:
        """Raises `CannotStart` where the gateway does not become healthy."""
        port = self.wanted_port or free_port()
        module = self.programs.gateway
        self.gateway = self._start(module, "--host", "127.0.0.1", "--port", str(port))
        wait_until(lambda: answers(port, "/health"), self.gateway, "gateway", self._log_path(module))
        return port

    def start_worker(self) -> subprocess.Popen[bytes]:
        """A worker whose toolchains are warm when this returns.

        Raises:
            CannotStart: it ended, or took longer than a minute.
        """
        process = self._start(self.programs.worker)
        log = self._log_path(self.programs.worker)
        toolchains = 1 + len(self.platforms)  # the shared stages' and each target's own
        wait_until(lambda: log.read_bytes().count(b"is warm") >= toolchains, process, "worker", log)
        time.sleep(1.0)  # the hosts' imports are done; what they and the worker still tidy up is no part of a row
        return process

    def upload(self, *models: str) -> None:
        """To where `models.request_for` lets a task find them."""
        files = open_files(self.environment["MODEL_CONVERT_FILES_URL"], STORE_TIMEOUT_S)
        for model in models:
            files.upload(fetch_models()[model], object_path(model))
        files.close()

    def wait_for(self, task_ids: Sequence[str], timeout_s: float, poll_s: float = 0.2) -> list[Task]:
        """The documents of these tasks, all completed. Looks seldom, and at one unfinished task only: what is measured
        are the times that the documents tell, and on the same cores.

        Raises:
            RuntimeError: one failed, or they took longer.
        """
        deadline = time.monotonic() + timeout_s
        tasks: dict[str, Task] = {}
        for task_id in task_ids:
            while (task := self.store.get(task_id)) is None or task.status not in TERMINAL:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.profile}: the tasks took longer than {timeout_s} s")
                time.sleep(poll_s)
            tasks[task_id] = task
        failed = [task for task in tasks.values() if task.status is not Status.COMPLETED]
        if failed:
            raise RuntimeError(f"{self.profile}: {failed[0].error}")
        return [tasks[task_id] for task_id in task_ids]

    def cpu_s(self) -> float:
        """What the gateway and the worker have used so far, with all that they started."""
        return tree_cpu_s([process.pid for process in self.processes])

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        process = spawn([sys.executable, "-m", module, *arguments], self._log_path(module), self.environment)
        self.processes.append(process)
        return process

    def _log_path(self, module: str) -> Path:
        return self.folder / f"{module}.log"


def open_service(profile: str, folder: Path, servers: Servers, *, platforms: Sequence[str] = (INTEL.platform,),
                 programs: Programs = PRODUCT, settings: Mapping[str, str] | None = None,
                 gateway_port: int | None = None) -> Service:
    """The profile `embedded` or `service`, empty, its data below `folder`; nothing of it runs yet.

    Its worker serves, and warms, `platforms` alone, whatever else is installed. `settings` are more of those that shall
    not be the defaults.
    """
    folder.mkdir(parents=True)
    own = {"MODEL_CONVERT_CACHE_DIR": str(folder / "stages"), "MODEL_CONVERT_WORK_DIR": str(folder / "work"),
           "MODEL_CONVERT_PLATFORMS": ",".join(platforms)}
    if profile == "service":
        own |= servers.fresh_urls()
    else:
        own |= {"MODEL_CONVERT_STORE_URL": f"sqlite:{folder / 'tasks.db'}", "MODEL_CONVERT_QUEUE_URL": "poll:",
                "MODEL_CONVERT_FILES_URL": f"file:{folder / 'buckets'}"}
    return Service(profile, folder, bare_environment() | own | dict(settings or {}), platforms, programs,
                   gateway_port)


def install_toolchain(platform: str) -> Path:
    """Install a target's toolchain unless it is there; its interpreter."""
    environment, folder = get_plans()[platform].environment, get_settings().toolchains_dir
    install(environment, folder)
    return find_toolchain(environment, folder).interpreter


@contextmanager
def running(command: list[str | Path], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Another side's process, for as long as it is measured."""
    process = spawn(command, log, environment)
    try:
        yield process
    except BaseException as error:
        error.add_note(log_tail(log))
        raise
    finally:
        stop([process])


def log_tail(log: Path) -> str:
    return f"the end of {log.name}:\n{log.read_text(errors='replace')[-3000:]}"


def tree_cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds of these processes, and of all that they started, whether it has ended or not."""
    total = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += sum(member.cpu_times()[:4])
    return total


def answers(port: int, path: str = "/") -> bool:
    """Whether a server there answers GET with 200."""
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}{path}", retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def stop(processes: Sequence[subprocess.Popen[bytes]], timeout_s: float = 30.0) -> None:
    """SIGTERM to all, then SIGKILL to whose group still lives."""
    for process in processes:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
