"""Real worker processes on one store and one object store: who runs what, and what is left when they die."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared import transitions
from shared.documents import Status, Task
from tests.integration.toy_models import small_model
from tests.integration.worker_kit import (
    PLAN,
    STAGE_NAMES,
    TAKEOVER_S,
    WAIT_S,
    Bench,
    WorkerProcess,
    alive,
    make_settings,
    wait_until,
)
from worker.toolchains import ROOT

Start = Callable[..., WorkerProcess]
BEAT_S = 120.0
SELDOM = {"beat_s": BEAT_S, "lease_s": 3 * BEAT_S}  # what is heard soon then was not heard from an answer to a beat


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The client's side: uploads, submits, looks."""
    bench = Bench(tmp_path, {})
    bench.upload("in/model.onnx", small_model())
    return bench


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[WorkerProcess] = []

    def start(**changes: Any) -> WorkerProcess:
        changes = {"grace_s": 5.0, "slots": 2, **changes}
        workers.append(WorkerProcess(make_settings(tmp_path, **changes)).wait_ready())
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.is_running():
            worker.process.send_signal(signal.SIGCONT)
            worker.terminate()


def is_done(bench: Bench, *tasks: Task) -> bool:
    found = bench.store.get_many([task.id for task in tasks])
    return all(found[task.id].status in (Status.COMPLETED, Status.FAILED) for task in tasks)


def gated(bench: Bench, stage: str, name: str = "gate") -> tuple[Task, Path]:
    gate = bench.folder / name
    return bench.submit(parameters=bench.parameters(gates={stage: str(gate)})), gate


def pid_of(bench: Bench, stage: str, run: int = 1) -> int:
    """The process of a stage's nth run, once it has begun."""
    def find() -> int:
        lines = bench.counter.read_text().splitlines(keepends=True) if bench.counter.exists() else []
        pids = [int(line.split()[1]) for line in lines if line.endswith("\n") and line.split()[0] == stage]
        return pids[run - 1] if len(pids) >= run else 0
    return wait_until(find)


# --- many tasks -------------------------------------------------------------------------------------------------------


def test_two_workers_run_forty_tasks_each_exactly_once(bench: Bench, start: Start) -> None:
    tasks = [bench.submit(parameters=bench.parameters(reject=False, gates={"number": str(number)}),
                          output_path=f"out/{number}.xml") for number in range(40)]
    first, second = start(), start()
    wait_until(lambda: is_done(bench, *tasks))
    done = list(bench.store.get_many([task.id for task in tasks]).values())
    assert Counter(task.status for task in done) == {Status.COMPLETED: 40}
    assert {task.epoch for task in done} == {1}
    assert {tuple(record.name for record in task.stages) for task in done} == {tuple(STAGE_NAMES)}
    assert bench.runs() == {"prepare": 40, "compile": 40, "verify": 40}
    claims = [worker.log.read_text().count('"message": "claimed"') for worker in (first, second)]
    assert sum(claims) == 40
    assert min(claims) > 0


def test_equal_tasks_at_once_end_with_one_result_each(bench: Bench, start: Start) -> None:
    tasks = [bench.submit(output_path=f"out/{number}.xml") for number in range(6)]
    start()
    start()
    wait_until(lambda: is_done(bench, *tasks))
    contents = {bench.content(task.output_path) for task in tasks}
    assert len(contents) == 1
    later = bench.submit(output_path="out/later.xml")
    before = bench.runs()
    wait_until(lambda: is_done(bench, later))
    assert [record.cached for record in bench.store.get(later.id).stages] == [True] * 4 + [False]
    assert bench.runs() == before


# --- death and takeover -----------------------------------------------------------------------------------------------


def test_a_killed_workers_toolhosts_and_stages_vanish_and_another_repeats_only_that_stage(bench: Bench,
                                                                                          start: Start) -> None:
    task, gate = gated(bench, "compile")
    victim = start()
    pid = pid_of(bench, "compile")
    left_behind = victim.descendants()
    assert pid in left_behind
    victim.kill()
    wait_until(lambda: not alive(left_behind))
    gate.touch()
    start(lease_s=TAKEOVER_S)
    wait_until(lambda: is_done(bench, task))
    done = bench.store.get(task.id)
    assert (done.status, done.epoch) == (Status.COMPLETED, 2)
    assert bench.runs() == {"prepare": 1, "compile": 2, "verify": 1}


