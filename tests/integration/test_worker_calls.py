"""An end is announced once, whoever sends and wherever a sender dies; and no more often than the schedule says."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import worker.caller
from shared import transitions
from shared.announcements.schedule import ATTEMPTS
from shared.documents import Task
from shared.settings import Settings
from shared.store import Store, open_store
from tests.integration.announcing_kit import (
    Receiver,
    fail,
    insert,
    insert_ended,
    is_at_rest,
    is_signed,
    look_once,
    message_of,
    receiving,
    require,
)
from tests.integration.worker_kit import WAIT_S, LossyStore, make_settings, wait_until
from worker import calls
from worker.caller import OF_ONE_RECEIVER, Caller
from worker.toolchains import ROOT

pytest_plugins = ["tests.contract.store_backends"]

# A sender's steps, and the call that each of them is.
STEPS = {"look": "calling", "read events": "events", "enter": "update", "read them again": "events", "begin": "update",
         "send": "send", "read the task": "get", "settle": "update", "read them at last": "events", "rest": "update"}
# Where it died, and then: how often the receiver has got it in all, and how many attempts were begun.
SENT = {("send", "after"): 2, ("read the task", "before"): 2, ("read the task", "after"): 2, ("settle", "before"): 2}
BEGUN = {("begin", "after"): 2, ("send", "before"): 2} | SENT


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def settings(tmp_path: Path, receiver: Receiver) -> Settings:
    """Without pauses: the next attempt is due at once."""
    return make_settings(tmp_path, callback_pauses=0.0, **receiver.settings())


def kill_at(number: int, when: str, store_url: str, receiver: Receiver) -> str:
    """What the sender was at."""
    told = receiver.settings()
    environment = {"MODEL_CONVERT_STORE_URL": store_url, "MODEL_CONVERT_CALLBACK_SECRET": told["callback_secret"],
                   "MODEL_CONVERT_CALLBACK_ALLOW": ",".join(told["callback_allow"]), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-m", "tests.integration.killed_sender", str(number), when],
                          env=environment, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == (-signal.SIGKILL if number <= len(STEPS) else 0), done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_sender_that_is_killed_at_any_step_has_announced_once(
        store_url: str, receiver: Receiver, settings: Settings, step: str, when: str) -> None:
    store = open_store(store_url, 10.0)
    task = insert_ended(store, receiver.url)
    assert kill_at(list(STEPS).index(step) + 1, when, store_url, receiver) == STEPS[step]
    wait_until(lambda: look_once(store, settings) is not None and is_at_rest(store, task))
    [entry] = require(store, task).announcements
    assert entry.state == "delivered" and set(receiver.ids) == {entry.id}
    assert (len(receiver.ids), entry.attempts) == (SENT.get((step, when), 1), BEGUN.get((step, when), 1))
    assert len({one.body for one in receiver.received}) == 1 and all(map(is_signed, receiver.received))
    store.close()


def test_a_sender_has_no_other_steps(store_url: str, receiver: Receiver) -> None:
    store = open_store(store_url, 10.0)
    insert_ended(store, receiver.url)
    assert kill_at(len(STEPS) + 1, "before", store_url, receiver) == ""
    store.close()


def test_a_message_says_what_has_ended_and_how(shared_store: Store, receiver: Receiver, settings: Settings
                                               ) -> None:
    task = insert(shared_store, receiver.url, labels={"team": "vision"})
    assert look_once(shared_store, settings) == []
    fail(shared_store, task)
    assert look_once(shared_store, settings) == [task.id]
    [one] = receiver.received
    assert (one.path, is_signed(one), message_of(one)["type"]) == ("/hooks/models?key=a%20b", True, "task.failed")
    told = message_of(one)["data"]
    assert (told["task_id"], told["error_code"], told["labels"]) == (task.id, "unsupported_operator", task.labels)


def test_each_end_of_a_task_is_announced_under_an_id_of_its_own(shared_store: Store, receiver: Receiver,
                                                                settings: Settings) -> None:
    task = insert_ended(shared_store, receiver.url)
    look_once(shared_store, settings)
    assert shared_store.update(task.id, transitions.retry())
    look_once(shared_store, settings)
    fail(shared_store, task)
    assert shared_store.update(task.id, transitions.retry())  # before anybody has looked
    look_once(shared_store, settings)
    assert [message_of(one)["type"] for one in receiver.received] == ["task.cancelled", "task.failed"]
    assert receiver.ids == [entry.id for entry in require(shared_store, task).announcements]
    assert len(set(receiver.ids)) == 2 and look_once(shared_store, settings) == []


def test_a_receiver_that_is_down_for_all_attempts_is_given_up_visibly(shared_store: Store, receiver: Receiver,
                                                                      settings: Settings) -> None:
    receiver.answer = lambda number: 500
    task = insert_ended(shared_store, receiver.url)
    look_once(shared_store, settings)
    [entry] = require(shared_store, task).announcements
    assert (entry.state, entry.attempts, entry.answer, entry.problem) == ("given_up", ATTEMPTS, 500, "status")
    assert receiver.ids == [entry.id] * ATTEMPTS and is_at_rest(shared_store, task)
    told = [event for event in shared_store.events(task.id) or [] if event.type == "callback_given_up"]
    assert [event.data for event in told] == [{"id": entry.id, "attempts": ATTEMPTS, "problem": "status"}]


def test_a_receiver_that_comes_back_for_the_last_attempt_has_it(shared_store: Store, receiver: Receiver,
                                                                settings: Settings) -> None:
    receiver.answer = lambda number: 204 if number == ATTEMPTS else 503
    task = insert_ended(shared_store, receiver.url)
    look_once(shared_store, settings)
    [entry] = require(shared_store, task).announcements
    assert (entry.state, entry.attempts, entry.problem, len(receiver.ids)) == ("delivered", ATTEMPTS, None, ATTEMPTS)


@pytest.mark.parametrize(("status", "problem", "attempts"), [(410, "gone", 1), (302, "redirect", ATTEMPTS)])
def test_a_receiver_that_wants_no_more_is_asked_no_more(shared_store: Store, receiver: Receiver,
                                                        settings: Settings, status: int, problem: str, attempts: int
                                                        ) -> None:
    receiver.answer = lambda number: status
    task = insert_ended(shared_store, receiver.url)
    look_once(shared_store, settings)
    [entry] = require(shared_store, task).announcements
    assert (entry.state, entry.problem, entry.attempts) == ("given_up", problem, attempts)
    assert len(receiver.ids) == attempts and is_at_rest(shared_store, task)


def test_a_failed_attempt_is_followed_by_another_only_after_its_pause(shared_store: Store, receiver: Receiver,
                                                                      settings: Settings) -> None:
    receiver.answer = lambda number: 500
    task = insert_ended(shared_store, receiver.url)
    look_once(shared_store, settings.model_copy(update={"callback_pauses": 1000.0}))
    now = require(shared_store, task)
    [entry] = now.announcements
    assert entry.last_at is not None and entry.next_at - entry.last_at > 4000
    assert now.call_at == entry.next_at and look_once(shared_store, settings) == [] and len(receiver.ids) == 1


def test_a_task_that_is_deleted_while_it_is_announced_is_no_error(shared_store: Store, receiver: Receiver,
                                                                  settings: Settings) -> None:
    task = insert_ended(shared_store, receiver.url)

    def delete(number: int) -> int:
        assert shared_store.delete(task.id)
        return 204

    receiver.answer = delete
    look_once(shared_store, settings)
    assert shared_store.get(task.id) is None and len(receiver.ids) == 1


def test_an_answer_is_written_down_although_the_store_is_away_and_the_task_goes_on_meanwhile(
        shared_store: Store, receiver: Receiver, settings: Settings) -> None:
    task = insert_ended(shared_store, receiver.url)
    lossy: Any = LossyStore(shared_store)

    def meanwhile(number: int) -> int:
        lossy.reads = 2
        assert shared_store.update(task.id, transitions.retry())
        return 204

    receiver.answer = meanwhile
    look_once(lossy, settings)
    assert require(shared_store, task).announcements[0].state == "delivered" and len(receiver.ids) == 1


def test_a_last_attempt_whose_sender_was_lost_is_given_up(shared_store: Store, receiver: Receiver,
                                                          settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    task = insert_ended(shared_store, receiver.url)
    monkeypatch.setattr(calls, "LEASE_S", 0.0)

    def lost(*_: object) -> None:
        raise ZeroDivisionError  # whatever ends a sender

    with monkeypatch.context() as patched:
        patched.setattr(calls, "send", lost)
        for _ in range(ATTEMPTS):
            with pytest.raises(ZeroDivisionError):
                look_once(shared_store, settings)
    look_once(shared_store, settings)
    [entry] = require(shared_store, task).announcements
    assert (entry.state, entry.problem, entry.attempts, receiver.ids) == ("given_up", "lost", ATTEMPTS, [])


# --- the threads ------------------------------------------------------------------------------------------------------


@pytest.fixture
def callers(store_url: str, settings: Settings) -> Iterator[list[Caller]]:
    stores = [open_store(store_url, 10.0) for _ in range(3)]
    running = [Caller(store, settings) for store in stores]
    yield running
    for caller, store in zip(running, stores, strict=True):
        caller.close()
        store.close()


def test_three_workers_announce_each_of_many_ends_once(shared_store: Store, receiver: Receiver,
                                                       callers: list[Caller]) -> None:
    tasks = [insert_ended(shared_store, receiver.url) for _ in range(30)]
    wait_until(lambda: all(is_at_rest(shared_store, task) for task in tasks))
    assert Counter(receiver.ids) == {require(shared_store, task).announcements[0].id: 1 for task in tasks}


def test_a_receiver_that_does_not_answer_holds_up_no_other(shared_store: Store, receiver: Receiver,
                                                           settings: Settings) -> None:
    let_go = threading.Event()

    def hang(number: int) -> int:
        let_go.wait(WAIT_S)
        return 204

    receiver.answer = hang
    with receiving() as quick:
        for _ in range(3 * OF_ONE_RECEIVER):
            insert_ended(shared_store, receiver.url)
        caller = Caller(shared_store, settings.model_copy(update={"callback_allow": (receiver.place, quick.place)}))
        try:
            wait_until(lambda: len(receiver.ids) == OF_ONE_RECEIVER)
            task = insert_ended(shared_store, quick.url)
            wait_until(lambda: is_at_rest(shared_store, task))
            assert len(quick.ids) == 1
        finally:
            let_go.set()
            caller.close()


def test_a_silent_receiver_with_more_than_a_look_full_of_tasks_holds_up_no_other(
        shared_store: Store, receiver: Receiver, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has to hear is postponed, and not forgotten."""
    let_go = threading.Event()
    monkeypatch.setattr(worker.caller, "LIMIT", 5)
    monkeypatch.setattr(worker.caller, "SILENT_S", 0.0)
    monkeypatch.setattr(worker.caller, "LOOK_S", 0.1)
    monkeypatch.setattr(calls, "send", partial(calls.send, limit_s=50.0))  # else a busy machine has a second attempt

    def hang(number: int) -> int:
        let_go.wait(WAIT_S)
        return 204

    receiver.answer = hang
    with receiving() as quick:
        silent = [insert_ended(shared_store, receiver.url) for _ in range(20)]
        task = insert_ended(shared_store, quick.url)
        caller = Caller(shared_store, settings.model_copy(update={"callback_allow": (receiver.place, quick.place)}))
        try:
            wait_until(lambda: is_at_rest(shared_store, task))
            assert len(quick.ids) == 1 and len(receiver.ids) == OF_ONE_RECEIVER
            postponed = [one for one in silent if (require(shared_store, one).call_at or 0.0) > time.time()]
            assert len(postponed) > OF_ONE_RECEIVER
        finally:
            let_go.set()
            caller.close()
    assert not any(is_at_rest(shared_store, one) for one in postponed)


