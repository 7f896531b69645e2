"""Workers that die, sleep or are told to go: rows 10, 11, 16, 21 and 22 of the matrix in docs/faults.md."""
from __future__ import annotations

import signal
import time

import pytest

from shared.documents import Status
from tests.faults.run import Run, wait_gone
from tests.integration.worker_kit import TAKEOVER_S, WAIT_S, WorkerProcess, alive, wait_until

LEASE_S = 6.0  # where a worker that watches others has a lease of its own to keep
GRACE_S = 12.0


def test_row_10_after_a_worker_killed_in_mid_stage_one_elsewhere_repeats_that_stage_only(run: Run) -> None:
    run.start_gateway()
    victim = run.start_worker()
    task_id = run.create(compile={"gate": str(run.gate())})
    run.pid_of(task_id, "compile")
    left = victim.descendants()
    run.kill(victim)
    wait_gone(left)
    run.gate().touch()
    elsewhere = run.folder / "elsewhere"
    run.start_worker(work_dir=elsewhere / "work", cache_dir=elsewhere / "cache", lease_s=TAKEOVER_S)
    [done] = run.wait_for(task_id)
    assert run.runs(task_id) == {"prepare": 1, "compile": 2, "verify": 1}
    assert (done.epoch, run.events(task_id, "reaped")) == (2, 1)


def test_row_11_a_worker_frozen_past_its_lease_cannot_commit_what_it_finished_meanwhile(run: Run) -> None:
    run.start_gateway()
    sleeper = run.start_worker()
    task_id = run.create(compile={"gate": str(run.gate())})
    first = run.pid_of(task_id, "compile")
    run.freeze(sleeper)
    run.start_worker(lease_s=TAKEOVER_S)
    second = run.pid_of(task_id, "compile", run=2)
    run.gate(f"gate-{first}").touch()
    wait_until(lambda: [p for p in run.played() if (p.pid, p.what) == (first, "ends")])
    sleeper.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not alive([first]))
    time.sleep(1.0)  # the late worker has tried by now
    assert [record.name for record in run.task(task_id).stages] == ["fetch", "prepare"]
    assert alive([second]) == [second]
    run.gate().touch()
    [done] = run.wait_for(task_id)
    assert (done.epoch, run.events(task_id, "claimed")) == (2, 2)
    another = run.create()
    run.wait_for(another)
    assert sleeper.process.is_running()


def test_row_11_a_worker_frozen_for_less_than_its_lease_keeps_its_task(run: Run) -> None:
    run.start_gateway()
    sleeper = run.start_worker(lease_s=2 * LEASE_S)
    task_id = run.create(compile={"gate": str(run.gate())})
    run.pid_of(task_id, "compile")
    run.start_worker(lease_s=2 * LEASE_S)
    run.freeze(sleeper)
    time.sleep(LEASE_S)
    sleeper.process.send_signal(signal.SIGCONT)
    run.gate().touch()
    [done] = run.wait_for(task_id)
    assert (done.epoch, run.events(task_id, "reaped"), run.runs(task_id)["compile"]) == (1, 0, 1)


def test_row_16_workers_whose_clocks_are_twenty_minutes_apart_reap_nobody_that_lives(run: Run) -> None:
    run.clocks_agree = False
    run.start_gateway()
    early, late = (run.start_worker(clock_shift_s=shift_s, slots=1, lease_s=LEASE_S) for shift_s in (-600, 600))
    tasks = [run.create(compile={"gate": str(run.gate())}) for _ in range(2)]
    for task_id in tasks:
        run.pid_of(task_id, "compile")
    time.sleep(1.5 * LEASE_S)
    assert [run.task(task_id).epoch for task_id in tasks] == [1, 1]
    run.gate().touch()
    run.wait_for(*tasks)
    assert {run.events(task_id, "reaped") for task_id in tasks} == {0}
    assert {early.process.is_running(), late.process.is_running()} == {True}


