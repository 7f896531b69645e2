"""Any sequence of transitions on every store, beside the plain model of store_model.py: the same hits and misses, and
after each step the same documents, events, lists, waiting order and claims.

Owners come back with claims that others have long taken over, reapers with what they saw long ago, clients with tasks
that are gone; and whoever lost an answer does the same again.
"""
from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import mongomock
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared import transitions
from shared.documents import Status, StoredEvent, Task
from shared.store import KEPT_EVENTS, Claim, DuplicateKey, Store, TaskFilter, open_store
from shared.store.mongo import MongoStore
from shared.transitions import WAITING, Change
from tests.contract.store_changes import BY_CLIENTS, FAILURE, FETCH, LOG_LINES, PUBLISH, RESULT
from tests.contract.store_model import TIMEOUT_S, apply, make_task
from tests.fixtures.mongo import fresh_database

pytestmark = pytest.mark.unmeasured

PLATFORMS = ("intel", "rockchip")
WORKERS = ("w1", "w2", "w3")
KEYS = ("k1", "k2")
MAX_RETRIES = 1
LONG_S = 10_000.0
STEPS = 60
PAGE_SIZE = 3

# What an owner writes, by its name and epoch.
BY_OWNERS: dict[str, Callable[[str, int], Change]] = {
    "beat": transitions.beat,
    "beat with progress": lambda owner, epoch: transitions.beat(owner, epoch, 41.5),
    "beat with log lines": lambda owner, epoch: transitions.beat(owner, epoch, 41.5, LOG_LINES),
    "begin_stage": lambda owner, epoch: transitions.begin_stage(owner, epoch, "compile", 40.0, 1_700_000_000.125),
    "commit_stages": lambda owner, epoch: transitions.commit_stages(owner, epoch, [FETCH], 12.5, finished=[FETCH]),
    "park": transitions.park,
    "release": transitions.release,
    "release for long": lambda owner, epoch: transitions.release(owner, epoch, LONG_S),
    "complete": lambda owner, epoch: transitions.complete(owner, epoch, RESULT, [FETCH, PUBLISH]),
    "fail": lambda owner, epoch: transitions.fail(owner, epoch, FAILURE),
}


