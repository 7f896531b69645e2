"""`python -m worker` with the real toolchains: real conversions, a real death in a real stage."""
from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.documents import Status, Task
from shared.settings import Settings, get_settings
from tests.fixtures.common import missing
from tests.integration.worker_kit import (
    TAKEOVER_S,
    TARGET,
    WAIT_S,
    Bench,
    WorkerProcess,
    alive,
    make_settings,
    wait_until,
)
from tests.models import convolution
from worker.main import served_plans
from worker.plan import CORE, get_plans

PLAN = get_plans()[TARGET.name]
STAGE_NAMES = [stage.name for stage in PLAN.stages_for({"precision": "fp16"})]
Start = Callable[..., WorkerProcess]
SOON_S = 40.0  # of which the lease, the looks and the delay around it are 5 s at most


@pytest.fixture(autouse=True)
def installed() -> None:
    if PLAN.platform not in served_plans(get_settings())[0]:
        missing("the toolchain", "run: make toolchains")


def settings_of(folder: Path, **changes: Any) -> Settings:
    return make_settings(folder, grace_s=60.0, slots=2, platforms=(PLAN.platform,),
                         toolchains_dir=get_settings().toolchains_dir, **changes)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, {})


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[WorkerProcess] = []

    def start(**changes: Any) -> WorkerProcess:
        workers.append(WorkerProcess(settings_of(tmp_path, **changes), module="worker").wait_ready())
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.is_running():
            worker.terminate()


def submit(bench: Bench, size: int, output: str) -> Task:
    bench.upload(f"in/{size}.onnx", convolution((1, 3, size, size)).SerializeToString())
    return bench.submit(input_path=f"in/{size}.onnx", output_path=f"out/{output}{TARGET.artefact_suffix}",
                        parameters=TARGET.parameters().model_dump(mode="json"))


def is_done(bench: Bench, *tasks: Task) -> bool:
    found = bench.store.get_many([task.id for task in tasks])
    return all(found[task.id].status in (Status.COMPLETED, Status.FAILED) for task in tasks)


def stage_runs(*workers: WorkerProcess) -> Counter[tuple[str, str]]:
    """How often each stage of each task was computed, by the workers' own logs."""
    lines = [json.loads(line) for worker in workers for line in worker.log.read_text().splitlines()
             if line.startswith("{")]
    return Counter((line["task_id"], line["stage"]) for line in lines
                   if line["message"] == "stage finished" and not line["cached"])


def is_stopped(process: psutil.Process) -> bool:
    """Waits for it. False where the process had ended before."""
    wait_until(lambda: process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE))
    return process.status() == psutil.STATUS_STOPPED


def stop_in(bench: Bench, worker: WorkerProcess, task: Task, stage: str) -> psutil.Process:
    """Freeze the process of the task's stage, as soon as it is there; nobody but the test knows."""
    def find() -> psutil.Process | None:
        for child in worker.process.children(recursive=True):
            try:
                if f"{task.id}-" in child.cwd() and f"/{stage}/" in child.cwd():
                    child.suspend()
                    return child if is_stopped(child) else None
            except psutil.Error:
                continue
        return None
    return wait_until(find, longest_pause_s=0.002)


def test_two_workers_convert_forty_models_each_exactly_once_and_no_stage_twice(bench: Bench, start: Start) -> None:
    workers = [start(), start()]
    tasks = [submit(bench, 16 + number % 10, f"m{number}") for number in range(40)]
    wait_until(lambda: is_done(bench, *tasks), 240)
    done = list(bench.store.get_many([task.id for task in tasks]).values())
    assert [task.error for task in done] == [None] * 40
    assert {task.epoch for task in done} == {1}
    assert {tuple(record.name for record in task.stages) for task in done} == {tuple(STAGE_NAMES)}
    assert set(stage_runs(*workers).values()) == {1}
    claims = [worker.log.read_text().count('"message": "claimed"') for worker in workers]
    assert sum(claims) == 40
    assert min(claims) > 0
    for task in done:
        assert task.result.accuracy
        assert all(bench.content(path) for path in task.result.files)
    by_model = {(task.input_path, task.result.sha256) for task in done}
    assert len(by_model) == 10  # equal models, equal artefacts; different models, different ones