def test_a_killed_workers_folder_is_removed_by_the_next_and_a_living_ones_is_not(bench: Bench, start: Start) -> None:
    _, gate = gated(bench, "compile")
    victim = start()
    pid_of(bench, "compile")
    work = bench.settings.work_dir
    [folder] = [path for path in work.iterdir() if path.is_dir()]
    second = start()
    assert folder.exists()
    victim.kill()
    third = start()
    assert not folder.exists()
    assert len([path for path in work.iterdir() if path.is_dir()]) == 2
    gate.touch()
    assert second.terminate() == third.terminate() == 0
    assert [path for path in work.iterdir() if path.is_dir()] == []


def test_a_worker_stopped_past_its_lease_finds_its_task_lost_and_works_on(bench: Bench, start: Start) -> None:
    task, gate = gated(bench, "compile")
    sleeper = start()
    first = pid_of(bench, "compile")
    sleeper.process.send_signal(signal.SIGSTOP)
    successor = start(lease_s=TAKEOVER_S)
    pid_of(bench, "compile", run=2)
    sleeper.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not alive([first]))
    gate.touch()
    wait_until(lambda: is_done(bench, task))
    done = bench.store.get(task.id)
    assert (done.status, done.epoch) == (Status.COMPLETED, 2)
    assert successor.terminate() == 0
    assert sleeper.process.is_running()
    another = bench.submit()
    wait_until(lambda: is_done(bench, another))
    assert bench.store.get(another.id).status is Status.COMPLETED


def test_a_task_whose_worker_dies_every_time_fails_with_worker_lost(bench: Bench, start: Start) -> None:
    task, _ = gated(bench, "compile")
    for run in (1, 2, 3):
        worker = start(max_retries=1, lease_s=TAKEOVER_S)
        if run < 3:
            pid_of(bench, "compile", run)
            worker.kill()
    wait_until(lambda: is_done(bench, task))
    assert bench.store.get(task.id).error.code == "worker_lost"
    assert bench.runs() == {"prepare": 1, "compile": 2}


# --- what clients do --------------------------------------------------------------------------------------------------


def test_pause_frees_the_processor_long_before_the_next_beat_and_resume_goes_on(bench: Bench, start: Start) -> None:
    task, gate = gated(bench, "compile")
    start(**SELDOM)
    stage = psutil.Process(pid_of(bench, "compile"))
    bench.store.update(task.id, transitions.pause())
    wait_until(lambda: stage.status() == psutil.STATUS_STOPPED, BEAT_S / 2)
    bench.store.update(task.id, transitions.resume())
    gate.touch()
    wait_until(lambda: is_done(bench, task))
    assert bench.store.get(task.id).epoch == 1
    assert bench.runs() == {"prepare": 1, "compile": 1, "verify": 1}


@pytest.mark.parametrize("what", ["cancel", "delete"])
def test_a_stopped_task_ends_at_once_and_frees_its_slot(bench: Bench, start: Start, what: str) -> None:
    task, _ = gated(bench, "compile")
    start(slots=1, **SELDOM)
    pid = pid_of(bench, "compile")
    waiting = bench.submit()
    if what == "cancel":
        bench.store.update(task.id, transitions.cancel())
    else:
        bench.store.delete(task.id)
    wait_until(lambda: not alive([pid]), BEAT_S / 2)
    wait_until(lambda: is_done(bench, waiting), BEAT_S / 2)
    assert bench.store.get(waiting.id).status is Status.COMPLETED


def test_a_task_cancelled_and_retried_at_once_runs_under_its_new_claim_only(bench: Bench, start: Start) -> None:
    """The old claim is still being ended when the same worker has claimed the task again."""
    task, gate = gated(bench, "compile")
    start(lease_s=4.0)
    pid = pid_of(bench, "compile")
    bench.store.update(task.id, transitions.cancel())
    bench.store.update(task.id, transitions.retry())
    pid_of(bench, "compile", run=2)
    wait_until(lambda: not alive([pid]))
    time.sleep(5.0)  # longer than the lease: the new claim is beaten for
    gate.touch()
    wait_until(lambda: is_done(bench, task))
    done = bench.store.get(task.id)
    assert (done.status, done.epoch, done.retries) == (Status.COMPLETED, 2, 0)


