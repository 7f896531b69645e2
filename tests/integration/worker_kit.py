"""What the worker's tests are made of: real stores, files and toolhosts in a temporary folder, and a small plan."""
from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from shared import transitions
from shared.documents import Task, new_task_id
from shared.errors import Unavailable
from shared.files import FileInfo
from shared.files.local import LocalFiles
from shared.platforms import get_platforms
from shared.settings import Settings
from shared.store import Store
from shared.store.sqlite import SqliteStore
from tests.fixtures.toolchains import own_toolchain
from worker.cache import StageCache
from worker.control import TaskControl
from worker.lease import Lease
from worker.log_sharer import LogSharer
from worker.plan import Environment, Plan, Stage
from worker.process import ToolHost, clean_environment
from worker.runner import TaskRunner
from worker.single_flight import SingleFlight
from worker.stages.common import FETCH, ONNX, PUBLISH
from worker.toolchains import ROOT
from worker.tools import Tools
from worker.watch import StageLimits

TARGET = get_platforms()["intel"]
TOY = Environment("toy", "worker/stages/requirements.lock", preload=(), tools=("onnx",))
_ENTRY = "tests.integration.toy_stages:"
_TELLS = ("counter", "gates")

PLAN = Plan(TARGET.name, TOY, (
    FETCH,
    Stage("prepare", _ENTRY + "prepare", TOY.name, inputs=("fetch",), parameters=_TELLS, common=True),
    Stage("compile", _ENTRY + "compile_model", TOY.name, inputs=("prepare",), parameters=(*_TELLS, "suffixes")),
    Stage("verify", _ENTRY + "verify", TOY.name, inputs=("compile",), parameters=(*_TELLS, "reject")),
    PUBLISH,
))
STAGE_NAMES = [stage.name for stage in PLAN.stages]
COMPUTED = ["prepare", "compile", "verify"]
ONCE = dict.fromkeys(COMPUTED, 1)
WAIT_S = 120.0  # for what must happen; it costs nothing where it does
LIMITS = StageLimits(time_s=300.0, memory_bytes=4 << 30, disk_bytes=1 << 30)
TAKEOVER_S = 2.0  # the lease of a worker that is to free a dead one's tasks soon; it has none to lose meanwhile
# What a process needs so that its lines are measured too. A stage's process takes a tenth of a second of a core for it.
# Those of the suites that run many stages go without, since the suite of the toolhost reaches the same lines.
COVERAGE = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE")


def open_store(folder: Path) -> SqliteStore:
    return SqliteStore(str(folder / "tasks.db"), 30.0)


def make_task(**fields: Any) -> Task:
    now = time.time()
    return Task.model_validate({
        "id": new_task_id(), "task_type": TARGET.task_types[0], "platform": TARGET.name, "input_path": "in/model.onnx",
        "output_path": f"out/model{TARGET.artefact_suffix}", "queue_order": now, "created_at": now, "updated_at": now,
        **fields})


def claim(store: Store, task: Task, worker: str = "w1") -> Lease:
    claimed = store.update(task.id, transitions.claim(worker))
    assert claimed is not None
    return Lease(store, claimed, TaskControl(claimed))


def make_settings(folder: Path, **changes: Any) -> Settings:
    """The embedded profile in `folder`. The lease is so long that no worker loses it where the machine is busy."""
    return Settings(**{"store_url": f"sqlite:{folder / 'tasks.db'}", "files_url": f"file:{folder / 'buckets'}",
                       "work_dir": folder / "work", "cache_dir": folder / "cache", "beat_s": 0.2, "lease_s": 30.0,
                       "sweep_s": 0.5, "retry_delay_s": 0.1, **changes})


