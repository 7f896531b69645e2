"""Ends that are announced while workers die and receivers are away: row 26 of the matrix in docs/faults.md."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.documents import Announcement, Status
from tests.faults.run import Run
from tests.integration.announcing_kit import Receiver, is_signed, message_of, receiving
from tests.integration.worker_kit import TAKEOVER_S, WAIT_S, WorkerProcess, wait_until

pytest_plugins = ["tests.fixtures.versions"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def start_gateway(run: Run, receiver: Receiver) -> None:
    run.start_gateway(**receiver.settings())


def start_worker(run: Run, receiver: Receiver, **settings: Any) -> WorkerProcess:
    return run.start_worker(callback_pauses=0.01, **receiver.settings(), **settings)


def create(run: Run, receiver: Receiver, **script: dict[str, Any]) -> str:
    return run.create({"callback_url": receiver.url}, **script)


def settled(run: Run, task_id: str, count: int = 1) -> list[Announcement]:
    """The task's announcements, once there are so many and none is owed."""
    def find() -> list[Announcement]:
        found = run.task(task_id).announcements
        return found if len(found) == count and all(entry.state != "owed" for entry in found) else []
    return run._wait_until(find)


def test_row_26_an_end_is_announced_although_its_senders_are_killed_while_they_send(run: Run, receiver: Receiver
                                                                                    ) -> None:
    held = threading.Event()
    receiver.answer = lambda number: 204 if number > 2 or held.wait(WAIT_S) else 500
    start_gateway(run, receiver)
    task_id = create(run, receiver)
    for number in (1, 2):
        victim = start_worker(run, receiver)
        wait_until(lambda number=number: len(receiver.ids) == number)  # it waits for the answer
        run.kill(victim)
    held.set()
    start_worker(run, receiver)
    [entry] = settled(run, task_id)
    assert (entry.state, entry.attempts, entry.type) == ("delivered", 3, "completed")
    assert receiver.ids == [entry.id] * 3 and len({one.body for one in receiver.received}) == 1
    assert all(map(is_signed, receiver.received)) and message_of(receiver.received[0])["data"]["task_id"] == task_id
    [shown] = run.client.query_task(task_id)["announcements"]
    assert (shown["id"], shown["type"], shown["state"], shown["attempts"], shown["answer"]) == (
        entry.id, "task.completed", "delivered", 3, 204)


def test_row_26_each_end_that_clients_and_reapers_make_is_announced(run: Run, receiver: Receiver) -> None:
    """By a worker that has not made it: cancelled over HTTP, lost with its worker, completed after a retry."""
    start_gateway(run, receiver)
    victim = start_worker(run, receiver, max_retries=0)
    task_id = create(run, receiver, compile={"gate": str(run.gate())})
    run.pid_of(task_id, "compile")
    assert run.act("cancel", task_id) == 200
    settled(run, task_id)
    assert run.act("retry", task_id) == 200
    run.pid_of(task_id, "compile", run=2)
    run.kill(victim)
    start_worker(run, receiver, max_retries=0, lease_s=TAKEOVER_S)
    run.wait_for(task_id, status=Status.FAILED)
    settled(run, task_id, 2)
    run.gate().touch()
    assert run.act("retry", task_id) == 200
    entries = settled(run, task_id, 3)
    assert [(entry.type, entry.code, entry.state) for entry in entries] == [
        ("cancelled", "cancelled", "delivered"), ("failed", "worker_lost", "delivered"),
        ("completed", None, "delivered")]
    assert list(dict.fromkeys(receiver.ids)) == [entry.id for entry in entries]
    assert run.events(task_id, "callback_given_up") == 0


def test_row_26_a_receiver_that_stays_away_is_given_up_visibly_and_holds_up_no_task(run: Run, receiver: Receiver
                                                                                   ) -> None:
    receiver.stop()
    start_gateway(run, receiver)
    run.start_worker(callback_pauses=0.0, **receiver.settings())
    task_id = create(run, receiver)
    [entry] = settled(run, task_id)
    assert (entry.state, entry.attempts, entry.problem, entry.answer) == ("given_up", 10, "connect", None)
    assert run.events(task_id, "callback_given_up") == 1 and receiver.ids == []
    run.wait_for(run.create())
    [shown] = run.client.query_task(task_id)["announcements"]
    assert (shown["state"], shown["problem"], shown["next_attempt_at"]) == ("given_up", "connect", None)


def test_row_26_what_a_worker_of_the_last_version_ends_is_announced_by_one_of_this(run: Run, receiver: Receiver,
                                                                                   older_version: Path) -> None:
    start_gateway(run, receiver)
    run.start_worker(root=older_version)
    task_id = create(run, receiver)
    run.wait_for(task_id)
    assert receiver.ids == []
    start_worker(run, receiver)
    [entry] = settled(run, task_id)
    assert (entry.state, entry.attempts, receiver.ids) == ("delivered", 1, [entry.id])