def test_a_receiver_that_answers_has_nothing_postponed(shared_store: Store, receiver: Receiver, settings: Settings,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.caller, "LIMIT", 5)
    tasks = [insert_ended(shared_store, receiver.url) for _ in range(20)]
    caller = Caller(shared_store, settings)
    try:
        wait_until(lambda: len(receiver.ids) == len(tasks))
        wait_until(lambda: all(is_at_rest(shared_store, task) for task in tasks))
    finally:
        caller.close()
    assert len(set(receiver.ids)) == len(tasks)


def test_closing_lets_an_attempt_under_way_come_to_its_end(shared_store: Store, receiver: Receiver,
                                                           settings: Settings) -> None:
    let_go, closing = threading.Event(), threading.Event()

    def hang(number: int) -> int:
        let_go.wait(WAIT_S)
        return 204

    receiver.answer = hang
    task: Task = insert_ended(shared_store, receiver.url)
    caller = Caller(shared_store, settings)
    wait_until(lambda: len(receiver.ids) == 1)
    thread = threading.Thread(target=lambda: (closing.set(), caller.close()))
    thread.start()
    assert closing.wait(WAIT_S)
    let_go.set()
    thread.join(WAIT_S)
    [entry] = require(shared_store, task).announcements
    assert not thread.is_alive() and (entry.state, entry.attempts) == ("delivered", 1)


def test_nothing_of_a_url_but_its_host_is_in_the_log(shared_store: Store, receiver: Receiver, settings: Settings,
                                                     caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    receiver.answer = lambda number: 500 if number < ATTEMPTS else 204
    insert_ended(shared_store, receiver.url)
    look_once(shared_store, settings)
    told = [record.getMessage() + str(record.__dict__) for record in caplog.records if record.name == "worker.calls"]
    assert len(told) == ATTEMPTS and all(receiver.place in line for line in told)
    assert not any("key=" in line or "/hooks" in line for line in told)
