"""Toolchains that eat, hang and leave grandchildren: rows 12, 13 and 20 of the matrix in docs/faults.md."""
from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shared.documents import Status
from tests.faults.run import Run, wait_gone
from tests.fixtures.common import missing
from tests.integration.worker_kit import alive, wait_until

CGROUPS = Path("/sys/fs/cgroup")
LIMIT_S = 10.0  # of a stage that begins, and is then looked at
ROOM_BYTES = 500 << 20  # for a worker, its hosts and a small stage


def family(path: Path) -> list[int]:
    """The stage's process, a child, a child in a session of its own, and a daemon."""
    wait_until(path.exists)
    return [int(pid) for pid in path.read_text().split()]


# --- row 12 -----------------------------------------------------------------------------------------------------------


def test_row_12_a_stage_that_eats_memory_ends_at_its_limit_and_hurts_neither_worker_nor_neighbour(run: Run) -> None:
    run.start_gateway()
    worker = run.start_worker()
    neighbour = run.create(compile={"gate": str(run.gate())})
    pid = run.pid_of(neighbour, "compile")
    glutton = run.create({"limits": {"stage_memory_bytes": 300 << 20}}, compile={"eat": True})
    [failed] = run.wait_for(glutton, status=Status.FAILED)
    assert (failed.error.code, failed.error.stage) == ("out_of_memory", "compile")
    assert run.runs(glutton) == {"prepare": 1, "compile": 1, "verify": 0}
    assert alive([pid]) == [pid]
    run.gate().touch()
    run.wait_for(neighbour)
    assert (run.task(neighbour).epoch, worker.process.is_running()) == (1, True)


def test_row_12_a_stage_that_somebody_kills_every_time_fails_after_three_tries_as_killed(run: Run) -> None:
    run.start_gateway()
    worker = run.start_worker()
    task_id = run.create(compile={"gate": str(run.gate())})
    for number in (1, 2, 3):
        os.kill(run.pid_of(task_id, "compile", run=number), signal.SIGKILL)
    [failed] = run.wait_for(task_id, status=Status.FAILED)
    assert (failed.error.code, failed.error.stage, failed.epoch) == ("killed", "compile", 1)
    assert run.runs(task_id)["compile"] == 3
    another = run.create()
    run.wait_for(another)
    assert worker.process.is_running()


@pytest.fixture
def small_machine() -> Iterator[Path]:
    """A file: whose number is in it gets only ROOM_BYTES of memory, together with its descendants; then the kernel
    kills. Needs root, and the memory controller (version 1 or 2) mounted."""
    folder = CGROUPS / "memory" / "model-convert-test" if (CGROUPS / "memory").is_dir() else CGROUPS / "mc-test"
    limit = "memory.limit_in_bytes" if (CGROUPS / "memory").is_dir() else "memory.max"
    try:
        folder.mkdir(exist_ok=True)
        (folder / limit).write_text(str(ROOM_BYTES))
    except OSError as error:
        missing("a memory cgroup", error)
    yield folder / "cgroup.procs"

    def is_removed() -> bool:
        with suppress(OSError):
            folder.rmdir()
        return not folder.exists()

    wait_until(is_removed)


def test_row_12_a_stage_that_the_kernel_kills_for_memory_every_time_fails_as_out_of_memory(
        small_machine: Path, run: Run) -> None:
    run.start_gateway()
    worker = run.start_worker()
    for pid in (worker.process.pid, *worker.descendants()):
        small_machine.write_text(str(pid))
    task_id = run.create(compile={"eat": True})
    [failed] = run.wait_for(task_id, status=Status.FAILED)
    assert (failed.error.code, failed.error.stage, failed.epoch) == ("out_of_memory", "compile", 1)
    assert run.runs(task_id) == {"prepare": 1, "compile": 3, "verify": 0}
    another = run.create()
    run.wait_for(another)
    assert worker.process.is_running()


# --- rows 13 and 20 ---------------------------------------------------------------------------------------------------


def test_row_13_a_stage_that_hangs_fails_at_its_time_limit_and_its_whole_group_is_gone(run: Run) -> None:
    run.start_gateway()
    run.start_worker(slots=1)
    task_id = run.create({"limits": {"stage_time_s": LIMIT_S}},
                         compile={"family": str(run.gate("family")), "gate": str(run.gate())})
    pids = family(run.gate("family"))
    assert alive(pids) == pids
    [failed] = run.wait_for(task_id, status=Status.FAILED)
    assert (failed.error.code, failed.error.stage) == ("timeout", "compile")
    assert alive(pids) == []
    another = run.create()
    run.wait_for(another)


def test_row_13_the_time_that_a_stage_is_paused_does_not_count(run: Run) -> None:
    run.start_gateway()
    run.start_worker()
    task_id = run.create({"limits": {"stage_time_s": LIMIT_S}}, compile={"gate": str(run.gate())})
    pid = run.pid_of(task_id, "compile")
    assert run.act("pause", task_id) == 200
    time.sleep(LIMIT_S + 1)
    assert alive([pid]) == [pid]
    assert run.act("resume", task_id) == 200
    run.gate().touch()
    run.wait_for(task_id)
    assert run.runs(task_id)["compile"] == 1


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_row_20_a_stopped_task_takes_grandchildren_along_that_ignore_sigterm_and_frees_its_slot(run: Run,
                                                                                               verb: str) -> None:
    run.start_gateway()
    run.start_worker(slots=1)
    task_id = run.create(compile={"family": str(run.gate("family")), "gate": str(run.gate())})
    pids = family(run.gate("family"))
    run.pid_of(task_id, "compile")
    waiting = run.create()
    assert run.act(verb, task_id) == 200
    wait_gone(pids)  # by themselves they would stay longer than that waits
    run.wait_for(waiting)
    if verb == "cancel":
        assert (run.task(task_id).status, run.task(task_id).error.code) == (Status.FAILED, "cancelled")
        assert run.act("retry", task_id) == 200
        run.gate().touch()
        run.wait_for(task_id)
        assert run.runs(task_id) == {"prepare": 1, "compile": 2, "verify": 1}
        wait_gone(family(run.gate("family")))