class StoreBesideModel(RuleBasedStateMachine):
    """`open_empty` gives a store without a task; everything else is decided by hypothesis."""

    open_empty: Callable[[], Store]
    takes_many: bool

    tasks = Bundle("tasks")
    claims = Bundle("claims")  # (task, owner, epoch) as they were made; most are stale soon
    sightings = Bundle("sightings")  # what some reaper saw once

    def __init__(self) -> None:
        super().__init__()
        self.store = self.open_empty()
        self.model: dict[str, Task] = {}
        self.events: dict[str, list[StoredEvent]] = {}

    def teardown(self) -> None:
        for task_id in self.model:
            self.store.delete(task_id)
        self.store.close()

    def _update(self, task_id: str, change: Change, lost: bool) -> Task | None:
        """As both see it. With `lost` the first answer does not arrive, and the caller tries again."""
        if lost:
            self.store.update(task_id, change)
            self._apply(task_id, change)
        answer = self.store.update(task_id, change)
        assert answer == self._apply(task_id, change)
        return answer

    def _apply(self, task_id: str, change: Change) -> Task | None:
        changed = apply(self.model[task_id], change) if task_id in self.model else None
        if changed is not None:
            self.model[task_id] = changed
            known = self.events[task_id]
            known += [StoredEvent(seq=len(known) + number, **event.model_dump())
                      for number, event in enumerate(change.events, 1)]
        return changed

    def _waiting(self) -> list[Task]:
        now = time.time()
        return sorted((task for task in self.model.values() if task.owner is None and task.status in WAITING
                       and task.next_run_at <= now), key=lambda task: (task.queue_order, task.id))

    def _owned(self) -> list[Task]:
        return [task for task in self.model.values() if task.owner is not None]

    @rule(target=tasks, platform=st.sampled_from(PLATFORMS), order=st.integers(-2, 2), with_event=st.booleans(),
          key=st.none() | st.sampled_from(KEYS))
    def create(self, platform: str, order: int, with_event: bool, key: str | None) -> str:
        task = make_task(platform=platform, queue_order=float(order), idempotency_key=key)
        events = [transitions.created(task)] if with_event else []
        first = next((t.id for t in self.model.values() if key and t.idempotency_key == key), None)
        if first is not None:
            with pytest.raises(DuplicateKey) as duplicate:
                self.store.insert(task, events)
            assert duplicate.value.existing == self.model[first]
            return first
        self.store.insert(task, events)
        self.model[task.id] = task.model_copy(update={"event_count": len(events)})
        self.events[task.id] = [StoredEvent(seq=1, **event.model_dump()) for event in events]
        return task.id

    @rule(target=claims, task_id=tasks, worker=st.sampled_from(WORKERS), lost=st.booleans())
    def claim(self, task_id: str, worker: str, lost: bool) -> tuple[str, str, int]:
        self._update(task_id, transitions.claim(worker), lost)
        return task_id, worker, self.model[task_id].epoch if task_id in self.model else 0

    @precondition(lambda self: self._waiting())
    @rule(target=claims, worker=st.sampled_from(WORKERS))
    def claim_the_first_that_waits(self, worker: str) -> tuple[str, str, int]:
        first = self._waiting()[0]
        claimed = self._update(first.id, transitions.claim(worker), False)
        assert (claimed.status, claimed.owner, claimed.epoch) == (Status.RUNNING, worker, first.epoch + 1)
        return first.id, worker, claimed.epoch

    @rule(claim=claims, name=st.sampled_from(sorted(BY_OWNERS)), lost=st.booleans())
    def write_as_whoever_claimed_it_once(self, claim: tuple[str, str, int], name: str, lost: bool) -> None:
        task_id, owner, epoch = claim
        self._update(task_id, BY_OWNERS[name](owner, epoch), lost)

    @precondition(lambda self: self._owned())
    @rule(number=st.integers(0, 9), name=st.sampled_from(sorted(BY_OWNERS)), lost=st.booleans())
    def write_as_owner(self, number: int, name: str, lost: bool) -> None:
        owned = self._owned()
        task = owned[number % len(owned)]
        self._update(task.id, BY_OWNERS[name](task.owner, task.epoch), lost)

    @rule(task_id=tasks, name=st.sampled_from(sorted(BY_CLIENTS)), lost=st.booleans())
    def act_as_client(self, task_id: str, name: str, lost: bool) -> None:
        self._update(task_id, BY_CLIENTS[name](), lost)

    @precondition(lambda self: self._owned())
    @rule(target=sightings, number=st.integers(0, 9))
    def look_as_reaper(self, number: int) -> Claim:
        owned = sorted(self.store.owned(), key=lambda claim: claim.id)
        return owned[number % len(owned)]

    @rule(seen=sightings, delay_s=st.sampled_from((0.0, LONG_S)), lost=st.booleans())
    def reap(self, seen: Claim, delay_s: float, lost: bool) -> None:
        self._update(seen.id, transitions.reap(seen, max_retries=MAX_RETRIES, delay_s=delay_s), lost)

    @rule(task_ids=st.lists(tasks, max_size=3), behind=st.integers(0, 1))
    def announce(self, task_ids: list[str], behind: int) -> None:
        changes = [(task_id, transitions.mark_announced(self.model[task_id].epoch - behind if task_id in self.model
                                                        else 0)) for task_id in task_ids]
        if self.takes_many:
            self.store.update_many(changes)
        else:
            for task_id, change in changes:
                self.store.update(task_id, change)
        for task_id, change in changes:
            self._apply(task_id, change)

    @rule(task_id=tasks)
    def delete(self, task_id: str) -> None:
        assert self.store.delete(task_id) == self.model.pop(task_id, None)
        self.events.pop(task_id, None)

    @invariant()
    def documents_and_events_are_the_models(self) -> None:
        for task_id, task in self.model.items():
            assert self.store.get(task_id) == task
            assert self.store.events(task_id) == self.events[task_id][-KEPT_EVENTS:]
            assert self.store.events(task_id, after=1) == self.events[task_id][1:]
        assert self.store.get_many([*self.model, "task_unknown"]) == self.model
        assert self.store.get("task_unknown") is self.store.events("task_unknown") is None

    @invariant()
    def lists_are_the_models(self) -> None:
        newest_first = sorted(self.model.values(), key=lambda task: (task.created_at, task.id), reverse=True)
        for narrow in (TaskFilter(), *(TaskFilter(status=status.value) for status in Status),
                       TaskFilter(platform="intel"), TaskFilter(status="failed", platform="rockchip")):
            fitting = [task for task in newest_first if narrow.status in (None, task.status)
                       and narrow.platform in (None, task.platform)]
            for page in range(1, len(fitting) // PAGE_SIZE + 2):
                expected = fitting[(page - 1) * PAGE_SIZE:page * PAGE_SIZE]
                assert self.store.list_page(narrow, page, PAGE_SIZE) == (expected, len(fitting))

    @invariant()
    def what_waits_and_what_is_owned_are_the_models(self) -> None:
        waiting = self._waiting()
        assert self.store.waiting(list(PLATFORMS), limit=100) == waiting
        assert self.store.waiting(list(PLATFORMS), limit=2) == waiting[:2]
        assert self.store.waiting(["intel"], limit=100) == [task for task in waiting if task.platform == "intel"]
        assert self.store.waiting(list(PLATFORMS), limit=100, unannounced=True) == [
            task for task in waiting if task.announced == -1]
        owned = {task.id: Claim(task.id, task.owner, task.epoch, task.beat, task.status, task.retries)
                 for task in self._owned()}
        assert {claim.id: claim for claim in self.store.owned()} == owned


def _check(open_empty: Callable[[], Store], examples: int, takes_many: bool = True) -> None:
    machine = type("Machine", (StoreBesideModel,), {"open_empty": staticmethod(open_empty), "takes_many": takes_many})
    in_ci = bool(os.environ.get("CI"))
    run_state_machine_as_test(machine, settings=settings(
        max_examples=examples, stateful_step_count=STEPS, deadline=None, database=None, derandomize=in_ci,
        phases=[Phase.generate] if in_ci else list(Phase),  # making an example smaller may take minutes
        suppress_health_check=list(HealthCheck)))


def test_sqlite_does_as_the_model_does(tmp_path: Path):
    numbers = iter(range(10**6))
    _check(lambda: open_store(f"sqlite:{tmp_path / f'{next(numbers)}.db'}", TIMEOUT_S), examples=100)


def test_the_mongo_adapter_does_as_the_model_does_in_one_process():
    _check(lambda: MongoStore("mongodb://unused", TIMEOUT_S, client=mongomock.MongoClient()), examples=30,
           takes_many=False)  # its bulk writes do not know the arguments that pymongo passes by now


def test_the_mongo_adapter_does_as_the_model_does_over_the_wire(request: pytest.FixtureRequest):
    with fresh_database(request.getfixturevalue("mongo_java_server_url")) as url:
        _check(lambda: open_store(url, TIMEOUT_S), examples=20)