def test_a_frozen_stage_gives_way_to_a_waiting_task_and_runs_again_once_it_is_resumed(bench: Bench,
                                                                                      start: Start) -> None:
    task, gate = gated(bench, "compile")
    start(slots=1, hold_s=600.0)
    pid_of(bench, "compile")
    bench.store.update(task.id, transitions.pause())
    time.sleep(1.0)
    assert bench.store.get(task.id).owner is not None, "it stays frozen while nobody needs its slot"
    other = bench.submit(output_path="out/other.xml", parameters=bench.parameters(reject=False))
    wait_until(lambda: is_done(bench, other))
    parked = bench.store.get(task.id)
    assert (parked.status, parked.owner) == (Status.PAUSED, None)
    gate.touch()
    bench.store.update(task.id, transitions.resume())
    wait_until(lambda: is_done(bench, task))
    assert bench.store.get(task.id).status == Status.COMPLETED


# --- shutting down ----------------------------------------------------------------------------------------------------


def test_sigterm_before_the_worker_is_ready_ends_it_as_well_and_leaves_nothing(bench: Bench, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, slots=2)
    worker = WorkerProcess(settings)
    wait_until(lambda: list(settings.work_dir.glob("*.lock")))
    assert worker.terminate() == 0 and '"message": "stopped"' in worker.log.read_text()
    assert not list(settings.work_dir.iterdir())


def drain(bench: Bench, worker: WorkerProcess) -> None:
    """SIGTERM, and wait until the worker has seen it: it parks at once what stands still in a stage."""
    begun = bench.runs()["compile"]
    other, _ = gated(bench, "compile", "never")
    standing = psutil.Process(pid_of(bench, "compile", begun + 1))
    bench.store.update(other.id, transitions.pause())
    wait_until(lambda: standing.status() == psutil.STATUS_STOPPED)
    worker.process.send_signal(signal.SIGTERM)
    wait_until(lambda: bench.store.get(other.id).owner is None)


def test_sigterm_lets_the_stage_end_and_gives_the_task_back(bench: Bench, start: Start) -> None:
    task, gate = gated(bench, "compile")
    worker = start(grace_s=600.0)
    pid_of(bench, "compile")
    left_behind = worker.descendants()
    drain(bench, worker)
    assert worker.process.is_running()
    gate.touch()
    assert worker.process.wait(WAIT_S) == 0
    assert not alive(left_behind)
    released = bench.store.get(task.id)
    assert (released.status, released.owner, released.retries) == (Status.RUNNING, None, 0)
    assert released.stages[-1].name == "compile"
    assert bench.store.workers() == []
    start()
    wait_until(lambda: is_done(bench, task))
    assert bench.runs() == {"prepare": 2, "compile": 2, "verify": 1}  # with those of the task that was parked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stage_that_outlasts_the_grace_time_is_ended(bench: Bench, start: Start, number: signal.Signals) -> None:
    task, gate = gated(bench, "compile")
    worker = start(grace_s=0.5)
    pid = pid_of(bench, "compile")
    worker.process.send_signal(number)
    assert worker.process.wait(WAIT_S) == 0  # the stage itself would never end
    assert not alive([pid])
    released = bench.store.get(task.id)
    assert (released.status, released.owner, released.stages[-1].name) == (Status.RUNNING, None, "prepare")
    gate.touch()
    start()
    wait_until(lambda: is_done(bench, task))
    assert bench.runs() == {"prepare": 1, "compile": 2, "verify": 1}


def test_sigterm_parks_a_frozen_task_at_once(bench: Bench, start: Start) -> None:
    task, _ = gated(bench, "compile")
    worker = start(grace_s=600.0)
    pid = pid_of(bench, "compile")
    bench.store.update(task.id, transitions.pause())
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    assert worker.terminate(timeout_s=60) == 0
    parked = bench.store.get(task.id)
    assert (parked.status, parked.owner) == (Status.PAUSED, None)
    assert not alive([pid])


