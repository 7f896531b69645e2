"""Each rule of docs/protocol.md's table is tried on every combination of the fields that any rule looks at."""
from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from shared import transitions
from shared.documents import TERMINAL, Status, Task
from shared.store import Claim
from tests.contract.store_changes import (
    BEAT,
    BY_THE_SERVICE,
    DELAY_S,
    EPOCH,
    EVERY,
    FAILURE,
    FETCH,
    LOG_LINES,
    MAX_RETRIES,
    OWNER,
    PUBLISH,
    RESULT,
)
from tests.contract.store_model import FAR_FUTURE, apply, make_task

NOW = object()  # a time between the start of the test and its end
LATER = object()  # that, plus DELAY_S
FREE = {"owner": None, "log_lines": [], "waits_for": None}

FIELDS: dict[str, tuple[Any, ...]] = {
    "status": tuple(Status),
    "owner": (None, OWNER, "w2"),
    "epoch": (EPOCH, EPOCH + 1),
    "beat": (BEAT, BEAT + 1),
    "retries": (0, MAX_RETRIES),
    "announced": (-1, EPOCH),
    "next_run_at": (0.0, FAR_FUTURE),
}
STATES = [make_task(**dict(zip(FIELDS, values, strict=True)), error=FAILURE, finished_at=5.0,
                    log_lines=["said before"] if values[1] else [], waits_for="stage" if values[1] else "files")
          for values in itertools.product(*FIELDS.values())]


def owned(task: Task, *statuses: Status) -> bool:
    return task.owner == OWNER and task.epoch == EPOCH and (not statuses or task.status in statuses)


def unchanged(task: Task, status: Status, retries: int) -> bool:
    return owned(task, status) and task.beat == BEAT and task.retries == retries


# The table of docs/protocol.md: when a change takes place, and everything that is different afterwards.
TABLE: dict[str, tuple[Callable[[Task], bool], Callable[[Task], dict[str, Any]]]] = {
    "claim": (lambda t: t.status in ("pending", "running") and t.owner is None and t.next_run_at == 0.0,
              lambda t: {"status": "running", "owner": "w9", "beat": 0, "epoch": t.epoch + 1, "waits_for": None,
                         "updated_at": NOW}),
    "beat": (owned, lambda t: {"beat": t.beat + 1}),
    "beat with progress": (owned, lambda t: {"beat": t.beat + 1, "progress": 41.5}),
    "beat with log lines": (owned, lambda t: {"beat": t.beat + 1, "progress": 41.5, "log_lines": LOG_LINES}),
    "begin_stage": (lambda t: owned(t, Status.RUNNING),
                    lambda t: {"stage": "compile", "progress": 40.0, "started_at": 1_700_000_000.125,
                               "beat": t.beat + 1, "log_lines": [], "updated_at": NOW}),
    "commit_stages": (lambda t: owned(t, Status.RUNNING, Status.PAUSED),
                      lambda t: {"stages": [FETCH], "stage": "fetch", "retries": 0, "progress": 12.5,
                                 "beat": t.beat + 1, "updated_at": NOW}),
    "commit_stages of two new ones": (lambda t: owned(t, Status.RUNNING, Status.PAUSED),
                                      lambda t: {"stages": [FETCH, PUBLISH], "stage": "publish", "retries": 0,
                                                 "progress": 12.5, "beat": t.beat + 1, "updated_at": NOW}),
    "wait": (owned, lambda t: {"waits_for": "files", "beat": t.beat + 1}),
    "end_wait": (owned, lambda t: {"waits_for": None, "beat": t.beat + 1}),
    "note_outage": (owned, lambda t: {"beat": t.beat + 1}),
    "park": (lambda t: owned(t, Status.PAUSED), lambda t: {**FREE, "updated_at": NOW}),
    "release": (lambda t: owned(t, Status.RUNNING),
                lambda t: {**FREE, "announced": -1, "next_run_at": LATER, "updated_at": NOW}),
    "release because the object store is away": (
        lambda t: owned(t, Status.RUNNING),
        lambda t: {**FREE, "announced": -1, "next_run_at": LATER, "waits_for": "files", "updated_at": NOW}),
    "complete": (lambda t: owned(t, Status.RUNNING),
                 lambda t: {"status": "completed", **FREE, "result": RESULT, "stages": [FETCH, PUBLISH],
                            "stage": "publish", "progress": 100.0, "finished_at": NOW, "updated_at": NOW,
                            "call_at": 0.0}),
    "fail": (lambda t: owned(t, Status.RUNNING),
             lambda t: {"status": "failed", **FREE, "error": FAILURE, "finished_at": NOW, "updated_at": NOW,
                        "call_at": 0.0}),
    "pause": (lambda t: t.status == "running", lambda t: {"status": "paused", "updated_at": NOW}),
    "resume": (lambda t: t.status == "paused",
               lambda t: {"status": "running", "announced": -1, "next_run_at": 0.0, "updated_at": NOW}),
    "cancel": (lambda t: t.status not in TERMINAL,
               lambda t: {"status": "failed", **FREE, "error.code": "cancelled", "finished_at": NOW,
                          "updated_at": NOW, "call_at": 0.0}),
    "retry": (lambda t: t.status == "failed",
              lambda t: {"status": "pending", "error": None, "retries": 0, "announced": -1, "next_run_at": 0.0,
                         "finished_at": None, "updated_at": NOW, "call_at": 0.0}),
    "reap": (lambda t: unchanged(t, Status.RUNNING, 0),
             lambda t: {**FREE, "announced": -1, "retries": 1, "next_run_at": LATER, "updated_at": NOW}),
    "reap for the last time": (lambda t: unchanged(t, Status.RUNNING, MAX_RETRIES),
                               lambda t: {"status": "failed", **FREE, "error.code": "worker_lost",
                                          "announced": -1, "finished_at": NOW, "updated_at": NOW, "call_at": 0.0}),
    "reap while paused": (lambda t: unchanged(t, Status.PAUSED, 0),
                          lambda t: {**FREE, "announced": -1, "updated_at": NOW}),
    "mark_announced": (lambda t: t.epoch == EPOCH and t.announced == -1, lambda t: {"announced": EPOCH}),
}


