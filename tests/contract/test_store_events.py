"""A task's events: appended in the change that they tell of, counted without gaps, the newest 200 kept."""
from __future__ import annotations

import sqlite3
import threading

import pytest

from shared import transitions
from shared.documents import Event, StoredEvent
from shared.store import KEPT_EVENTS, DuplicateKey, Store, TaskFilter, open_store
from shared.transitions import Change
from tests.contract.store_changes import EPOCH, EVERY, FETCH, OWNER, PUBLISH
from tests.contract.store_model import TIMEOUT_S, apply, make_task
from tests.contract.store_processes import note, race

pytest_plugins = ["tests.contract.store_backends"]

UNKNOWN = "task_1_1234567890"
ODD_DATA = {"a.b": "模型 \"$x\" %2E '", "$set": None, "n": 2, "x": 0.1 + 0.2, "yes": True}


def told(store: Store, task_id: str, after: int = 0) -> list[tuple[int, str]]:
    return [(event.seq, event.type) for event in store.events(task_id, after)]


def test_a_new_tasks_events_are_there_with_it(store: Store):
    task, plain = make_task(), make_task()
    store.insert(task, [transitions.created(task)])
    store.insert(plain)
    assert told(store, task.id) == [(1, "created")]
    assert store.events(plain.id) == []
    assert store.get(task.id) == task.model_copy(update={"event_count": 1})
    assert store.get(plain.id) == plain


def test_an_unknown_task_has_no_events_and_a_deleted_one_neither(store: Store):
    task = make_task()
    assert store.events(UNKNOWN) is None
    store.insert(task, [transitions.created(task)])
    store.delete(task.id)
    assert store.events(task.id) is None
    store.insert(task)
    assert store.events(task.id) == []


def test_an_event_keeps_its_moment_and_all_of_its_data(store: Store):
    task, event = make_task(), Event(type="odd", at=1_700_000_000.1234567, data=ODD_DATA)
    store.insert(task)
    store.update(task.id, Change({}, events=(event,)))
    (stored,) = store.events(task.id)
    assert (stored.seq, stored.type, stored.at, stored.data) == (1, "odd", 1_700_000_000.1234567, ODD_DATA)


@pytest.mark.parametrize("name", EVERY)
def test_a_transition_tells_of_itself_where_it_takes_place_and_only_there(store: Store, name: str):
    change = EVERY[name]()
    hits = 0
    for status in ("pending", "running", "paused", "completed", "failed"):
        for owner in (OWNER, None):
            task = make_task(status=status, owner=owner, epoch=EPOCH, beat=7, retries=change.where.get("retries", 0))
            store.insert(task, [transitions.created(task)])
            changed = store.update(task.id, change)
            assert (changed is None) == (apply(task, change) is None)
            hits += changed is not None
            types = ["created"] + ([event.type for event in change.events] if changed else [])
            assert told(store, task.id) == list(enumerate(types, 1))
            assert store.get(task.id).event_count == len(types)
    assert hits


def test_several_events_of_one_change_come_in_order(store: Store):
    task = make_task(status="running", owner=OWNER, epoch=EPOCH)
    store.insert(task, [transitions.created(task)])
    store.update(task.id, transitions.commit_stages(OWNER, EPOCH, [FETCH, PUBLISH], 50.0, finished=[FETCH, PUBLISH]))
    events = store.events(task.id)
    assert [event.seq for event in events] == [1, 2, 3]
    assert [event.data.get("stage") for event in events] == [None, "fetch", "publish"]


def test_only_events_after_a_number_are_told(store: Store):
    task = make_task(status="running")
    store.insert(task, [transitions.created(task)])
    for change in (transitions.pause(), transitions.resume(), transitions.pause()):
        store.update(task.id, change)
    assert told(store, task.id, 2) == [(3, "resumed"), (4, "paused")]
    assert told(store, task.id, 4) == told(store, task.id, 10**12) == []


