"""Clients that all want something else at once: rows 17 and 18 of the matrix in docs/faults.md."""
from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.documents import Status
from tests.faults.run import Run, wait_gone
from tests.integration.worker_kit import wait_until

CLIENTS = 8
STORM_S = 6.0
LONGEST_STORM_S = 120.0  # where the machine is busy
ENOUGH = 20  # actions that were accepted, and as many that were refused
VERBS = ("pause", "pause", "resume", "resume", "cancel", "retry", "delete")
TELLS = {"pause": "paused", "resume": "resumed", "cancel": "cancelled", "retry": "retried"}


class Storm:
    """Eight clients that send what comes to their minds, often twice, to tasks that the others have too."""

    def __init__(self, run: Run, task_ids: list[str]) -> None:
        self._run, self._task_ids = run, task_ids
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self.accepted: Counter[tuple[str, str]] = Counter()
        self.answers: Counter[int] = Counter()

    def blow(self) -> None:
        with ThreadPoolExecutor(CLIENTS) as clients:
            for done in [clients.submit(self._be_a_client, random.Random(seed)) for seed in range(CLIENTS)]:
                done.result()

    def _goes_on(self) -> bool:
        enough = min(self.answers[status] for status in (200, 400)) > ENOUGH
        return time.monotonic() - self._began < (STORM_S if enough else LONGEST_STORM_S)

    def _be_a_client(self, chance: random.Random) -> None:
        while self._goes_on():
            task_id, verb = chance.choice(self._task_ids), chance.choice(VERBS)
            if verb == "delete" and chance.random() < 0.8:
                continue
            for _ in range(chance.choice((1, 1, 2))):
                status = self._run.act(verb, task_id)
                with self._lock:
                    self.answers[status] += 1
                    self.accepted[task_id, verb] += status == 200
            time.sleep(chance.uniform(0.0, 0.05))


def test_row_17_in_a_storm_of_clients_each_accepted_action_takes_place_once_and_the_last_one_wins(run: Run) -> None:
    run.start_gateway()
    for _ in range(2):
        run.start_worker(hold_s=0.5)
    tasks = [run.create(prepare={"seconds": 0.4}, compile={"seconds": 0.4}, verify={"seconds": 0.4}) for _ in range(8)]
    storm = Storm(run, tasks)
    storm.blow()
    assert set(storm.answers) <= {200, 400, 404}, storm.answers
    assert min(storm.answers[status] for status in (200, 400)) > ENOUGH, storm.answers
    left = run.store.get_many(tasks)
    for task_id in tasks:
        assert storm.accepted[task_id, "delete"] == (task_id not in left)
    for task_id in left:
        assert {verb: run.events(task_id, told) for verb, told in TELLS.items()} == {
            verb: storm.accepted[task_id, verb] for verb in TELLS}
    for task_id in left:
        if run.task(task_id).status is Status.PAUSED:
            assert run.act("resume", task_id) == 200
        elif run.task(task_id).status is Status.FAILED:
            assert run.act("retry", task_id) == 200
    if left:
        run.wait_for(*left)


def test_row_17_what_was_accepted_last_is_what_the_task_does(run: Run) -> None:
    run.start_gateway()
    run.start_worker(slots=3)
    kept, paused, cancelled = (run.create(compile={"gate": str(run.gate())}) for _ in range(3))
    pids = [run.pid_of(task_id, "compile") for task_id in (kept, paused, cancelled)]
    for _ in range(10):
        for task_id in (kept, paused, cancelled):
            assert run.act("pause", task_id) == 200
            assert run.act("resume", task_id) == 200
    assert run.act("pause", paused) == 200
    assert run.act("cancel", cancelled) == 200
    run.gate().touch()
    run.wait_for(kept)
    assert run.runs(kept) == {"prepare": 1, "compile": 1, "verify": 1}
    wait_gone([pids[2]])
    assert (run.task(paused).status, run.task(cancelled).status) == (Status.PAUSED, Status.FAILED)
    assert [run.act(verb, cancelled) for verb in ("pause", "resume", "cancel")] == [400, 400, 400]
    assert run.act("resume", paused) == 200
    run.wait_for(paused)
    assert run.runs(paused) == {"prepare": 1, "compile": 1, "verify": 1}


@pytest.mark.parametrize("verb", ["pause", "cancel", "delete"])
def test_row_18_at_the_moment_of_completing_there_is_one_outcome_and_the_objects_agree(run: Run, verb: str) -> None:
    run.start_gateway()
    run.start_worker(slots=1)
    answers: Counter[int] = Counter()
    for number in range(80):
        task_id = run.create()
        wait_until(lambda task_id=task_id: run.task(task_id).stage == "publish")
        time.sleep(number % 8 * 0.004 * (1 + number // 8))  # ever later, where the machine is slow
        status = run.act(verb, task_id)
        answers[status] += 1
        if verb == "pause" and status == 200:
            time.sleep(0.05)
            assert run.task(task_id).status is Status.PAUSED
            assert run.act("resume", task_id) == 200
            run.wait_for(task_id)
        if number >= 11 and (verb == "delete" or len(answers) > 1):
            break
    assert set(answers) == ({200} if verb == "delete" else {200, 400}), answers
    states = Counter(task.status for task in run.store.get_many(run.task_ids).values())
    assert states == {"pause": {Status.COMPLETED: number + 1}, "delete": {},
                      "cancel": {Status.FAILED: answers[200], Status.COMPLETED: answers[400]}}[verb]
