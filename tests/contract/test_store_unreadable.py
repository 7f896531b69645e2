"""A document that is damaged or of another version: the others are served, it stays as it is, and it can be deleted."""
from __future__ import annotations

import logging
from typing import Any

import pytest

from shared import transitions
from shared.documents import FORM, StageRecord, Status, WorkerInfo
from shared.errors import UnreadableDocument
from shared.store import Claim, Store, TaskFilter
from shared.store.sqlite import SqliteStore
from shared.transitions import Change
from tests.contract.store_changes import BEAT, EPOCH, EVERY, FETCH, OWNER, PUBLISH
from tests.contract.store_model import apply, make_task
from tests.contract.store_raw import edit_raw, get_raw, put_text, spoil_event

pytest_plugins = ["tests.contract.store_backends"]

GONE = object()
DAMAGES: dict[str, dict[str, Any]] = {
    "a status of another version": {"status": "archived"},
    "a later form": {"form": FORM + 1},
    "a field is missing": {"input_path": GONE},
    "a wrong type": {"parameters": "x"},
    "a null": {"labels": None},
    "a time that is none": {"updated_at": "yesterday"},
    "a time beyond the calendar": {"updated_at": 1e18},
    "a stage of another form": {"stages": [{"title": "fetch"}]},
    "an end of another form": {"result": {"objects": []}},
}
STATUSES = ("pending", "running", "paused", "completed", "failed")


def insert(store: Store, **fields: Any):
    task = make_task(**fields)
    store.insert(task, [transitions.created(task)])
    return task


def damage(store: Store, task_id: str, damages: dict[str, Any]) -> None:
    edit_raw(store, task_id, *(name for name, value in damages.items() if value is GONE),
             **{name: value for name, value in damages.items() if value is not GONE})


def told(store: Store, task_id: str) -> list[str]:
    return [event.type for event in store.events(task_id)]


@pytest.fixture(params=DAMAGES)
def damages(request: pytest.FixtureRequest) -> dict[str, Any]:
    return DAMAGES[request.param]


# --- readers ----------------------------------------------------------------------------------------------------------


def test_who_asks_for_it_alone_is_told_what_is_wrong_without_its_content(store: Store, damages: dict[str, Any]):
    bad = insert(store)
    damage(store, bad.id, damages)
    with pytest.raises(UnreadableDocument) as refused:
        store.get(bad.id)
    assert (refused.value.kind, refused.value.id) == ("task", bad.id)
    assert ("of a later version" if "form" in damages else next(iter(damages))) in str(refused.value)
    assert "archived" not in str(refused.value) and "yesterday" not in str(refused.value)


def test_who_asks_for_many_gets_the_others_and_its_place(store: Store, damages: dict[str, Any]):
    first, bad, last = insert(store, group_id="g"), insert(store, group_id="g"), insert(store, group_id="g")
    damage(store, bad.id, damages)
    for narrow in (TaskFilter(), TaskFilter(group_id="g"), TaskFilter(platform="intel")):
        tasks, total = store.list_page(narrow, 1, 10)
        assert total == 3 and [task.id for task in tasks] == [last.id, bad.id, first.id]
        assert [isinstance(task, UnreadableDocument) for task in tasks] == [False, True, False]
    found = store.get_many([first.id, bad.id, last.id])
    assert found.keys() == {first.id, bad.id, last.id}
    assert [task_id for task_id, task in found.items() if isinstance(task, UnreadableDocument)] == [bad.id]
    for unannounced in (False, True):
        waiting = store.waiting(["intel"], limit=10, unannounced=unannounced)
        assert [task.id for task in waiting] == [first.id, last.id]


def test_what_cannot_be_read_takes_no_place_among_those_that_wait(store: Store):
    for _ in range(23):
        damage(store, insert(store).id, {"parameters": "x"})
    good = [insert(store, platform=("intel", "huawei")[number % 2]).id for number in range(4)]
    for limit in (1, 3, 4, 50):
        assert [task.id for task in store.waiting(["huawei", "intel"], limit=limit)] == good[:limit]