def test_of_more_than_200_events_the_newest_200_are_kept_under_their_numbers(store: Store):
    task = make_task()
    store.insert(task)
    for number in range(1, KEPT_EVENTS // 4 + 4):
        store.update(task.id, Change({}, events=tuple(note(f"{number}-{part}") for part in range(4))))
    count = KEPT_EVENTS + 12
    events = store.events(task.id)
    assert [event.seq for event in events] == list(range(13, count + 1))
    assert [event.data["text"] for event in events] == [
        f"{number}-{part}" for number in range(4, KEPT_EVENTS // 4 + 4) for part in range(4)]
    assert [event.seq for event in store.events(task.id, count - 1)] == [count]
    assert store.get(task.id).event_count == count


def test_no_read_of_tasks_brings_their_events_along(store: Store):
    task = make_task(idempotency_key="key")
    store.insert(task, [transitions.created(task)])
    expected = task.model_copy(update={"event_count": 1})
    assert store.get_many([task.id]) == {task.id: expected}
    assert store.list_page(TaskFilter(), 1, 1) == ([expected], 1)
    assert store.waiting(["intel"], limit=1) == [expected]
    with pytest.raises(DuplicateKey) as refused:
        store.insert(make_task(idempotency_key="key"))
    assert refused.value.existing == expected
    assert store.delete(task.id) == expected


def test_nobody_sees_a_new_task_without_its_first_event(store_url: str):
    store, enough = open_store(store_url, TIMEOUT_S), threading.Event()

    def insert_until_enough() -> None:
        while not enough.is_set():
            task = make_task()
            store.insert(task, [transitions.created(task)])

    writer = threading.Thread(target=insert_until_enough)
    writer.start()
    seen: dict[str, list[StoredEvent] | None] = {}
    try:
        while len(seen) < 30:
            for task in store.list_page(TaskFilter(), 1, 1)[0]:
                seen.setdefault(task.id, store.events(task.id))
    finally:
        enough.set()
        writer.join()
        store.close()
    assert all(seen.values())


def test_an_insert_that_is_refused_leaves_no_event(store: Store):
    task = make_task(idempotency_key="key")
    store.insert(task, [transitions.created(task)])
    second = make_task(idempotency_key="key")
    with pytest.raises(DuplicateKey):
        store.insert(second, [transitions.created(second)])
    assert store.events(second.id) is None and told(store, task.id) == [(1, "created")]


def test_eight_processes_append_without_a_gap_and_without_a_double(store_url: str):
    store = open_store(store_url, TIMEOUT_S)
    task, each = make_task(), 30
    store.insert(task)
    counts = race("append_often", store_url, [[task.id, f"p{number}", each] for number in range(8)])
    total = 8 * each
    assert sorted(count for of_one in counts for count in of_one) == list(range(1, total + 1))
    events = store.events(task.id)
    assert [event.seq for event in events] == list(range(total - KEPT_EVENTS + 1, total + 1))
    written = {(f"p{process}", number): count for process, of_one in enumerate(counts)
               for number, count in enumerate(of_one)}
    for event in events:  # each under the number that its writer was told
        process, _, number = event.data["text"].partition(" ")
        assert written[process, int(number)] == event.seq
    store.close()


def test_a_file_from_before_there_were_events_gets_them(tmp_path):
    path = tmp_path / "tasks.db"
    store = open_store(f"sqlite:{path}", TIMEOUT_S)
    task = make_task(status="running")
    store.insert(task)
    store.close()
    with sqlite3.connect(path) as old:  # as version 1 left it
        old.executescript("DROP TRIGGER delete_events; DROP TABLE events; PRAGMA user_version = 1;"
                          "UPDATE tasks SET doc = json_remove(doc, '$.event_count')")
    old.close()
    store = open_store(f"sqlite:{path}", TIMEOUT_S)
    assert store.get(task.id).event_count == 0 and store.events(task.id) == []
    assert store.update(task.id, transitions.pause()).event_count == 1
    assert told(store, task.id) == [(1, "paused")]
    store.close()