class LossyStore:
    """A real store behind a line that fails when told: `before` the next writes take place, or `after`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.before = self.after = self.reads = 0
        self.writes_seen = 0

    def update(self, task_id: str, change: transitions.Change) -> Task | None:
        self.writes_seen += 1
        if self.before:
            self.before -= 1
            raise Unavailable("store", "told to")
        answer = self._store.update(task_id, change)
        if self.after:
            self.after -= 1
            raise Unavailable("store", "told to")
        return answer

    def get(self, task_id: str, *, tenant: str | None = None) -> Task | None:
        if self.reads:
            self.reads -= 1
            raise Unavailable("store", "told to")
        return self._store.get(task_id, tenant=tenant)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Bench:
    """One machine's worth of a worker without its main loop: runs one claimed task at a time."""

    def __init__(self, folder: Path, hosts: dict[str, ToolHost], cache_dir: Path | None = None,
                 **settings: Any) -> None:
        self.folder = folder
        self.settings = make_settings(folder, **settings)
        self.files: Any = LocalFiles(folder / "buckets")  # or a FilesThat
        self.store: Any = open_store(folder)  # or one that a test breaks
        self.counter = folder / "counter"
        self.plan = PLAN  # or that of another version
        cache = StageCache(cache_dir or self.settings.cache_dir, self.settings.cache_bytes, self.files,
                           self.settings.cache_bucket)
        self.tools = Tools(settings=self.settings, files=self.files, cache=cache, hosts=hosts,
                           toolchains={TOY.name: own_toolchain(TOY)}, threads=1,
                           logs=LogSharer(self.files, self.settings, self.folder),
                           flights=SingleFlight(self.settings.cache_dir / "flights", self.settings.lease_s))

    def upload(self, path: str, data: bytes, **options: Any) -> None:
        source = self.folder / "upload"
        source.write_bytes(data)
        self.files.upload(source, path, **options)

    def content(self, path: str) -> bytes | None:
        target = self.folder / "download"
        if self.files.stat(path) is None:
            return None
        self.files.download(path, target, max_bytes=1 << 30)
        return target.read_bytes()

    def submit(self, **fields: Any) -> Task:
        task = make_task(**{"parameters": self.parameters(), **fields})
        self.store.insert(task)
        return task

    def parameters(self, **more: Any) -> dict[str, Any]:
        return {"counter": str(self.counter), "suffixes": [TARGET.artefact_suffix, *TARGET.also], **more}

    def run(self, task: Task, worker: str = "w1") -> Task | None:
        """Claim and run the task here; the document afterwards."""
        self.run_lease(claim(self.store, task, worker))
        return self.store.get(task.id)

    def run_lease(self, lease: Lease) -> None:
        folder = self.folder / "work" / f"{lease.task.id}-{lease.epoch}"
        TaskRunner(self.tools, self.plan, lease, folder).run()
        assert not folder.exists()

    def gated(self, stage: str, **more: Any) -> tuple[dict[str, Any], Path]:
        """Parameters of a task whose `stage` waits until the gate, a file, is there."""
        gate = self.folder / f"gate-{stage}"
        return self.parameters(gates={stage: str(gate)}, **more), gate

    def outputs(self) -> list[str]:
        return [info.path for info in self.files.find("out/")]

    def use_files(self, files: LocalFiles) -> None:
        """Let everything on this machine go through `files`."""
        self.files = self.tools.cache._files = files
        object.__setattr__(self.tools, "files", files)

    def runs(self) -> Counter[str]:
        """How often each toy stage was run, for any task."""
        lines = self.counter.read_text().splitlines() if self.counter.exists() else []
        return Counter(line.split()[0] for line in lines)


class Running:
    """A claimed task that runs in a thread, while the test does things to it."""

    def __init__(self, bench: Bench, task: Task, worker: str = "w1", lease: Lease | None = None) -> None:
        self.bench, self.task = bench, task
        self.lease = lease or claim(bench.store, task, worker)
        self.thread = threading.Thread(target=bench.run_lease, args=(self.lease,), daemon=True)
        self.thread.start()

    def at(self, stage: str) -> int:
        """Wait until the stage's process has begun; its pid."""
        def begun() -> int:
            text = self.bench.counter.read_text() if self.bench.counter.exists() else ""
            pids = [int(line.split()[1]) for line in text.splitlines() if line.split()[0] == stage]
            return pids[-1] if pids and text.endswith("\n") else 0
        return wait_until(begun)

    def change(self, change: transitions.Change) -> None:
        """As a client's action, whose doorbell reaches the worker."""
        assert self.bench.store.update(self.task.id, change) is not None
        self.lease.beat()

    def end(self) -> Task | None:
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        return self.bench.store.get(self.task.id)


class FilesThat(LocalFiles):
    """The real store; `on_upload(path)` is called before each upload, and may raise."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.on_upload: Callable[[str], None] = lambda path: None
        self.after_upload: Callable[[str], None] = lambda path: None

    def upload(self, source: Path, path: str, **options: Any) -> FileInfo:
        self.on_upload(path)
        info = super().upload(source, path, **options)
        self.after_upload(path)
        return info


@contextlib.contextmanager
def toolhosts() -> Iterator[dict[str, ToolHost]]:
    """Both environments' hosts, run by this interpreter."""
    hosts = {name: ToolHost(name, Path(sys.executable), (), clean_environment(())) for name in (ONNX.name, "toy")}
    try:
        yield hosts
    finally:
        for host in hosts.values():
            host.close()


def wait_until(what: Callable[[], Any], timeout_s: float = WAIT_S, longest_pause_s: float = 0.05) -> Any:
    """What `what()` answers as soon as it is true. It is asked ever more seldom, unless it is not true for long.

    Raises:
        AssertionError: not in time.
    """
    deadline, pause_s = time.monotonic() + timeout_s, 0.002
    while not (answer := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause_s)
        pause_s = min(1.2 * pause_s, longest_pause_s)
    return answer


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that still run (a zombie does not)."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


class WorkerProcess:
    """A real worker process; `module` is what `python -m` runs, out of the sources below `root`."""

    def __init__(self, settings: Settings, module: str = "tests.integration.toy_worker", root: Path = ROOT,
                 **environment: str) -> None:
        values = settings.model_dump(exclude_unset=True)
        env = {f"MODEL_CONVERT_{name.upper()}": ":".join(map(str, value)) if isinstance(value, tuple) else
               str(getattr(value, "get_secret_value", lambda value=value: value)()) for name, value in values.items()}
        kept = {name: os.environ[name] for name in ("PATH", "HOME", *COVERAGE) if name in os.environ}
        self.log = settings.work_dir.parent / f"worker-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = psutil.Popen([sys.executable, "-m", module], env=kept | env | environment, cwd=root,
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def wait_ready(self) -> WorkerProcess:
        wait_until(lambda: '"message": "ready"' in self.log.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        return self

    def descendants(self) -> list[int]:
        return [child.pid for child in self.process.children(recursive=True)]

    def terminate(self, timeout_s: float = WAIT_S) -> int:
        """Its exit code. Where it does not end in time, it is killed, and a `psutil.TimeoutExpired` raised."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except psutil.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