FETCHED = ("stage_finished", {"stage": "fetch", "seconds": 0.25, "cached": False})
PUBLISHED = ("stage_finished", {"stage": "publish", "seconds": 1.5, "cached": True})

# What each change tells of itself: the events' types and data. What comes every second, or is no news, tells nothing.
EVENTS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "claim": [("claimed", {"worker": "w9"})],
    "beat": [],
    "beat with progress": [],
    "beat with log lines": [],
    "begin_stage": [("stage_started", {"stage": "compile"})],
    "commit_stages": [],
    "commit_stages of two new ones": [FETCHED, PUBLISHED],
    "wait": [("waiting", {"waits_for": "files"})],
    "end_wait": [("wait_over", {})],
    "note_outage": [("waiting", {"waits_for": "store"}), ("wait_over", {"seconds": 12.5})],
    "park": [("parked", {"worker": OWNER})],
    "release": [("released", {"worker": OWNER})],
    "release because the object store is away": [("released", {"worker": OWNER, "waits_for": "files"})],
    "complete": [PUBLISHED, ("completed", {})],
    "fail": [("failed", {"code": "unsupported_operator", "stage": "compile"})],
    "pause": [("paused", {})],
    "resume": [("resumed", {})],
    "cancel": [("cancelled", {})],
    "retry": [("retried", {})],
    "reap": [("reaped", {"worker": OWNER, "retries": 1})],
    "reap for the last time": [("reaped", {"worker": OWNER, "retries": MAX_RETRIES + 1}),
                               ("failed", {"code": "worker_lost", "stage": None})],
    "reap while paused": [("reaped", {"worker": OWNER, "retries": 0})],
    "mark_announced": [],
}


def test_the_tables_name_every_transition():
    assert TABLE.keys() == EVENTS.keys() == EVERY.keys()