def test_claims_are_told_though_their_documents_are_damaged_where_a_claim_does_not_lie(store: Store):
    owned = {"status": "running", "owner": OWNER, "epoch": EPOCH, "beat": BEAT}
    good, elsewhere, epoch, status = (insert(store, **owned) for _ in range(4))
    damage(store, elsewhere.id, {"parameters": "x"})
    damage(store, epoch.id, {"epoch": None})
    damage(store, status.id, {"status": "archived"})
    assert {claim.id: claim for claim in store.owned()} == {
        task.id: Claim(task.id, OWNER, EPOCH, BEAT, Status.RUNNING, 0) for task in (good, elsewhere)}


def test_an_idempotency_key_stays_its_own(store: Store):
    damage(store, insert(store, idempotency_key="k").id, {"parameters": "x"})
    with pytest.raises(UnreadableDocument):
        store.find_by_keys(["other", "k"])
    with pytest.raises(UnreadableDocument):
        store.insert(make_task(idempotency_key="k"))
    assert store.list_page(TaskFilter(), 1, 10)[1] == 1


def test_an_event_that_is_none_leaves_the_others(store: Store):
    task = insert(store, status="running", owner=OWNER, epoch=EPOCH)
    store.update(task.id, transitions.commit_stages(OWNER, EPOCH, [FETCH, PUBLISH], 1.0, finished=[FETCH, PUBLISH]))
    spoil_event(store, task.id, 2)
    assert [(event.seq, event.type) for event in store.events(task.id)] == [(1, "created"), (3, "stage_finished")]
    assert store.get(task.id).event_count == 3


def test_a_workers_document_hides_no_other_worker(store: Store):
    for name in ("a", "b", "c"):
        store.save_worker(WorkerInfo(id=name, host="h", pid=1, platforms={}, slots=1, started_at=1.0, seen_at=1.0))
    edit_raw(store, "a", kind="workers", seen_at="yesterday")
    edit_raw(store, "b", kind="workers", gpu=1)
    assert [worker.id for worker in store.workers()] == ["b", "c"]
    store.remove_worker("a")
    edit_raw(store, "b", "host", kind="workers")
    assert [worker.id for worker in store.workers()] == ["c"]


@pytest.mark.parametrize("text", [b"[]", b"null", b'"x"', b'{"id": "\xff"}'])
def test_text_that_is_no_document_hides_no_other(tmp_path, text: bytes):
    store = SqliteStore(str(tmp_path / "tasks.db"), 10.0)
    bad, good = insert(store), insert(store)
    put_text(store, bad.id, text)
    assert [type(task) is UnreadableDocument for task in store.list_page(TaskFilter(), 1, 10)[0]] == [False, True]
    assert [task.id for task in store.waiting(["intel"], limit=5)] == [good.id]
    assert isinstance(store.delete(bad.id), UnreadableDocument)
    store.close()


def test_the_log_names_it_once(store: Store, caplog: pytest.LogCaptureFixture):
    bad = insert(store)
    damage(store, bad.id, {"parameters": {"secret": 1}, "labels": "secret"})
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert store.waiting(["intel"], limit=1) == []
            store.list_page(TaskFilter(), 1, 1)
    said = [record.getMessage() for record in caplog.records if bad.id in record.getMessage()]
    assert len(said) == 1 and "labels" in said[0] and "secret" not in said[0]


# --- writers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_no_change_touches_it(store: Store, name: str):
    change = EVERY[name]()
    hits = 0
    for status in STATUSES:
        for owner in (OWNER, None):
            task = insert(store, status=status, owner=owner, epoch=EPOCH, beat=BEAT,
                          retries=change.where.get("retries", 0))
            fits = apply(task, change) is not None
            damage(store, task.id, {"parameters": "x"})
            before = get_raw(store, task.id)
            if fits:
                hits += 1
                with pytest.raises(UnreadableDocument):
                    store.update(task.id, change)
            else:
                assert store.update(task.id, change) is None
            assert get_raw(store, task.id) == before
            assert told(store, task.id) == ["created"]
    assert hits


@pytest.mark.parametrize("name", EVERY)
def test_no_change_touches_a_status_that_this_version_does_not_know(store: Store, name: str):
    change = EVERY[name]()
    for owner in (OWNER, None):
        task = insert(store, owner=owner, epoch=EPOCH, beat=BEAT, retries=change.where.get("retries", 0))
        damage(store, task.id, {"status": "archived"})
        before = get_raw(store, task.id)
        try:
            assert store.update(task.id, change) is None
        except UnreadableDocument as refused:
            assert "status" not in change.where, refused
        assert get_raw(store, task.id) == before
        assert told(store, task.id) == ["created"]