def test_a_draining_worker_takes_nothing_new(bench: Bench, start: Start) -> None:
    _, gate = gated(bench, "compile")
    worker = start(grace_s=600.0, slots=3)
    pid_of(bench, "compile")
    drain(bench, worker)
    late = bench.submit()
    gate.touch()
    assert worker.process.wait(WAIT_S) == 0
    assert bench.store.get(late.id).status is Status.PENDING


def test_a_rolling_restart_under_load_loses_and_repeats_nothing_that_was_finished(bench: Bench, start: Start) -> None:
    tasks = [bench.submit(parameters=bench.parameters(gates={"number": str(number)}), output_path=f"out/{number}.xml")
             for number in range(16)]
    # A stage that outlasts the grace time is run again, and a busy machine needs seconds to start one.
    workers = [start(grace_s=120.0), start(grace_s=120.0)]
    for worker in workers:
        time.sleep(0.7)
        assert worker.terminate(150) == 0
        start(grace_s=120.0)
    wait_until(lambda: is_done(bench, *tasks), 240)
    done = bench.store.get_many([task.id for task in tasks]).values()
    assert {(task.status, task.retries) for task in done} == {(Status.COMPLETED, 0)}
    assert bench.runs() == {"prepare": 16, "compile": 16, "verify": 16}
    assert sorted(bench.outputs()) == sorted(path for task in done for path in task.result.objects())


def test_the_core_imports_no_toolchain_and_no_driver_it_does_not_use(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from shared.deps import get_queue, get_store
from worker import consumer, main
from worker.plan import get_plans
from worker.stages.common import ONNX
from tests.fixtures.toolchains import own_toolchains
plans = {name: plan for name, plan in list(get_plans().items())[:1]}
toolchains = own_toolchains(*plans.values(), ONNX)
tools = main.wire(main.get_settings(), toolchains, main.Path("."))
main.announcer(get_store(), main.describe("w", main.get_settings(), plans, toolchains))()
main.Sweeper(get_store(), get_queue(), main.get_settings(), list(plans)).close()
consumer.Consumer("w", get_store(), get_queue(), tools, plans, Path(".")).drain()
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    env = {"MODEL_CONVERT_STORE_URL": f"sqlite:{tmp_path / 'tasks.db'}", "MODEL_CONVERT_QUEUE_URL": "poll:",
           "MODEL_CONVERT_FILES_URL": f"file:{tmp_path}", "MODEL_CONVERT_CACHE_DIR": str(tmp_path / "cache"),
           "PATH": os.environ["PATH"]}
    ended = subprocess.run([sys.executable, "-c", program], env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True,
                           check=True)
    loaded = set(ended.stdout.split())
    assert loaded & {"onnx", "onnxruntime", "numpy", "openvino", "pika", "minio", "pymongo", "flask", "functions",
                     "functions_framework", "infra", "urllib3"} == set()
    assert "worker" in loaded


def test_a_worker_without_any_toolchain_says_what_to_do_and_ends(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, toolchains_dir=tmp_path / "none")
    worker = WorkerProcess(settings, module="worker")
    assert worker.process.wait(WAIT_S) == 1
    assert "make toolchains" in worker.log.read_text()


def test_a_worker_tells_that_it_lives_and_forgets_the_long_gone(bench: Bench, start: Start) -> None:
    worker = start()
    [info] = wait_until(bench.store.workers)
    assert (info.pid, info.slots, list(info.platforms)) == (worker.process.pid, 2, [PLAN.platform])
    gone = info.model_copy(update={"id": "gone", "seen_at": time.time() - 7200})
    bench.store.save_worker(gone)
    wait_until(lambda: [found.id for found in bench.store.workers()] == [info.id])


def test_every_log_line_of_a_task_names_the_task_and_the_worker(bench: Bench, start: Start) -> None:
    task = bench.submit()
    worker = start()
    wait_until(lambda: is_done(bench, task))
    lines = [line for line in worker.log.read_text().splitlines() if task.id in line]
    assert lines
    assert all(re.search(r'"worker": "\S+"', line) for line in lines)


