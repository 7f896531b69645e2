"""What clients, other workers and a shutdown do to a task while it runs."""
from __future__ import annotations

from pathlib import Path

import pytest

from shared import transitions
from shared.documents import Status
from tests.integration.toy_models import small_model
from tests.integration.worker_kit import (
    ONCE,
    Bench,
    Running,
    alive,
    claim,
    wait_until,
)
from worker.process import ToolHost


def test_a_task_paused_between_stages_parks_and_goes_on_elsewhere_without_a_second_run(
        bench: Bench, hosts: dict[str, ToolHost]) -> None:
    parameters, gate = bench.gated("prepare")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("prepare")
    assert bench.store.update(running.task.id, transitions.pause())
    gate.touch()  # the stage ends before the worker hears of the pause
    parked = running.end()
    assert (parked.status, parked.owner, parked.stages[-1].name) == (Status.PAUSED, None, "prepare")

    bench.store.update(running.task.id, transitions.resume())
    other = Bench(bench.folder, hosts, cache_dir=bench.folder / "other-cache")
    done = other.run(running.task, "w2")
    assert (done.status, done.epoch) == (Status.COMPLETED, 2)
    assert bench.runs() == ONCE


def test_a_stage_paused_in_the_middle_goes_on_where_it_stood(bench: Bench) -> None:
    parameters, gate = bench.gated("compile")
    running = Running(bench, bench.submit(parameters=parameters))
    pid = running.at("compile")
    running.change(transitions.pause())
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")
    running.change(transitions.resume())
    gate.touch()
    done = running.end()
    assert (done.status, done.epoch) == (Status.COMPLETED, 1)
    assert bench.runs() == ONCE


def test_a_stage_held_for_too_long_is_given_up_and_only_it_runs_again(tmp_path: Path,
                                                                      hosts: dict[str, ToolHost]) -> None:
    bench = Bench(tmp_path, hosts, hold_s=0.3)
    bench.upload("in/model.onnx", small_model())
    parameters, gate = bench.gated("compile")
    running = Running(bench, bench.submit(parameters=parameters))
    pid = running.at("compile")
    running.change(transitions.pause())
    parked = running.end()
    assert (parked.status, parked.owner, parked.stages[-1].name) == (Status.PAUSED, None, "prepare")
    assert not alive([pid])
    gate.touch()
    bench.store.update(running.task.id, transitions.resume())
    assert bench.run(running.task).status is Status.COMPLETED
    assert bench.runs() == {**ONCE, "compile": 2}


def test_a_resume_that_comes_before_the_park_lets_the_task_go_on(tmp_path: Path, hosts: dict[str, ToolHost]) -> None:
    """The stage is killed after the hold time; the client resumes at that moment; the same claim runs it again."""
    bench = Bench(tmp_path, hosts, hold_s=0.2)
    bench.upload("in/model.onnx", small_model())
    parameters, gate = bench.gated("compile")
    lease = claim(bench.store, bench.submit(parameters=parameters))
    park = lease.park

    def resumed_just_before() -> bool:
        gate.touch()
        assert bench.store.update(lease.task.id, transitions.resume())
        return park()

    lease.park = resumed_just_before
    running = Running(bench, lease.task, lease=lease)
    running.at("compile")
    running.change(transitions.pause())
    done = running.end()
    assert (done.status, done.epoch) == (Status.COMPLETED, 1)
    assert bench.runs() == {**ONCE, "compile": 2}


def test_a_task_paused_before_its_first_stage_parks_untouched(bench: Bench) -> None:
    task = bench.submit()
    lease = claim(bench.store, task)
    bench.store.update(task.id, transitions.pause())
    bench.run_lease(lease)
    parked = bench.store.get(task.id)
    assert (parked.status, parked.owner, parked.stage, parked.stages) == (Status.PAUSED, None, None, [])


@pytest.mark.parametrize("what", ["cancel", "delete"])
def test_a_task_stopped_in_the_middle_of_a_stage_leaves_nothing(bench: Bench, what: str) -> None:
    parameters, _ = bench.gated("compile")
    running = Running(bench, bench.submit(parameters=parameters))
    pid = running.at("compile")
    if what == "cancel":
        bench.store.update(running.task.id, transitions.cancel())
    else:
        bench.store.delete(running.task.id)
    running.lease.beat()
    after = running.end()
    assert after is None if what == "delete" else after.error.code == "cancelled"
    assert not alive([pid])
    assert bench.outputs() == []


def test_a_task_that_another_worker_took_over_is_left_alone(bench: Bench) -> None:
    parameters, gate = bench.gated("compile")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("compile")
    bench.store.update(running.task.id, transitions.Change({}, {"owner": None}))
    taken = bench.store.update(running.task.id, transitions.claim("w2"))
    gate.touch()
    assert running.end() == taken


def test_a_draining_worker_finishes_the_stage_and_gives_the_task_back(bench: Bench) -> None:
    parameters, gate = bench.gated("prepare")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("prepare")
    running.lease.control.release()
    gate.touch()
    released = running.end()
    assert (released.status, released.owner, released.retries) == (Status.RUNNING, None, 0)
    assert released.stages[-1].name == "prepare"
    assert bench.run(running.task).status is Status.COMPLETED
    assert bench.runs() == ONCE


def test_a_stage_that_fails_while_the_task_is_paused_runs_again_after_the_resume(bench: Bench) -> None:
    parameters, gate = bench.gated("verify", reject=True)
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("verify")
    bench.store.update(running.task.id, transitions.pause())
    gate.touch()
    parked = running.end()
    assert (parked.status, parked.owner, parked.error) == (Status.PAUSED, None, None)
    bench.store.update(running.task.id, transitions.resume())
    assert bench.run(running.task).error.code == "accuracy_too_low"
    assert bench.runs() == {**ONCE, "verify": 2}