@pytest.mark.parametrize("damages", [{"epoch": None}, {"epoch": "x"}, {"event_count": "x"}, {"event_count": None}])
def test_a_document_whose_counters_are_none_takes_no_change(shared_store: Store, damages: dict[str, Any]):
    task = insert(shared_store)
    damage(shared_store, task.id, damages)
    before = get_raw(shared_store, task.id)
    with pytest.raises(UnreadableDocument):
        shared_store.update(task.id, transitions.claim("w1"))
    assert get_raw(shared_store, task.id) == before


def test_a_document_that_counts_fewer_events_than_there_are_loses_none(tmp_path):
    store = SqliteStore(str(tmp_path / "tasks.db"), 10.0)
    task = insert(store)
    damage(store, task.id, {"event_count": 0})
    with pytest.raises(UnreadableDocument):
        store.update(task.id, transitions.claim("w1"))
    assert store.get(task.id).owner is None and told(store, task.id) == ["created"]
    store.close()


@pytest.mark.parametrize("name", EVERY)
def test_every_change_leaves_the_fields_of_another_version(store: Store, name: str):
    change = EVERY[name]()
    for status in STATUSES:
        for owner in (OWNER, None):
            task = insert(store, status=status, owner=owner, epoch=EPOCH, beat=BEAT,
                          retries=change.where.get("retries", 0))
            damage(store, task.id, {"webhook": {"url": "https://x", "n": [1]}})
            assert store.get(task.id) == task.model_copy(update={"event_count": 1})
            store.update(task.id, change)
            assert get_raw(store, task.id)["webhook"] == {"url": "https://x", "n": [1]}


def test_an_owner_carries_what_it_does_not_know_of_a_stage(store: Store):
    task = insert(store, status="running", owner=OWNER, epoch=EPOCH)
    damage(store, task.id, {"stages": [FETCH.model_dump(mode="json") | {"device": {"id": 7}}]})
    known = store.get(task.id).stages
    assert [record.name for record in known] == ["fetch"]
    store.update(task.id, transitions.commit_stages(OWNER, EPOCH, [*known, PUBLISH], 50.0))
    first, second = get_raw(store, task.id)["stages"]
    assert first["device"] == {"id": 7} and second == PUBLISH.model_dump(mode="json")
    assert isinstance(store.get(task.id).stages[0], StageRecord)


def test_a_wait_of_another_version_is_passed_over(store: Store):
    task = insert(store, status="running", owner=OWNER, epoch=EPOCH)
    damage(store, task.id, {"waits_for": "licence"})
    assert store.get(task.id).waits_for is None
    store.update(task.id, transitions.beat(OWNER, EPOCH))
    assert get_raw(store, task.id)["waits_for"] == "licence"


def test_the_form_is_not_written_while_the_version_before_does_not_know_it(store: Store):
    task = insert(store, status="running")
    store.update(task.id, transitions.pause())
    assert store.get(task.id).form == FORM == 1 and "form" not in get_raw(store, task.id)


# --- delete -----------------------------------------------------------------------------------------------------------


def test_it_is_deleted_by_its_id_with_its_events(store: Store, damages: dict[str, Any]):
    bad, other = insert(store), insert(store)
    damage(store, bad.id, damages)
    deleted = store.delete(bad.id)
    assert isinstance(deleted, UnreadableDocument) and deleted.id == bad.id
    assert store.delete(bad.id) is store.get(bad.id) is store.events(bad.id) is None
    assert store.list_page(TaskFilter(), 1, 10) == ([store.get(other.id)], 1)


def test_a_change_is_taken_back_whole(store: Store):
    """A `Change` of several events, one of which is the document's own form of another version."""
    task = insert(store, status="running", owner=OWNER, epoch=EPOCH)
    for _ in range(3):
        store.update(task.id, transitions.note_outage(OWNER, EPOCH, 1.0))
    damage(store, task.id, {"form": FORM + 1})
    before, events = get_raw(store, task.id), told(store, task.id)
    with pytest.raises(UnreadableDocument):
        store.update(task.id, transitions.note_outage(OWNER, EPOCH, 1.0))
    with pytest.raises(UnreadableDocument):
        store.update(task.id, Change({}, {"new": {"a.b": 1}}, {"counted": 2}))
    assert get_raw(store, task.id) == before and told(store, task.id) == events
