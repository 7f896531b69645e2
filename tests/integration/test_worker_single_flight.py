"""Tasks that need the same stage at the same moment."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shared import transitions
from shared.documents import Status, Task
from tests.integration.worker_kit import ONCE, TARGET, Bench, Running, claim, wait_until
from worker.control import TaskControl
from worker.single_flight import SingleFlight
from worker.toolchains import ROOT


def submit(bench: Bench, parameters: dict, name: str) -> Task:
    return bench.submit(parameters=parameters, output_path=f"out/{name}{TARGET.artefact_suffix}")


NOBODY_ASKS = partial(nullcontext, lambda: None)


def waiting_in(bench: Bench, running: Running, stage: str) -> None:
    """Until the task says that it waits for another's run of the stage."""
    def says_so() -> bool:
        task = bench.store.get(running.task.id)
        return (task.stage, task.waits_for) == (stage, "stage")

    wait_until(says_so)


def test_tasks_with_a_stage_in_common_run_it_once(bench: Bench) -> None:
    parameters, gate = bench.gated("prepare")
    tasks = [submit(bench, parameters, name) for name in "abcd"]
    first = Running(bench, tasks[0])
    first.at("prepare")
    others = [Running(bench, task, f"w{number}") for number, task in enumerate(tasks[1:], 2)]
    for running in others:
        waiting_in(bench, running, "prepare")
    gate.touch()
    done = [running.end() for running in (first, *others)]
    assert [task.status for task in done] == [Status.COMPLETED] * 4
    assert bench.runs() == ONCE
    assert all(record.cached for task in done[1:] for record in task.stages if record.name == "prepare")
    assert len({task.result.sha256 for task in done}) == 1
    assert list((bench.settings.cache_dir / "flights").iterdir()) == []
    assert [told(bench, task) for task in done] == [[], *[WAITED] * 3]
    assert all(task.waits_for is None for task in done)


WAITED = [("waiting", {"waits_for": "stage"}), ("wait_over", {})]


def told(bench: Bench, task: Task) -> list[tuple[str, dict[str, Any]]]:
    """The events that speak of waiting."""
    return [(event.type, event.data) for event in bench.store.events(task.id) if event.type in ("waiting", "wait_over")]


def test_a_waiting_task_runs_the_stage_itself_if_the_first_is_cancelled(bench: Bench) -> None:
    parameters, gate = bench.gated("compile")
    first = Running(bench, submit(bench, parameters, "a"))
    first.at("compile")
    second = Running(bench, submit(bench, parameters, "b"), "w2")
    waiting_in(bench, second, "compile")
    gate.touch()
    first.change(transitions.cancel())
    assert first.end().status is Status.FAILED
    assert second.end().status is Status.COMPLETED


def test_a_waiting_task_that_is_paused_parks_at_once(bench: Bench) -> None:
    parameters, gate = bench.gated("compile")
    first = Running(bench, submit(bench, parameters, "a"))
    first.at("compile")
    second = Running(bench, submit(bench, parameters, "b"), "w2")
    waiting_in(bench, second, "compile")
    second.change(transitions.pause())
    parked = second.end()
    assert (parked.status, parked.owner, parked.stages[-1].name) == (Status.PAUSED, None, "prepare")
    gate.touch()
    assert first.end().status is Status.COMPLETED


def test_a_paused_task_keeps_no_other_waiting(bench: Bench) -> None:
    parameters, gate = bench.gated("compile")
    first = Running(bench, submit(bench, parameters, "a"))
    first.at("compile")
    second = Running(bench, submit(bench, parameters, "b"), "w2")
    waiting_in(bench, second, "compile")
    assert bench.runs()["compile"] == 1
    first.change(transitions.pause())
    wait_until(lambda: bench.runs()["compile"] == 2)
    gate.touch()
    assert second.end().status is Status.COMPLETED
    first.change(transitions.resume())
    assert first.end().status is Status.COMPLETED


def test_a_lock_ends_with_its_holder_and_is_not_shared_between_keys(tmp_path, bench: Bench) -> None:
    flights = SingleFlight(tmp_path / "flights", stale_s=60)
    control = TaskControl(claim(bench.store, submit(bench, bench.parameters(), "a")).task)

    def refuse() -> None:
        raise TimeoutError

    with flights.alone("k", control, refuse, NOBODY_ASKS):
        with flights.alone("other", control, refuse, NOBODY_ASKS):
            pass
        with pytest.raises(TimeoutError), flights.alone("k", control, refuse, NOBODY_ASKS):
            pass
    with flights.alone("k", control, refuse, NOBODY_ASKS):
        pass


HOLDER = """
import sys, time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from worker.single_flight import SingleFlight
from worker.toolchains import ROOT
flights, control = SingleFlight(Path(sys.argv[1]), 60), SimpleNamespace(wanted=None)
with flights.alone("k", control, lambda: None, lambda: nullcontext(print)):
    print("held", flush=True)
    time.sleep(600)
"""


def test_what_killed_processes_have_left_is_removed_and_a_held_lock_is_not(tmp_path: Path, bench: Bench) -> None:
    folder = tmp_path / "flights"
    folder.mkdir()
    (folder / "left.lock").touch()
    control = TaskControl(bench.submit())
    with SingleFlight(folder, 60.0).alone("held", control, lambda: None, NOBODY_ASKS):
        SingleFlight(folder, 60.0)
        assert [path.name for path in folder.iterdir()] == ["held.lock"]
    assert list(folder.iterdir()) == []



def test_a_process_that_stands_still_with_a_lock_keeps_nobody_waiting_for_more_than_a_lease(
        tmp_path, bench: Bench) -> None:
    control = TaskControl(claim(bench.store, submit(bench, bench.parameters(), "a")).task)
    flights = SingleFlight(tmp_path, stale_s=4.0)
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], env=os.environ | {"PYTHONPATH": str(ROOT)},
                          stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            deadline = time.monotonic() + 6

            def until_deadline() -> None:
                if time.monotonic() > deadline:
                    raise TimeoutError

            with pytest.raises(TimeoutError), flights.alone("k", control, until_deadline, NOBODY_ASKS):
                pass  # it lives: it is waited for, however long it takes
            holder.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            with flights.alone("k", control, lambda: None, NOBODY_ASKS):
                assert 3.9 < time.monotonic() - began < 60  # it would stand still for ever
        finally:
            holder.kill()
    began = time.monotonic()
    with SingleFlight(tmp_path, stale_s=600).alone("k", control, lambda: None, NOBODY_ASKS):
        assert time.monotonic() - began < 60  # it died, and its lock with it
