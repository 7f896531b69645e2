"""What every store does with documents; transitions, races and outages are in the files beside this one."""
from __future__ import annotations

import time

import pytest

from shared import transitions
from shared.documents import Status, WorkerInfo
from shared.errors import AppError
from shared.store import Claim, DuplicateKey, Store, TaskFilter, open_store
from tests.contract.store_changes import RESULT
from tests.contract.store_model import make_task

pytest_plugins = ["tests.contract.store_backends"]

EVERYTHING = TaskFilter()

ODD_TEXT = "模型 ünïcode 🚀 \u2028 \" ' \\ \n\t %24 $where {\"$ne\": null} '; DROP TABLE tasks; --"
ODD_PARAMETERS = {
    "input_shape": "images:1,3,640,640",
    "nested": {"a.b": {"$gt": 1, "%2E": [True, None, 2.0, 2, -0.5, 2**53 + 1, -(2**63), 1e300]},
               "": {"_id": 1, "id": 2}},
    "$set": {"status": "completed"},
    ODD_TEXT: ODD_TEXT,
}


def ids(tasks):
    return [task.id for task in tasks]


def insert_tasks(store, *each):
    tasks = [make_task(**fields) for fields in each]
    for task in tasks:
        store.insert(task)
    return tasks


# --- insert, get, delete ----------------------------------------------------------------------------------------------


def test_an_inserted_task_is_read_back_equal(store: Store):
    task = make_task(idempotency_key="key 1", request_hash="ab" * 32, labels={"team": "vision"}, priority="high")
    store.insert(task)
    assert store.get(task.id) == task


def test_text_of_any_kind_survives_as_value_and_as_key(store: Store):
    task = make_task(parameters=ODD_PARAMETERS, labels={"a-b_C": ODD_TEXT, "empty": ""}, idempotency_key=ODD_TEXT,
                     input_path=ODD_TEXT, result=RESULT)
    store.insert(task)
    read = store.get(task.id)
    assert read == task
    assert read.model_dump_json() == task.model_dump_json()  # 2.0 stays 2.0, 2 stays 2


def test_a_time_keeps_all_its_digits_through_insert_and_update(store: Store):
    task = make_task(created_at=1_700_000_000.1234567, updated_at=0.1 + 0.2)
    store.insert(task)
    assert store.get(task.id) == task
    changed = store.update(task.id, transitions.Change({}, {"started_at": 1_700_000_000.7654321}))
    assert changed.started_at == 1_700_000_000.7654321


def test_an_unknown_task_is_none(store: Store):
    assert store.get("task_1_1234567890") is None
    assert store.delete("task_1_1234567890") is None
    assert store.get_many(["task_1_1234567890"]) == {}
    assert store.update("task_1_1234567890", transitions.pause()) is None


def test_many_tasks_are_read_at_once_without_those_that_do_not_exist(store: Store):
    a, b, _ = insert_tasks(store, {}, {}, {})
    unknown = [f"task_1_{number}" for number in range(1500)]
    assert store.get_many([a.id, *unknown, b.id, a.id]) == {a.id: a, b.id: b}
    assert store.get_many([]) == {}


def test_a_deleted_task_is_returned_once_and_gone(store: Store):
    task, other = insert_tasks(store, {}, {})
    assert store.delete(task.id) == task
    assert store.delete(task.id) is None
    assert store.get(task.id) is None
    assert store.get(other.id) == other


def test_the_same_id_cannot_be_inserted_twice(store: Store):
    task, with_key = insert_tasks(store, {}, {"idempotency_key": "key"})
    for again in (task, with_key):
        with pytest.raises(AppError, match="task exists"):
            store.insert(again.model_copy(update={"platform": "other"}))
        assert store.get(again.id) == again


def test_living_tasks_are_found_by_their_output(store: Store):
    ended = [make_task(status=status, output_path="b/a.xml") for status in ("completed", "failed")]
    late, early = (make_task(status=status, output_path="b/a.xml", created_at=created_at)
                   for status, created_at in (("paused", 2e9), ("running", 1e9)))
    other, odd = make_task(output_path="b/中 ' \".rknn"), make_task(output_path="b/a.xml.xml")
    for task in (*ended, late, early, other, odd):
        store.insert(task)
    assert ids(store.live_with_outputs(["b/a.xml", "b/none"])) == [early.id, late.id]
    assert ids(store.live_with_outputs(["b/中 ' \".rknn"])) == [other.id]
    assert store.live_with_outputs(["b/none"] * 500) == store.live_with_outputs([]) == []
    store.delete(early.id)
    assert store.update(late.id, transitions.cancel())
    assert store.live_with_outputs(["b/a.xml"]) == []


# --- idempotency keys -------------------------------------------------------------------------------------------------


