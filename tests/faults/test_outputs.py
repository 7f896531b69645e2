"""Many tasks and people at one output: row 23 of the matrix in docs/faults.md."""
from __future__ import annotations

import random
import time
from typing import Any

import pytest

from shared.documents import Status
from shared.errors import InvalidRequest, PreconditionFailed
from shared.files import IfAbsent, IfMatch
from shared.marks import read_mark
from tests.faults.run import Run
from tests.integration.worker_kit import TARGET, wait_until

FOLDER = "results/ours/"
OUTPUT = f"{FOLDER}m{TARGET.artefact_suffix}"
SET = [OUTPUT, f"{FOLDER}m{TARGET.also[0]}", *(f"{OUTPUT}{suffix}" for suffix in (
    ".manifest.json", ".report.json", ".report.html"))]
VERBS = ("cancel", "retry", "retry", "retry", "pause", "resume")


@pytest.fixture
def profile(embedded: dict[str, Any]) -> dict[str, Any]:
    """S3 has no removal under a condition: see the known gaps."""
    return embedded


def storm(run: Run, tasks: list[str], chance: random.Random, number: int) -> None:
    """Once a task has its stages in the cache, each retry publishes at once."""
    for _ in range(number):
        run.act(chance.choice(VERBS), chance.choice(tasks))
        time.sleep(chance.uniform(0.0, 0.06))


def write_as_a_person(run: Run, path: str) -> bool:
    """Put a file there as it is now, or where there is none; False where a task was quicker."""
    (run.folder / "theirs").write_bytes(b"precious")
    there = run.files.stat(path)
    try:
        run.files.upload(run.folder / "theirs", path, condition=IfMatch(there.etag) if there else IfAbsent())
    except (PreconditionFailed, InvalidRequest):  # the latter while its folder becomes empty and goes
        return False
    return True


def content(run: Run, path: str) -> bytes:
    run.files.download(path, run.folder / "seen", max_bytes=1 << 20)
    return (run.folder / "seen").read_bytes()


def at_rest(run: Run, tasks: list[str]) -> bool:
    return all(task.owner is None and task.status in (Status.COMPLETED, Status.FAILED)
               for task in run.store.get_many(tasks).values())


def test_row_23_tasks_stopped_while_they_publish_to_one_output_spare_what_a_person_puts_there(run: Run) -> None:
    run.start_gateway()
    workers = [run.start_worker() for _ in range(2)]
    chance = random.Random(7)
    for round_number, path in enumerate(SET):
        tasks = [run.create({"output_path": OUTPUT}) for _ in range(3)]
        storm(run, tasks, chance, 40)
        wait_until(lambda path=path: write_as_a_person(run, path))
        storm(run, tasks, chance, 40)
        if round_number == 2:
            run.kill(workers.pop())
            workers.append(run.start_worker())
        for task_id in tasks:
            run.act("resume", task_id)
        wait_until(lambda tasks=tasks: at_rest(run, tasks))
        assert content(run, path) == b"precious"
        for task_id in tasks:
            expected = 200 if run.task(task_id).status is Status.FAILED else 400
            assert run.act("retry", task_id) == expected
        wait_until(lambda tasks=tasks: at_rest(run, tasks))
        ends = [run.task(task_id) for task_id in tasks if run.task(task_id).status is Status.FAILED]
        assert {task.error.code for task in ends} <= {"output_conflict"}
        assert content(run, path) == b"precious"
        run.files.delete(path)
        for task_id in tasks:
            assert run.act("delete", task_id) == 200
    last = run.create({"output_path": OUTPUT})
    run.wait_for(last)
    assert sorted(info.path for info in run.files.find(FOLDER)) == sorted(SET)
    assert {read_mark(run.files.stat(path)).task_id for path in SET} == {last}
