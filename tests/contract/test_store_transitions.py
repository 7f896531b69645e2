"""Every transition on every store: hit or miss, and what is stored then, are those of the model in store_model.py.

tests/unit/test_transitions.py shows that the model and the transitions are the table of docs/protocol.md.
"""
from __future__ import annotations

import time

import pytest

from shared import transitions
from shared.documents import Status
from shared.store import Store
from tests.contract.store_changes import BEAT, EPOCH, EVERY, FAILURE, FETCH, MAX_RETRIES, OWNER, PUBLISH, RESULT
from tests.contract.store_model import FAR_FUTURE, apply, make_task

pytest_plugins = ["tests.contract.store_backends"]

# Every status, with one thing at a time unlike what a change asks for: each kind of miss, and the hits.
LIKE = {"owner": OWNER, "epoch": EPOCH, "beat": BEAT}
UNLIKE = [{}, {"owner": "w2"}, {"owner": None}, {"epoch": EPOCH + 1}, {"beat": BEAT + 1}, {"announced": EPOCH},
          {"retries": MAX_RETRIES}, {"owner": None, "next_run_at": FAR_FUTURE}, {"owner": None, "error": FAILURE}]


@pytest.mark.parametrize("name", EVERY)
def test_a_transition_changes_what_fits_and_nothing_else(store: Store, name: str):
    change = EVERY[name]()
    hits = 0
    for status in Status:
        for unlike in UNLIKE:
            before = make_task(status=status, **LIKE | unlike)
            store.insert(before)
            expected = apply(before, change)
            hits += expected is not None
            assert store.update(before.id, change) == expected
            assert store.get(before.id) == (expected or before)
    assert 0 < hits < len(Status) * len(UNLIKE)


def test_a_second_claim_of_an_owned_task_misses(store: Store):
    task = make_task()
    store.insert(task)
    assert store.update(task.id, transitions.claim("w1")).owner == "w1"
    assert store.update(task.id, transitions.claim("w2")) is None
    assert store.get(task.id).owner == "w1"


def test_a_worker_that_slept_through_its_lease_can_write_nothing(store: Store):
    task = make_task()
    store.insert(task)
    first = store.update(task.id, transitions.claim("w1"))
    (seen,) = store.owned()
    store.update(task.id, transitions.reap(seen, max_retries=3, delay_s=0.0))
    successor = store.update(task.id, transitions.claim("w2"))
    assert (successor.epoch, successor.retries) == (2, 1)
    for late in (transitions.beat("w1", first.epoch), transitions.commit_stages("w1", first.epoch, [FETCH], 10.0),
                 transitions.complete("w1", first.epoch, RESULT, [FETCH]), transitions.fail("w1", first.epoch, FAILURE),
                 transitions.park("w1", first.epoch), transitions.release("w1", first.epoch)):
        assert store.update(task.id, late) is None
    assert store.get(task.id) == successor


def test_a_worker_that_claims_again_after_its_restart_is_told_from_before_by_the_epoch(store: Store):
    task = make_task(status="running", owner="w1", epoch=2)
    store.insert(task)
    assert store.update(task.id, transitions.beat("w1", 1)) is None
    assert store.update(task.id, transitions.beat("w1", 2)).beat == 1


def test_a_beat_between_two_looks_of_the_reaper_saves_the_task(store: Store):
    task = make_task()
    store.insert(task)
    store.update(task.id, transitions.claim("w1"))
    (seen,) = store.owned()
    store.update(task.id, transitions.beat("w1", 1))
    assert store.update(task.id, transitions.reap(seen, max_retries=3, delay_s=0.0)) is None


def test_a_whole_life_with_a_pause_keeps_every_finished_stage(store: Store):
    task = make_task()
    store.insert(task)
    store.update(task.id, transitions.claim("w1"))
    store.update(task.id, transitions.begin_stage("w1", 1, "fetch", 0.0, time.time()))
    paused = store.update(task.id, transitions.pause())
    assert paused.status == Status.PAUSED and paused.owner == "w1"
    store.update(task.id, transitions.commit_stages("w1", 1, [FETCH], 12.5))
    parked = store.update(task.id, transitions.park("w1", 1))
    assert parked.owner is None and parked.stages == [FETCH]
    assert store.waiting(["intel"], limit=1) == []
    resumed = store.update(task.id, transitions.resume())
    assert store.waiting(["intel"], limit=1) == [resumed]
    store.update(task.id, transitions.claim("w2"))
    done = store.update(task.id, transitions.complete("w2", 2, RESULT, [FETCH, PUBLISH]))
    assert (done.status, done.result, done.stages, done.progress) == (Status.COMPLETED, RESULT, [FETCH, PUBLISH], 100.0)
    assert store.update(task.id, transitions.cancel()) is None
    assert store.owned() == []