def test_a_second_task_with_a_used_key_is_refused_with_the_first(store: Store):
    first, _ = insert_tasks(store, {"idempotency_key": "key"}, {"idempotency_key": "KEY"})
    second = make_task(idempotency_key="key")
    with pytest.raises(DuplicateKey) as refused:
        store.insert(second)
    assert refused.value.existing == first
    assert store.get(second.id) is None
    assert store.list_page(EVERYTHING, 1, 10)[1] == 2


def test_a_key_stays_used_while_its_task_changes_and_is_free_when_that_is_deleted(store: Store):
    (first,) = insert_tasks(store, {"idempotency_key": "key"})
    cancelled = store.update(first.id, transitions.cancel())
    second = make_task(idempotency_key="key")
    with pytest.raises(DuplicateKey) as refused:
        store.insert(second)
    assert refused.value.existing == cancelled
    store.delete(first.id)
    store.insert(second)
    assert store.get(second.id) == second


def test_tasks_without_a_key_do_not_collide(store: Store):
    insert_tasks(store, {}, {}, {"idempotency_key": "key"}, {})
    assert store.list_page(EVERYTHING, 1, 10)[1] == 4


# --- list -------------------------------------------------------------------------------------------------------------


def test_pages_go_from_the_newest_to_the_oldest_and_hold_each_task_once(store: Store):
    tasks = insert_tasks(store, *[{}] * 7)
    pages = [store.list_page(EVERYTHING, page, 3) for page in (1, 2, 3, 4)]
    assert [ids(page) for page, _ in pages] == [
        ids(reversed(tasks[4:])), ids(reversed(tasks[1:4])), ids(tasks[:1]), []]
    assert {total for _, total in pages} == {7}


def test_tasks_of_one_moment_are_listed_by_id(store: Store):
    tasks = insert_tasks(store, *[{"id": f"task_1_{letter}", "created_at": 1.0} for letter in "CAEBD"])
    pages = [store.list_page(EVERYTHING, page, 2)[0] for page in (1, 2, 3)]
    assert ids(task for page in pages for task in page) == sorted(ids(tasks), reverse=True)


def test_a_page_far_behind_the_last_is_empty(store: Store):
    insert_tasks(store, {}, {})
    for page_size in (1, 3, 100):  # 3: more than fits in 31 bits
        assert store.list_page(EVERYTHING, 10**9, page_size) == ([], 2)


def test_an_empty_store_lists_nothing(store: Store):
    assert store.list_page(EVERYTHING, 1, 10) == ([], 0)


def test_the_total_follows_inserts_deletes_and_updates(store: Store):
    tasks = insert_tasks(store, *[{}] * 5)
    store.delete(tasks[0].id)
    store.delete(tasks[0].id)
    store.update(tasks[1].id, transitions.cancel())
    assert store.list_page(EVERYTHING, 1, 1)[1] == 4


def test_each_filter_narrows_the_list(store: Store):
    a, b, c = insert_tasks(
        store,
        {"platform": "intel", "labels": {"team": "vision", "run-1": "a"}, "created_at": 100.25},
        {"platform": "huawei", "task_type": "onnx_to_om", "labels": {"team": "vision"}, "created_at": 200.5},
        {"platform": "intel", "labels": {"team": "speech"}, "created_at": 300.75})
    store.update(c.id, transitions.cancel())

    def found(**narrow):
        tasks, total = store.list_page(TaskFilter(**narrow), 1, 10)
        assert total == len(tasks)
        return ids(tasks)

    assert found(status="pending") == ids([b, a])
    assert found(status="failed") == ids([c])
    assert found(status="running") == []
    assert found(platform="intel") == ids([c, a])
    assert found(task_type="onnx_to_om") == ids([b])
    assert found(labels={"team": "vision"}) == ids([b, a])
    assert found(labels={"team": "vision", "run-1": "a"}) == ids([a])
    assert found(labels={"missing": "a"}) == []
    assert found(created_after=100.25) == ids([c, b])
    assert found(created_before=300.75) == ids([b, a])
    assert found(created_after=100.25, created_before=300.75) == ids([b])
    assert found(platform="intel", status="pending", labels={"team": "vision"}, created_after=1.0) == ids([a])


def test_a_filtered_list_has_its_own_total_and_pages(store: Store):
    wanted = insert_tasks(store, *[{"platform": "intel"}, {"platform": "other"}] * 3)[::2]
    page, total = store.list_page(TaskFilter(platform="intel"), 2, 2)
    assert (ids(page), total) == (ids(wanted[:1]), 3)


# --- waiting and owned ------------------------------------------------------------------------------------------------


