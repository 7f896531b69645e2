"""(g) How soon a pause, a resume and a cancel take effect, in both profiles; the bound is one second.

A worker with one slot runs a test's stand-in for a toolchain: a stage that burns CPU, and so does its grandchild, in a
session of its own, two processes without end. Each try, over HTTP: pause, let it lie, resume; another task with another
model comes to wait for the slot; cancel. That task's stage is the next try's.

Every figure is from the moment before the request was sent; `from_the_answer_ms` in the file is from its answer. What
the looks at the group's CPU time tell is late by up to `gap_before_the_look_ms`, here its greatest.

pause    to the last look (1 ms apart) that found more CPU time used, by any process of the stage's group, before the
         resume was sent; from there on, 0.3 s or more, all of them stood still
resume   to the first look at which each of the two that burn had used more CPU time than when the request was sent
cancel   to the first look at which no process of the group was there, not even a dead one;
         and to the beginning of the waiting task's first stage, by its own `started_at`
"""
from __future__ import annotations

import itertools
import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil

from shared.documents import Status
from shared.files import open_files
from tests.bench.context import Bench
from tests.bench.cpu_timeline import CpuTimeline, all_gone, all_grew, gap_before, last_growth, read_cpu_ns
from tests.bench.figures import Bound, Line, Series
from tests.bench.service import STORE_TIMEOUT_S, Programs, Service, open_service
from tests.faults.toy_plan import COMPUTED, PLAN
from tests.integration.toy_models import small_model
from tests.integration.worker_kit import TARGET

Answer = TypeVar("Answer")

PROFILES = ("embedded", "service")
BOUND_MS = Bound(1000.0)
PROGRAMS = Programs("tests.bench.toy_gateway", "tests.faults.toy_worker")
ONE_SLOT = {"MODEL_CONVERT_SLOTS": "1"}
STAGE = "compile"
MEMBERS, BURNERS = 3, 2  # the stage, its child, which only waits, and its grandchild
STILL_S = 0.3  # two burning processes and a scheduler that shares two cores: nobody waits for so long by chance
LOOK_S = 0.05
TIMEOUT_S = 20.0
QUANTILES = (("p50", 0.5), ("p99", 0.99))
MEASURED = {"pause": "pause to CPU still", "resume": "resume to CPU busy", "gone": "cancel to no process left",
            "slot": "cancel to the slot's next task"}


def run(bench: Bench) -> list[Line]:
    lines = []
    for profile in PROFILES:
        bench.tell(f"(g) {bench.sizes.control_tries} tries, {profile}")
        with open_service(profile, bench.folder / "control" / profile, bench.servers, platforms=(PLAN.platform,),
                          programs=PROGRAMS, settings=ONE_SLOT) as service:
            tries = Tries(service)
            tries.run(bench.sizes.control_tries)
        for name, what in MEASURED.items():
            taken = tries.taken[name]
            notes = {"gap_before_the_look_ms": max(tries.gaps_ms[name])} if name in tries.gaps_ms else {}
            for label, quantile in QUANTILES:
                answered = Series(tuple(t.from_answer_ms for t in taken), quantile)
                lines.append(Line("g", f"{what}, {profile}, {label}", "ms",
                                  Series(tuple(t.from_request_ms for t in taken), quantile), bound=BOUND_MS,
                                  notes=notes | {"from_the_answer_ms": answered.value}))
    return lines


class Taken(NamedTuple):
    """How long until an effect was seen; from the answer it may be less than nothing."""

    from_request_ms: float
    from_answer_ms: float


class Sent(NamedTuple):
    """A request's moments, by the monotonic clock; `clock_s` is what the wall clock shows more."""

    at: float
    answered_at: float
    clock_s: float

    def until(self, moment: float) -> Taken:
        return Taken((moment - self.at) * 1000, (moment - self.answered_at) * 1000)


@dataclass(frozen=True)
class Burning:
    """A task whose stage burns: `group` are all of the stage's processes, `burners` those that never rest."""

    task_id: str
    group: tuple[int, ...]
    burners: tuple[int, ...]


