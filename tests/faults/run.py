"""One service of real processes for one test: a gateway, workers with the toy plan, and what clients do to them."""
from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil
import urllib3

from infra.client import ApiError, Client
from infra.servers.base import free_port
from shared.documents import Status, Task
from shared.files import open_files
from shared.settings import Settings
from shared.store import open_store
from tests.faults.toy_plan import COMPUTED, PLAN
from tests.integration.toy_models import small_model
from tests.integration.worker_kit import TARGET, WAIT_S, WorkerProcess, alive, make_settings, wait_until
from worker.toolchains import ROOT

Answer = TypeVar("Answer")

MODEL = "models/model.onnx"
HANG_S = 20.0  # of what must not wait for a server that is away: that one is away until the test brings it back
MARK = "FAULTS_RUN"  # an environment variable that every process of a run has, stages and their children included


class Played(NamedTuple):
    """A stage's run said that it `begins` or `ends`, at a moment of the machine's clock."""

    tag: str
    stage: str
    what: str
    pid: int
    at: float


class Run:
    """Runs below `folder`. `settings` choose the profile; each process may have some of its own, as a URL that leads
    through a proxy. `store` and `files` are the test's own view, past all proxies."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        folder.mkdir()
        self.folder, self.settings = folder, make_settings(folder, slots=2, grace_s=60.0, dependency_timeout_s=10.0,
                                                           **settings)
        self.store = open_store(self.settings.store_url.get_secret_value(), 30.0)
        self.files = open_files(self.settings.files_url.get_secret_value(), 30.0)
        self.workers: list[WorkerProcess] = []
        self.gateways: list[WorkerProcess] = []
        self.task_ids: list[str] = []  # of tasks whose creation was answered with success
        self.tags: dict[str, str] = {}  # task id -> what its lines in the counter begin with
        self.clocks_agree = True
        self.answers_are_lost = False  # the store's; its owner may then record a stage twice
        self.killed = False  # and no worker has started since that would clear up
        self._counter = folder / "counter"
        self._numbers = itertools.count(1)
        self.client: Client | None = None
        self.upload(MODEL, small_model())

    # --- processes --------------------------------------------------------------------------------------------------

    def start_gateway(self, **settings: Any) -> WorkerProcess:
        port = free_port()
        gateway = self._spawn("tests.faults.toy_gateway", settings, FAULTS_PORT=str(port))
        self.gateways.append(gateway)
        self.client = Client(f"http://127.0.0.1:{port}", timeout_s=60.0)
        wait_until(lambda: self._answers() or gateway.process.poll() is not None)
        assert gateway.process.poll() is None, gateway.log.read_text()
        return gateway

    def start_worker(self, *, wait: bool = True, clock_shift_s: float = 0.0, root: Path = ROOT,
                     **settings: Any) -> WorkerProcess:
        """`root` holds the sources that it runs."""
        settings.get("work_dir", self.settings.work_dir).parent.mkdir(exist_ok=True)
        worker = self._spawn("tests.faults.toy_worker", settings, root, FAULTS_CLOCK_SHIFT_S=str(clock_shift_s))
        self.workers.append(worker)
        self.killed = self.killed and "work_dir" in settings
        return worker.wait_ready() if wait else worker

    def freeze(self, worker: WorkerProcess) -> None:
        """Until a SIGCONT, and not in the middle of a transaction: SQLite's lock stays with whoever sleeps."""
        kind, _, path = self.settings.store_url.get_secret_value().partition(":")
        worker.process.send_signal(signal.SIGSTOP)
        while kind == "sqlite" and not _can_write(path):
            worker.process.send_signal(signal.SIGCONT)
            time.sleep(0.01)
            worker.process.send_signal(signal.SIGSTOP)

    def kill(self, worker: WorkerProcess) -> None:
        worker.kill()
        self.killed = True

    def kill_gateway(self) -> None:
        """All processes of the latest at once."""
        _kill(self.gateways[-1])

    def _spawn(self, module: str, settings: dict[str, Any], root: Path = ROOT, **environment: str) -> WorkerProcess:
        own = self.settings.model_dump(exclude_unset=True) | settings | {"toolchain_env": (MARK,)}
        return WorkerProcess(Settings(**own), module, root, **{MARK: str(self.folder)}, **environment)

    def _answers(self) -> bool:
        with suppress(urllib3.exceptions.HTTPError):
            try:
                self.client.query_task("nobody")
            except ApiError as error:
                return error.status == 404
        return False

    def stop(self) -> None:
        """Workers give back what they still have; gateways have nothing to lose."""
        living = [worker for worker in self.workers if worker.process.poll() is None]
        for worker in living:
            for number in (signal.SIGCONT, signal.SIGTERM):
                worker.process.send_signal(number)
        for worker in living:
            try:
                worker.process.wait(WAIT_S)
            except psutil.TimeoutExpired:
                _kill(worker)
        for gateway in self.gateways:
            _kill(gateway)

    # --- what clients do --------------------------------------------------------------------------------------------

    def upload(self, path: str, data: bytes) -> None:
        source = self.folder / "upload"
        source.write_bytes(data)
        self.files.upload(source, path)

    def request(self, script: dict[str, dict[str, Any]], **fields: Any) -> dict[str, Any]:
        """The body of a request that creates a task."""
        whole = {stage: dict(script.get(stage, {})) for stage in COMPUTED}
        whole["compile"]["suffixes"] = [TARGET.artefact_suffix, *TARGET.also]
        tag = f"t{next(self._numbers)}"
        parameters = {"tag": tag, "counter": str(self._counter), "script": whole, "limits": fields.pop("limits", {})}
        return {"task_type": TARGET.task_types[0], "platform": PLAN.platform, "input_path": MODEL,
                "parameters": parameters, **fields}

    def create(self, fields: dict[str, Any] | None = None, **script: dict[str, Any]) -> str:
        """A task whose stages (`prepare=…`, `compile=…`, `verify=…`) do as they are told; its id."""
        return self.submit(self.request(script, **(fields or {})))

    def submit(self, request: dict[str, Any]) -> str:
        task_id = self.client.create_task(**request)
        self.adopt(task_id, request)
        return task_id

    def adopt(self, task_id: str, request: dict[str, Any]) -> None:
        """From now on the task must come to a good end."""
        if task_id not in self.tags:
            self.task_ids.append(task_id)
        self.tags[task_id] = request["parameters"]["tag"]

    def act(self, verb: str, task_id: str) -> int:
        """Pause, resume, cancel, retry or delete it; the answer's status (a delete that found nothing is 404)."""
        try:
            if verb == "delete":
                found = self.client.call("POST", "/tasks/batch-delete", {"task_ids": [task_id]})["results"][task_id]
                return 200 if found else 404
            self.client.call("POST", f"/tasks/{verb}", {"task_id": task_id})
            return 200
        except ApiError as error:
            return error.status

    # --- what a test sees -------------------------------------------------------------------------------------------

    def task(self, task_id: str) -> Task:
        task = self.store.get(task_id)
        assert task is not None, f"{task_id} is gone"
        return task

    def wait_for(self, *task_ids: str, status: Status = Status.COMPLETED, timeout_s: float = 180.0
                 ) -> list[Task]:
        """The tasks as soon as all of them have ended; they are to end so."""
        def ended() -> bool:
            found = self.store.get_many(list(task_ids))
            return all(found[i].status in (Status.COMPLETED, Status.FAILED) for i in task_ids)
        self._wait_until(ended, timeout_s)
        tasks = [self.task(task_id) for task_id in task_ids]
        assert {task.status for task in tasks} == {status}, [task.error for task in tasks]
        return tasks

    def played(self) -> list[Played]:
        lines = self._counter.read_text().splitlines() if self._counter.exists() else []
        return [Played(tag, stage, what, int(pid), float(at)) for tag, stage, what, pid, at in map(str.split, lines)]

    def runs(self, task_id: str) -> dict[str, int]:
        """How often each computed stage of the task was begun."""
        begun = [p.stage for p in self.played() if p.tag == self.tags[task_id] and p.what == "begins"]
        return {stage: begun.count(stage) for stage in COMPUTED}

    def pid_of(self, task_id: str, stage: str, run: int = 1) -> int:
        """The process of the stage's nth run, once it has begun."""
        def find() -> int:
            pids = [p.pid for p in self.played() if (p.tag, p.stage, p.what) == (self.tags[task_id], stage, "begins")]
            return pids[run - 1] if len(pids) >= run else 0
        return self._wait_until(find)

    def _wait_until(self, what: Callable[[], Answer], timeout_s: float = WAIT_S) -> Answer:
        """Like `wait_until`; tells what the tasks and the workers were doing meanwhile."""
        try:
            return wait_until(what, timeout_s)
        except AssertionError as error:
            tasks = [task.model_dump_json(include={"id", "status", "owner", "epoch", "stage", "waits_for", "error"})
                     for task_id in self.task_ids if (task := self.store.get(task_id))]
            logs = [line for worker in self.workers for line in worker.log.read_text().splitlines()[-12:]]
            raise AssertionError("\n".join([str(error), *tasks, *logs])) from error

    def gate(self, name: str = "gate") -> Path:
        return self.folder / name

    def events(self, task_id: str, kind: str) -> int:
        return sum(event.type == kind for event in self.store.events(task_id) or [])


def wait_gone(pids: list[int]) -> None:
    wait_until(lambda: not alive(pids))


def elapsed(action: Callable[[], Any]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _kill(server: WorkerProcess) -> None:
    """Its process group, which its toolhosts and stages are not in."""
    with suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def _can_write(path: str) -> bool:
    with closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True