def test_waiting_tasks_come_in_queue_order_whatever_their_target(store: Store):
    late, low, high = insert_tasks(store, {"queue_order": 30.0, "platform": "huawei"}, {"queue_order": 40.0},
                                   {"queue_order": 5.0, "created_at": 99.0})
    tied = insert_tasks(store, *[{"id": f"task_2_{letter}", "queue_order": 50.0} for letter in "BCA"])
    order = ids([high, late, low]) + sorted(ids(tied))
    assert ids(store.waiting(["intel", "huawei"], limit=10)) == order
    assert ids(store.waiting(["huawei", "intel"], limit=4)) == order[:4]


def test_only_tasks_that_a_worker_could_claim_are_waiting(store: Store):
    pending, given_back, *others = insert_tasks(
        store, {}, {"status": "running", "epoch": 2}, {"status": "running", "owner": "w1"}, {"status": "paused"},
        {"status": "completed"}, {"status": "failed"}, {"next_run_at": time.time() + 60}, {"platform": "huawei"})
    assert ids(store.waiting(["intel"], limit=100)) == ids([pending, given_back])
    for task in (pending, given_back):
        assert store.update(task.id, transitions.claim("w1"))
    for task in others[:-1]:
        assert store.update(task.id, transitions.claim("w1")) is None
    assert store.waiting(["intel"], limit=100) == []


def test_a_delayed_task_waits_once_it_is_due(store: Store):
    (task,) = insert_tasks(store, {"next_run_at": time.time() + 0.3})
    deadline = time.monotonic() + 60
    while not (found := store.waiting(["intel"], limit=1)):
        assert time.monotonic() < deadline
    assert time.time() >= task.next_run_at
    assert found == [task]


def test_nothing_waits_for_no_target(store: Store):
    insert_tasks(store, {})
    assert store.waiting([], limit=10) == []
    assert store.waiting(["unknown"], limit=10) == []


def test_an_announced_task_still_waits_but_is_no_longer_unannounced(store: Store):
    first, second = insert_tasks(store, {}, {})
    store.update(first.id, transitions.mark_announced(0))
    assert ids(store.waiting(["intel"], limit=10)) == ids([first, second])
    assert ids(store.waiting(["intel"], limit=10, unannounced=True)) == ids([second])
    store.update(first.id, transitions.claim("w1"))
    store.update(first.id, transitions.release("w1", 1))
    assert ids(store.waiting(["intel"], limit=10, unannounced=True)) == ids([first, second])


def test_owned_tells_what_a_reaper_needs_of_every_owned_task(store: Store):
    paused = {"status": "paused", "owner": "w2", "epoch": 4, "beat": 6, "retries": 2}
    a, b, c, _ = insert_tasks(store, {}, paused, {}, {})
    store.update(a.id, transitions.claim("w1"))
    store.update(a.id, transitions.beat("w1", 1))
    store.update(c.id, transitions.claim("w1"))
    store.update(c.id, transitions.cancel())
    seen = {claim.id: claim for claim in store.owned()}
    assert seen == {a.id: Claim(a.id, "w1", 1, 1, Status.RUNNING, 0), b.id: Claim(b.id, "w2", 4, 6, Status.PAUSED, 2)}
    assert all(isinstance(claim.status, Status) for claim in seen.values())


# --- workers ----------------------------------------------------------------------------------------------------------


def test_a_worker_is_saved_replaced_and_removed(store: Store):
    def worker(worker_id, seen_at):
        return WorkerInfo(id=worker_id, host="主机-1", pid=7, platforms={"intel": {"tool.kit": "2026.4"}, "idle": {}},
                          slots=2, started_at=1.5, seen_at=seen_at)

    assert store.workers() == []
    store.save_worker(worker("w2", 2.0))
    store.save_worker(worker("w1", 2.0))
    store.save_worker(worker("w2", 3.0))
    assert store.workers() == [worker("w1", 2.0), worker("w2", 3.0)]
    store.remove_worker("w2")
    store.remove_worker("w2")
    assert store.workers() == [worker("w1", 2.0)]


# --- opening and closing ----------------------------------------------------------------------------------------------


def test_ping_answers_before_anything_was_stored(store: Store):
    store.ping()


def test_a_closed_store_opens_again_and_keeps_its_tasks(store_url: str):
    store = open_store(store_url, 30.0)
    (task,) = insert_tasks(store, {})
    store.close()
    assert store.get(task.id) == task
    store.close()
    other = open_store(store_url, 30.0)
    assert other.get(task.id) == task
    other.close()


def test_opening_a_store_touches_nothing(tmp_path):
    open_store(f"sqlite:{tmp_path}/folder/tasks.db", 1.0).close()
    open_store("mongodb://127.0.0.1:1/tasks", 1.0).close()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_scheme_is_refused():
    with pytest.raises(AppError, match="unknown store scheme: mysql"):
        open_store("mysql://host/db", 1.0)
