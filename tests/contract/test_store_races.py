"""Several processes on one store. mongomock has no part in it: it lives in a single process."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from shared import transitions
from shared.documents import Status
from shared.store import Store, TaskFilter, open_store
from tests.contract.store_model import TIMEOUT_S, make_task
from tests.contract.store_processes import race

pytest_plugins = ["tests.contract.store_backends"]


def test_six_workers_claim_each_of_200_tasks_exactly_once(store_url: str, shared_store: Store):
    tasks = [make_task() for _ in range(200)]
    for task in tasks:
        shared_store.insert(task)
    workers = [f"w{number}" for number in range(6)]
    won = dict(zip(workers, race("claim_all", store_url, [[worker] for worker in workers]), strict=True))
    assert sorted(task_id for ids in won.values() for task_id in ids) == sorted(task.id for task in tasks)
    for worker, ids in won.items():
        for task in shared_store.get_many(ids).values():
            assert (task.owner, task.epoch, task.status) == (worker, 1, Status.RUNNING)


def test_of_twenty_inserts_with_one_key_one_wins_and_all_others_learn_which(store_url: str):
    """On a store that does not exist yet: the processes also make its schema or indexes at once."""
    each = [["key", [f"task_{process}_{thread}" for thread in range(5)]] for process in range(4)]
    answers = [answer for answers in race("insert_with_key", store_url, each) for answer in answers]
    assert len(answers) == 20
    (winner,) = {named for _, named in answers}
    assert [task_id for task_id, named in answers if task_id == named] == [winner]
    store = open_store(store_url, TIMEOUT_S)
    tasks, total = store.list_page(TaskFilter(), 1, 100)
    assert ([task.id for task in tasks], total) == ([winner], 1)
    store.close()


def test_no_increment_is_lost_among_processes(store_url: str, shared_store: Store):
    task = make_task(status="running", owner="w1", epoch=1)
    shared_store.insert(task)
    assert race("beat_often", store_url, [[task.id, 50]] * 4) == [50] * 4
    assert shared_store.get(task.id).beat == 200


def test_eight_processes_that_write_all_the_time_are_never_refused(store_url: str, shared_store: Store):
    left = race("live", store_url, [[f"p{number}", 30] for number in range(8)])
    assert [len(ids) for ids in left] == [15] * 8
    ids = {task_id for ids in left for task_id in ids}
    assert shared_store.get_many(list(ids)).keys() == ids
    assert shared_store.list_page(TaskFilter(), 1, 1)[1] == len(ids)
    assert shared_store.list_page(TaskFilter(status="failed"), 1, 1)[1] == len(ids)


def test_after_a_fork_parent_and_child_each_use_connections_of_their_own(store_url: str, shared_store: Store):
    (opened,) = race("insert_on_both_sides_of_a_fork", store_url, [["parent", "child"]])
    assert opened > 0
    assert shared_store.get_many(["parent", "child"]).keys() == {"parent", "child"}


def test_many_changes_are_applied_each_by_itself(shared_store: Store):
    """Not on mongomock: its bulk writes do not fit the current driver."""
    first, second, third = (make_task() for _ in range(3))
    for task in (first, second, third):
        shared_store.insert(task)
    shared_store.update(second.id, transitions.claim("w1"))
    shared_store.update_many([(task.id, transitions.mark_announced(0)) for task in (first, second, third)]
                      + [("no such task", transitions.mark_announced(0))])
    assert [shared_store.get(task.id).announced for task in (first, second, third)] == [0, -1, 0]
    shared_store.update_many([])


def test_threads_share_one_store(shared_store: Store):
    task = make_task(status="running", owner="w1", epoch=1)
    shared_store.insert(task)
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: shared_store.update(task.id, transitions.beat("w1", 1)).beat, range(80)))
    assert sorted(seen) == list(range(1, 81))