def test_a_worker_killed_in_mid_stage_is_replaced_within_the_lease_and_only_that_stage_runs_again(
        bench: Bench, start: Start) -> None:
    victim = start()
    task = submit(bench, 40, "killed")
    frozen = stop_in(bench, victim, task, "compile")
    before = STAGE_NAMES[:STAGE_NAMES.index("compile")]
    wait_until(lambda: [record.name for record in bench.store.get(task.id).stages] == before)
    left_behind = victim.descendants()
    assert frozen.pid in left_behind
    second = start(lease_s=TAKEOVER_S)
    victim.kill()
    killed_at = time.monotonic()
    wait_until(lambda: not alive(left_behind))
    wait_until(lambda: bench.store.get(task.id).owner not in (None, bench_owner(victim)))
    assert time.monotonic() - killed_at < SOON_S
    wait_until(lambda: is_done(bench, task))
    done = bench.store.get(task.id)
    assert (done.status, done.epoch) == (Status.COMPLETED, 2)
    assert {stage for _, stage in stage_runs(second)} == {"compile", "verify", "publish"}
    assert set(stage_runs(victim, second).values()) == {1}


def bench_owner(worker: WorkerProcess) -> str:
    return next(json.loads(line)["worker"] for line in worker.log.read_text().splitlines() if line.startswith("{"))


def test_sigterm_in_mid_stage_drains_and_another_worker_goes_on(bench: Bench, start: Start) -> None:
    worker = start()
    task = submit(bench, 41, "drained")
    frozen = stop_in(bench, worker, task, "compile")
    worker.process.send_signal(signal.SIGTERM)
    time.sleep(5.0)  # it looks for that once a second
    frozen.resume()
    assert worker.process.wait(WAIT_S) == 0
    released = bench.store.get(task.id)
    assert (released.status, released.owner, released.retries) == (Status.RUNNING, None, 0)
    assert released.stages[-1].name == "compile"
    second = start()
    wait_until(lambda: is_done(bench, task))
    assert set(stage_runs(worker, second).values()) == {1}


def test_a_second_identical_conversion_takes_its_stages_from_the_cache_and_says_so(bench: Bench, start: Start,
                                                                                   tmp_path: Path) -> None:
    start()
    first = submit(bench, 42, "first")
    wait_until(lambda: is_done(bench, first))
    start(cache_dir=tmp_path / "other-cache")
    for number in range(4):  # on either machine
        again = submit(bench, 42, f"again{number}")
        wait_until(lambda again=again: is_done(bench, again))
        records = bench.store.get(again.id).stages
        # A new upload is another object with the same bytes: it is fetched, and all that follows is known.
        assert [r.cached for r in records if r.name not in ("fetch", "publish")] == [True] * (len(STAGE_NAMES) - 2)
    assert len({bench.store.get(first.id).result.sha256, bench.store.get(again.id).result.sha256}) == 1


def test_a_host_killed_in_mid_stage_hurts_no_other_task(bench: Bench, start: Start) -> None:
    worker = start()
    task = submit(bench, 43, "host-killed")
    frozen = stop_in(bench, worker, task, "compile")
    other = submit(bench, 44, "other")
    os.kill(frozen.ppid(), signal.SIGKILL)
    wait_until(lambda: is_done(bench, task, other))
    assert [bench.store.get(each.id).error for each in (task, other)] == [None, None]
    assert {bench.store.get(each.id).epoch for each in (task, other)} == {1}


def test_no_stage_but_those_that_move_objects_runs_inside_the_worker() -> None:
    inside = {stage.entry.partition(":")[0] for plan in get_plans().values() for stage in plan.stages
              if stage.environment == CORE}
    assert inside == {f"worker.stages.{name}" for name in ("fetch", "side_files", "publish")}
