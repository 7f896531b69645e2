"""Which tasks owe something to others: those at which a sender is to look, and those whose events are not told yet."""
from __future__ import annotations

import time

import pytest

from shared import transitions
from shared.announcements import changes
from shared.announcements.outcomes import Outcome
from shared.documents import Event, Status, Task
from shared.store import Store
from tests.contract.store_model import FAR_FUTURE, make_task
from tests.contract.store_raw import edit_raw, get_raw

pytest_plugins = ["tests.contract.store_backends"]

URL = "https://example.com/done?token=1"
CREATED = [Event(type="created", at=1.0, data={})]


def insert(store: Store, **fields: object) -> Task:
    task = make_task(callback_url=URL, **fields)
    store.insert(task, CREATED)
    return task


def calling(store: Store, limit: int = 10) -> list[str]:
    return [task.id for task in store.calling(limit=limit)]


def now(store: Store, task: Task) -> Task:
    found = store.get(task.id)
    assert found is not None
    return found


def noted(store: Store, task: Task) -> Task:
    """With what its ends owe."""
    change = changes.note_ends(now(store, task), store.events(task.id) or [])
    assert change is not None
    written = store.update(task.id, change)
    assert written is not None
    return written


def test_a_task_that_has_ended_is_to_be_looked_at_and_no_other(store: Store) -> None:
    ended, _, other = insert(store), insert(store), make_task()
    store.insert(other, CREATED)
    for task in (ended, other):
        assert store.update(task.id, transitions.cancel())
    assert calling(store) == [ended.id]


def test_what_an_older_version_has_ended_is_found_too(store: Store) -> None:
    """It writes no `call_at`."""
    early, late = insert(store), insert(store)
    for task in (early, late):
        assert store.update(task.id, transitions.cancel())
    edit_raw(store, late.id, "call_at")
    assert calling(store) == [early.id, late.id]
    assert len(calling(store, limit=1)) == 1


def test_what_is_at_rest_is_not_looked_at_until_it_ends_again(store: Store) -> None:
    task = insert(store)
    assert store.update(task.id, transitions.cancel())
    entry = noted(store, task).announcements[0]
    begun = store.update(task.id, changes.begin_attempt(now(store, task), entry.seq, now=time.time(), lease_s=60))
    assert begun is not None and calling(store) == []
    settled = store.update(task.id, changes.settle_attempt(begun, entry.seq, 1, Outcome(None, 204), 0.0))
    assert settled is not None and calling(store) == [task.id]
    rested = store.update(task.id, changes.rest(settled))
    assert rested is not None and rested.call_at == changes.NEVER and calling(store) == []
    assert store.update(task.id, transitions.retry())
    assert store.update(task.id, changes.rest(now(store, task))) and calling(store) == []
    assert store.update(task.id, transitions.cancel()) and calling(store) == [task.id]


def test_what_is_due_comes_in_the_order_in_which_it_was(store: Store) -> None:
    late, early, future = insert(store), insert(store), insert(store)
    for task, call_at in ((late, 30.0), (early, 20.0), (future, FAR_FUTURE)):
        assert store.update(task.id, transitions.cancel())
        edit_raw(store, task.id, call_at=call_at)
    assert calling(store) == [early.id, late.id]
    assert calling(store, limit=1) == [early.id]


@pytest.mark.parametrize("stale", ["calls", "event_count"])
def test_a_sender_that_has_not_seen_the_newest_writes_nothing(store: Store, stale: str) -> None:
    task = insert(store)
    assert store.update(task.id, transitions.cancel())
    seen = noted(store, task)
    assert store.update(task.id, changes.rest(seen) if stale == "calls" else transitions.retry())
    before = now(store, task)
    seq = seen.announcements[0].seq
    for change in (changes.begin_attempt(seen, seq, now=1.0, lease_s=1.0), changes.rest(seen),
                   changes.give_up(seen, seq), changes.settle_attempt(seen, seq, 1, Outcome(None), 0.0)):
        assert store.update(task.id, change) is None
    assert now(store, task) == before


def test_a_document_of_a_task_without_a_callback_has_no_field_of_announcements(store: Store) -> None:
    task = make_task()
    store.insert(task, CREATED)
    assert store.update(task.id, transitions.claim("w1"))
    assert not {"callback_url", "calls", "announcements", "told", "calls_back"} & get_raw(store, task.id).keys()


def test_an_unreadable_document_takes_no_place_among_them(store: Store) -> None:
    damaged, whole = insert(store), insert(store)
    for task in (damaged, whole):
        assert store.update(task.id, transitions.cancel())
    edit_raw(store, damaged.id, "created_at")
    assert calling(store, limit=1) == [whole.id]


def test_every_event_is_to_be_told_until_it_is_marked(store: Store) -> None:
    first, second, silent = make_task(), make_task(), make_task()
    store.insert(first, CREATED)
    store.insert(second, CREATED)
    store.insert(silent)
    assert [task.id for task in store.untold(limit=10)] == [first.id, second.id]
    assert [task.id for task in store.untold(limit=1)] == [first.id]
    assert store.update(first.id, changes.mark_told(now(store, first), 1, all_told=True))
    assert [task.id for task in store.untold(limit=10)] == [second.id]
    assert now(store, first).told == 1
    assert store.update(first.id, transitions.cancel())
    assert [task.id for task in store.untold(limit=10)] == [first.id, second.id]


def test_a_mark_that_has_not_seen_the_newest_event_or_mark_is_none(store: Store) -> None:
    task = make_task()
    store.insert(task, CREATED)
    seen = now(store, task)
    assert store.update(task.id, transitions.cancel())
    assert store.update(task.id, changes.mark_told(seen, 1, all_told=True)) is None
    assert store.update(task.id, changes.mark_told(seen, 1, all_told=False))
    assert store.update(task.id, changes.mark_told(seen, 2, all_told=True)) is None
    assert [one.id for one in store.untold(limit=10)] == [task.id]


def test_a_task_that_claims_and_beats_is_not_among_those_that_call(store: Store) -> None:
    task = insert(store)
    claimed = store.update(task.id, transitions.claim("w1"))
    assert claimed is not None and store.update(task.id, transitions.beat("w1", claimed.epoch))
    assert calling(store) == [] and now(store, task).status is Status.RUNNING
