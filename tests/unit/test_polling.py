"""What only polling can do wrong; the rest is in tests/contract/test_queue.py."""
from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import transitions
from shared.documents import Task
from shared.errors import Unavailable, UnreadableDocument
from shared.queue import polling
from shared.queue.polling import CANDIDATES, PollingQueue, PollingSubscription
from shared.store.sqlite import SqliteStore
from tests.contract.store_raw import edit_raw
from tests.fixtures.targets import EVERY, NONE


class OutageStore(SqliteStore):
    """A store that can be told to be away, and counts what it was asked for."""

    away = False
    asked = 0

    def waiting(self, platforms: list[str], *, limit: int, unannounced: bool = False) -> list[Task]:
        self.asked += 1
        self._answer()
        return super().waiting(platforms, limit=limit, unannounced=unannounced)

    def get_many(self, task_ids: list[str], *, tenant: str | None = None) -> dict[str, Task | UnreadableDocument]:
        self._answer()
        return super().get_many(task_ids, tenant=tenant)

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("store")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OutageStore]:
    store = OutageStore(str(tmp_path / "tasks.db"), 5.0)
    yield store
    store.close()


def subscribe(store: OutageStore, worker_id: str = "w1") -> PollingSubscription:
    return PollingQueue(lambda: store, poll_s=0.02).subscribe(worker_id, ["intel", "rockchip"])


def create(store: OutageStore, task_id: str, order: float = 0.0, priority: str = "normal") -> None:
    store.insert(Task(id=task_id, task_type="t", platform="intel", input_path="a/b", output_path="c/d",
                      priority=priority, queue_order=order, created_at=1.0, updated_at=1.0))


def offered(subscription: PollingSubscription, timeout_s: float = 0.0) -> str | None:
    delivery = subscription.receive(platforms=EVERY, timeout_s=timeout_s)
    return delivery.message.task_id if delivery else None


def test_nothing_is_owed_because_waiting_tasks_are_found_unannounced(store: OutageStore) -> None:
    assert not PollingQueue(lambda: store, 0.02).owes_doorbells


def test_an_outage_of_the_store_is_waited_for(store: OutageStore) -> None:
    subscription = subscribe(store)
    create(store, "t1")
    subscription.watch("gone")
    store.away = True
    started = time.monotonic()
    assert subscription.receive(platforms=EVERY, timeout_s=0.3) is None
    assert time.monotonic() - started >= 0.3
    store.away = False
    assert subscription.receive(platforms=NONE, timeout_s=60).message.task_id == "gone"
    assert offered(subscription) == "t1"


def test_a_task_that_nobody_can_claim_is_not_offered_in_a_tight_loop(store: OutageStore,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "REOFFER_S", 3.0)
    create(store, "t1")
    subscription = subscribe(store)
    assert offered(subscription) == "t1"
    assert [offered(subscription, 0.1) for _ in range(3)] == [None, None, None]
    create(store, "t2")
    assert offered(subscription) == "t2", "the others are not held up by it"
    assert offered(subscription, 60.0) == "t1", "but it comes again"


def test_a_task_that_was_released_is_offered_again_at_once(store: OutageStore) -> None:
    create(store, "t1")
    subscription = subscribe(store)
    assert offered(subscription) == "t1"
    assert store.update("t1", transitions.claim("w1"))
    assert store.update("t1", transitions.release("w1", 1))
    assert offered(subscription) == "t1"


def test_workers_that_look_at_the_same_moment_spread_over_the_first_few(store: OutageStore) -> None:
    for number in range(30):
        create(store, f"t{number}", order=number)
    first = [offered(subscribe(store, f"w{i}")) for i in range(40)]
    assert set(first) <= {f"t{number}" for number in range(CANDIDATES)}
    assert len(set(first)) > 2


def test_no_lower_priority_is_offered_before_what_the_store_puts_first(store: OutageStore) -> None:
    create(store, "high", order=-1.0, priority="high")
    for number in range(5):
        create(store, f"t{number}", order=number)
    assert {offered(subscribe(store)) for _ in range(20)} == {"high"}


def test_a_full_worker_does_not_ask_for_waiting_tasks(store: OutageStore) -> None:
    subscription = subscribe(store)
    assert subscription.receive(platforms=NONE, timeout_s=0.3) is None
    assert store.asked == 0
    assert subscription.receive(platforms=EVERY, timeout_s=1.0) is None
    assert 3 <= store.asked <= 52


def test_several_changes_before_a_look_are_told_once(store: OutageStore) -> None:
    create(store, "t1")
    assert store.update("t1", transitions.claim("w1"))
    subscription = subscribe(store)
    subscription.watch("t1")
    assert subscription.receive(platforms=NONE, timeout_s=0.3) is None, "nothing has changed since the claim"
    assert store.update("t1", transitions.pause())
    assert store.update("t1", transitions.cancel())
    assert subscription.receive(platforms=NONE, timeout_s=60).message.epoch == 1
    assert subscription.receive(platforms=NONE, timeout_s=0.5) is None
    assert store.delete("t1")
    assert subscription.receive(platforms=NONE, timeout_s=60).message.epoch == 1
    assert subscription.receive(platforms=NONE, timeout_s=0.5) is None


def test_a_document_that_cannot_be_read_is_not_offered_and_its_owner_is_told_once(store: OutageStore) -> None:
    create(store, "t1")
    create(store, "t2", order=1.0)
    edit_raw(store, "t1", parameters="x")
    assert offered(subscribe(store)) == "t2"
    subscription = subscribe(store)
    subscription.watch("t1")
    assert subscription.receive(platforms=NONE, timeout_s=60).message.task_id == "t1"
    assert subscription.receive(platforms=NONE, timeout_s=0.5) is None


def test_a_task_offered_before_its_target_was_full_is_still_not_offered_in_a_tight_loop(
        store: OutageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "REOFFER_S", 60.0)
    create(store, "t1")
    subscription = subscribe(store)
    assert offered(subscription) == "t1"
    assert subscription.receive(platforms=frozenset({"rockchip"}), timeout_s=0.1) is None
    assert [offered(subscription, 0.1) for _ in range(3)] == [None, None, None]