class Tries:
    """One service and its figures."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._worker = psutil.Process(service.start_worker().pid)
        self._counter = service.folder / "counter"
        self._numbers = itertools.count(1)
        self._tags: dict[str, str] = {}
        self.taken: dict[str, list[Taken]] = defaultdict(list)
        self.gaps_ms: dict[str, list[float]] = defaultdict(list)

    def run(self, tries: int) -> None:
        burning = self._wait_burning(self._create(self._next_request()))
        for _ in range(tries):
            burning = self._try(burning)
        self._send("cancel", burning.task_id)
        wait_for("no process left", lambda: not any(map(read_cpu_ns, burning.group)))

    def _try(self, burning: Burning) -> Burning:
        """The task that waited for the slot, once it burns."""
        request = self._next_request()
        with CpuTimeline(burning.group) as timeline:
            linger()
            paused = self._send("pause", burning.task_id)
            wait_for("CPU still", lambda: self._still_for_s(timeline, paused) >= STILL_S)
            linger()
            resumed = self._send("resume", burning.task_id)
            busy_at = wait_for("CPU busy", lambda: all_grew(timeline.samples, burning.burners, resumed.at))
            successor = self._create(request)
            linger()
            cancelled = self._send("cancel", burning.task_id)
            gone_at = wait_for("no process left", lambda: all_gone(timeline.samples))
        samples = timeline.samples
        still_at = last_growth(samples, paused.at, resumed.at)
        if still_at is None or resumed.at - still_at < STILL_S:
            raise RuntimeError("the stage went on by itself while it was paused, or was not running before")
        task = wait_for("the next task", lambda: self._started(successor))
        for name, sent, moment in (("pause", paused, still_at), ("resume", resumed, busy_at),
                                   ("gone", cancelled, gone_at)):
            self.taken[name].append(sent.until(moment))
            self.gaps_ms[name].append(gap_before(samples, moment) * 1000)
        self.taken["slot"].append(cancelled.until(task.started_at - cancelled.clock_s))
        next_burning = self._wait_burning(successor)
        self._check_clean(burning, next_burning)
        return next_burning

    def _send(self, verb: str, task_id: str) -> Sent:
        clock_s, at = time.time() - time.monotonic(), time.monotonic()
        self._service.client.call("POST", f"/tasks/{verb}", {"task_id": task_id})
        return Sent(at, time.monotonic(), clock_s)

    def _next_request(self) -> dict[str, Any]:
        """For a task whose stage burns, with a model that no task had before."""
        number = next(self._numbers)
        script: dict[str, dict[str, Any]] = {stage: {} for stage in COMPUTED} | {STAGE: {"burn": True}}
        return {"task_type": TARGET.task_types[0], "platform": PLAN.platform,
                "input_path": upload_model(self._service, number), "parameters": {
                    "tag": f"try-{number}", "counter": str(self._counter), "script": script, "limits": {}}}

    def _create(self, request: dict[str, Any]) -> str:
        task_id = self._service.client.create_task(**request)
        self._tags[task_id] = request["parameters"]["tag"]
        return task_id

    def _started(self, task_id: str) -> Any:
        task = self._service.store.get(task_id)
        return task if task is not None and task.started_at is not None else None

    def _still_for_s(self, timeline: CpuTimeline, paused: Sent) -> float:
        now = time.monotonic()
        return now - (last_growth(timeline.samples, paused.at, now) or now)

    def _wait_burning(self, task_id: str) -> Burning:
        """With the whole family there, and exactly those burning that shall: nobody is still starting."""
        def find() -> Burning | None:
            group = self._group(task_id)
            if len(group) != MEMBERS:
                return None
            before = [read_cpu_ns(pid) for pid in group]
            time.sleep(LOOK_S)
            burners = tuple(pid for pid, used in zip(group, before, strict=True) if read_cpu_ns(pid) != used)
            return Burning(task_id, group, burners) if len(burners) == BURNERS else None

        return wait_for("a burning stage", find)

    def _group(self, task_id: str) -> tuple[int, ...]:
        """The stage's process, as it has noted itself in the counter, and whatever descends from it."""
        lines = self._counter.read_text().splitlines() if self._counter.exists() else []
        pids = [int(line.split()[3]) for line in lines if line.startswith(f"{self._tags[task_id]} {STAGE} begins ")]
        try:
            return tuple(process.pid for pid in pids for process in (
                psutil.Process(pid), *psutil.Process(pid).children(recursive=True)))
        except psutil.NoSuchProcess:
            return ()

    def _check_clean(self, ended: Burning, now: Burning) -> None:
        """Of the cancelled task nothing is left, and below the worker's toolhosts is only the next one's stage."""
        task = self._service.store.get(ended.task_id)
        below = {process.pid for host in self._worker.children() for process in host.children(recursive=True)}
        if task is None or task.status is not Status.FAILED or task.owner is not None or below != set(now.group):
            raise RuntimeError(f"a try left something behind: {task}, processes {below}, expected {now.group}")


def upload_model(service: Service, number: int) -> str:
    """Where a task finds it."""
    path = f"models/{number}.onnx"
    source = Path(service.folder, "model.onnx")
    source.write_bytes(small_model(float(number)))
    files = open_files(service.environment["MODEL_CONVERT_FILES_URL"], STORE_TIMEOUT_S)
    try:
        files.upload(source, path)
    finally:
        files.close()
    return path


def linger() -> None:
    """To a random moment between two looks of whoever looks five times a second."""
    time.sleep(random.uniform(0.05, 0.3))


def wait_for(what: str, find: Callable[[], Answer | None]) -> Answer:
    """What `find` answers as soon as it is something.

    Raises:
        RuntimeError: not in time.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while not (answer := find()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {TIMEOUT_S} s")
        time.sleep(0.01)
    return answer