def test_row_16_a_task_that_a_worker_gives_back_is_taken_by_one_whose_clock_is_behind(run: Run) -> None:
    run.clocks_agree = False
    run.start_gateway()
    leaving = run.start_worker(clock_shift_s=600, grace_s=0.1)
    task_id = run.create(compile={"gate": str(run.gate())})
    run.pid_of(task_id, "compile")
    assert leaving.terminate() == 0
    run.gate().touch()
    run.start_worker(clock_shift_s=-600)
    run.wait_for(task_id)
    assert (run.events(task_id, "released"), run.events(task_id, "reaped")) == (1, 0)


def test_row_21_a_worker_told_to_go_finishes_parks_and_gives_back_within_the_grace_time(run: Run) -> None:
    run.start_gateway()
    leaving = run.start_worker(slots=3, grace_s=GRACE_S)
    short, long, paused = (run.create(compile={"gate": str(run.gate(name))}) for name in ("short", "long", "paused"))
    pids = [run.pid_of(task_id, "compile") for task_id in (short, long, paused)]
    assert run.act("pause", paused) == 200
    started = time.monotonic()
    leaving.process.send_signal(signal.SIGTERM)
    wait_until(lambda: run.task(paused).owner is None)
    run.gate("short").touch()
    wait_until(lambda: run.task(short).owner is None)
    assert time.monotonic() - started < GRACE_S, "neither waits for the end of the grace time"
    assert run.task(short).stages[-1].name == "compile"
    assert leaving.process.wait(WAIT_S) == 0  # its third stage would never end
    assert time.monotonic() - started > GRACE_S
    assert alive(pids) == []
    given_back = run.task(long)
    assert (given_back.status, given_back.owner, given_back.retries) == (Status.RUNNING, None, 0)
    assert run.task(paused).status is Status.PAUSED
    for name in ("long", "paused"):
        run.gate(name).touch()
    run.start_worker()
    assert run.act("resume", paused) == 200
    run.wait_for(short, long, paused)
    assert [run.runs(task_id)["compile"] for task_id in (short, long, paused)] == [1, 2, 2]
    assert {run.events(task_id, "reaped") for task_id in (short, long, paused)} == {0}


def test_row_21_a_rolling_deploy_under_load_loses_nothing_and_repeats_nothing(run: Run) -> None:
    run.start_gateway()
    workers = [run.start_worker(), run.start_worker()]
    tasks = [run.create(compile={"seconds": 0.2}) for _ in range(12)]
    for worker in workers:
        assert worker.terminate() == 0
        run.start_worker()
    run.wait_for(*tasks)
    assert [run.runs(task_id) for task_id in tasks] == [{"prepare": 1, "compile": 1, "verify": 1}] * 12
    assert {run.events(task_id, "reaped") for task_id in tasks} == {0}


@pytest.fixture
def three_workers(run: Run) -> list[WorkerProcess]:
    run.start_gateway()
    started = [run.start_worker(wait=False, slots=1, lease_s=LEASE_S) for _ in range(3)]
    return [worker.wait_ready() for worker in started]


def test_row_22_idle_workers_that_all_want_a_task_give_it_one_claim(run: Run,
                                                                    three_workers: list[WorkerProcess]) -> None:
    tasks = []
    for _ in range(8):
        tasks.append(run.create())
        run.wait_for(tasks[-1])
    assert [(run.task(task_id).epoch, run.events(task_id, "claimed")) for task_id in tasks] == [(1, 1)] * 8
    assert [run.runs(task_id) for task_id in tasks] == [{"prepare": 1, "compile": 1, "verify": 1}] * 8
    assert sum(worker.log.read_text().count('"message": "claimed"') for worker in three_workers) == 8


def test_row_22_sweepers_that_see_the_same_dead_owner_free_its_task_once(run: Run,
                                                                         three_workers: list[WorkerProcess]) -> None:
    task_id = run.create(compile={"gate": str(run.gate())})
    run.pid_of(task_id, "compile")
    owner = str(run.task(task_id).owner)
    [victim] = [worker for worker in three_workers if f"-{worker.process.pid}-" in owner]
    run.kill(victim)
    run.pid_of(task_id, "compile", run=2)
    run.gate().touch()
    [done] = run.wait_for(task_id)
    assert (done.epoch, run.events(task_id, "reaped"), run.events(task_id, "claimed")) == (2, 1, 2)
    assert run.runs(task_id) == {"prepare": 1, "compile": 2, "verify": 1}