@pytest.mark.parametrize("name", EVERY)
def test_a_change_tells_of_itself_as_the_table_says(name):
    start = time.time()
    events = EVERY[name]().events
    assert [(event.type, event.data) for event in events] == EVENTS[name]
    assert all(start <= event.at <= time.time() for event in events)


def test_a_tasks_first_event_is_of_the_moment_of_its_creation():
    task = make_task()
    event = transitions.created(task)
    assert (event.type, event.at, event.data) == ("created", task.created_at, {})


@pytest.mark.parametrize("name", EVERY)
def test_a_change_takes_place_exactly_where_the_table_says(name):
    fits, _ = TABLE[name]
    change = EVERY[name]()
    wrong = [task for task in STATES if (apply(task, change) is not None) != fits(task)]
    assert wrong == []
    assert 0 < sum(map(fits, STATES)) < len(STATES)


@pytest.mark.parametrize("name", EVERY)
def test_a_change_has_exactly_the_effects_that_the_table_says(name):
    fits, effect = TABLE[name]
    start = time.time()
    change = EVERY[name]()
    end = time.time()
    for task in filter(fits, STATES):
        after, expected = apply(task, change), effect(task)
        for field, value in expected.items():
            holder, _, part = field.partition(".")
            seen = getattr(getattr(after, holder), part) if part else getattr(after, holder)
            if value in (NOW, LATER):
                delay_s = DELAY_S if value is LATER else 0.0
                assert start + delay_s <= seen <= end + delay_s, field
            else:
                assert seen == value, field
        assert after.event_count == task.event_count + len(EVENTS[name])
        untouched = Task.model_fields.keys() - {"event_count"} - {field.partition(".")[0] for field in expected}
        assert {f: getattr(after, f) for f in untouched} == {f: getattr(task, f) for f in untouched}


@pytest.mark.parametrize("name", BY_THE_SERVICE)
def test_only_a_client_changes_the_status_of_a_paused_or_finished_task(name):
    change = BY_THE_SERVICE[name]()
    for task in STATES:
        after = apply(task, change)
        if after is not None and task.status not in ("pending", "running"):
            assert after.status == task.status


@pytest.mark.parametrize("name", EVERY)
def test_a_task_that_ends_has_no_owner(name):
    change = EVERY[name]()
    for task in STATES:
        after = apply(task, change)
        if after is not None and after.status in TERMINAL and task.status not in TERMINAL:
            assert after.owner is None


@pytest.mark.parametrize("name", EVERY)
def test_what_a_stage_said_is_gone_with_its_owner(name):
    change = EVERY[name]()
    for task in STATES:
        after = apply(task, change)
        if after is not None and after.owner is None:
            assert after.log_lines == []


@pytest.mark.parametrize("name", EVERY)
def test_the_epoch_grows_with_a_claim_and_never_else(name):
    change = EVERY[name]()
    for task in STATES:
        after = apply(task, change)
        if after is not None:
            assert after.epoch - task.epoch == (1 if name == "claim" else 0)


@pytest.mark.parametrize("name", EVERY)
def test_a_task_that_comes_to_wait_is_due_a_doorbell(name):
    def waits(task: Task) -> bool:
        return task.status in ("pending", "running") and task.owner is None

    change = EVERY[name]()
    for task in STATES:
        after = apply(task, change)
        if after is not None and waits(after) and not waits(task):
            assert after.announced == -1


@pytest.mark.parametrize(("retries", "delay_s"), [(0, 2.0), (1, 4.0), (2, 8.0)])
def test_each_lost_worker_doubles_the_wait(retries, delay_s):
    start = time.time()
    change = transitions.reap(Claim("t", "w", 1, 0, Status.RUNNING, retries), max_retries=3, delay_s=2.0)
    assert start + delay_s <= change.set["next_run_at"] <= time.time() + delay_s


@pytest.mark.parametrize("name", EVERY)
def test_no_change_both_sets_and_increments_a_field(name):
    change = EVERY[name]()
    assert not change.set.keys() & change.increment.keys()
