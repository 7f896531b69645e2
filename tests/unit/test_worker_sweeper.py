"""The reaper frees what has lost its owner, and nothing else; the announcer rings for what nobody rang for."""
from __future__ import annotations

import time
from pathlib import Path

import pytest

from shared import transitions
from shared.documents import Status, Task
from shared.errors import Unavailable
from shared.messages import RunTask
from shared.queue.polling import PollingQueue
from shared.store import Claim
from tests.contract.store_raw import edit_raw, get_raw
from tests.integration.worker_kit import LossyStore, claim, make_settings, make_task, open_store, wait_until
from worker.sweeper import Announcer, Reaper, Sweeper

LEASE_S = 10.0


class Watch:
    """A reaper with a clock that the test turns, looking once a second of it."""

    def __init__(self, store: LossyStore, folder: Path) -> None:
        self.now = 1000.0
        settings = make_settings(folder, lease_s=LEASE_S, max_retries=2, retry_delay_s=3.0)
        self.reaper = Reaper(store, settings, clock=lambda: self.now)

    def look(self, seconds: float = 0.0, step_s: float = 1.0) -> list[str]:
        """Look now, and then again until so much time has passed."""
        freed = self.reaper.look()
        end = self.now + seconds
        while self.now < end:
            self.now += step_s
            freed += self.reaper.look()
        return freed


class StoreWithOutage(LossyStore):
    away = False

    def owned(self) -> list[Claim]:
        if self.away:
            raise Unavailable("store", "told to")
        return self._store.owned()


@pytest.fixture
def store(tmp_path: Path) -> StoreWithOutage:
    return StoreWithOutage(open_store(tmp_path))


@pytest.fixture
def watch(store: StoreWithOutage, tmp_path: Path) -> Watch:
    return Watch(store, tmp_path)


@pytest.fixture
def task(store: StoreWithOutage) -> Task:
    task = make_task()
    store.insert(task)
    claim(store, task)
    return task


def test_a_claim_unchanged_through_a_whole_lease_is_freed(store: StoreWithOutage, watch: Watch, task: Task) -> None:
    assert watch.look(LEASE_S - 1) == []
    assert watch.look(2) == [task.id]
    freed = store.get(task.id)
    assert (freed.status, freed.owner, freed.retries, freed.announced) == (Status.RUNNING, None, 1, -1)
    assert 2.0 < freed.next_run_at - time.time() < 4.0


@pytest.mark.parametrize("sign_of_life", [
    transitions.beat("w1", 1), transitions.begin_stage("w1", 1, "fetch", 0.0, 1.0), transitions.pause()])
def test_any_sign_of_life_starts_the_watch_anew(store: StoreWithOutage, watch: Watch, task: Task,
                                                sign_of_life: transitions.Change) -> None:
    watch.look(LEASE_S - 1)
    store.update(task.id, sign_of_life)
    assert watch.look(LEASE_S - 1) == []
    assert store.get(task.id).owner == "w1"


def test_a_new_claim_of_the_same_worker_is_watched_anew(store: StoreWithOutage, watch: Watch, task: Task) -> None:
    watch.look(LEASE_S - 1)
    store.update(task.id, transitions.release("w1", 1))
    store.update(task.id, transitions.claim("w1"))
    assert watch.look(LEASE_S - 1) == []


def test_an_outage_starts_the_watch_anew(store: StoreWithOutage, watch: Watch, task: Task) -> None:
    watch.look(LEASE_S - 1)
    store.away = True
    with pytest.raises(Unavailable):
        watch.look()
    store.away = False
    assert watch.look(LEASE_S - 1) == []
    assert watch.look(2) == [task.id]


def test_an_outage_in_the_middle_of_reaping_starts_the_watch_anew(store: StoreWithOutage, watch: Watch,
                                                                  task: Task) -> None:
    watch.look(LEASE_S - 1)
    store.before = 1
    with pytest.raises(Unavailable):
        watch.look(2)
    assert watch.look(LEASE_S - 2) == []


def test_a_reaper_that_slept_has_not_watched(store: StoreWithOutage, watch: Watch, task: Task) -> None:
    watch.look()
    watch.now += 5 * LEASE_S
    assert watch.look() == []
    assert watch.look(LEASE_S) == [task.id]


def test_a_beat_between_the_look_and_the_write_saves_the_task(store: StoreWithOutage, watch: Watch, task: Task) -> None:
    watch.look(LEASE_S - 1)
    stale = store.owned()
    store.update(task.id, transitions.beat("w1", 1))
    store.owned = lambda: stale
    assert watch.look(2) == []
    assert store.get(task.id).owner == "w1"


@pytest.mark.parametrize("damage", [{"status": "archived"}, {"epoch": None}, {"parameters": "x"}, {"form": 2}])
def test_a_document_that_cannot_be_read_is_left_as_it_is_and_the_others_are_freed(
        store: StoreWithOutage, watch: Watch, task: Task, damage: dict[str, object]) -> None:
    others = [make_task(), make_task()]
    for other in others:
        store.insert(other)
        claim(store, other)
    edit_raw(store._store, task.id, **damage)
    before = get_raw(store._store, task.id)
    freed = watch.look(2 * LEASE_S)
    assert sorted(freed) == sorted(other.id for other in others)
    assert get_raw(store._store, task.id) == before


def test_a_dead_owners_paused_task_stays_paused(store: StoreWithOutage, watch: Watch, task: Task) -> None:
    store.update(task.id, transitions.pause())
    assert watch.look(LEASE_S) == [task.id]
    freed = store.get(task.id)
    assert (freed.status, freed.owner, freed.retries) == (Status.PAUSED, None, 0)


def test_a_task_that_loses_its_worker_too_often_fails_with_worker_lost(store: StoreWithOutage, watch: Watch,
                                                                       task: Task) -> None:
    for _ in range(2):
        assert watch.look(LEASE_S) == [task.id]
        store.update(task.id, transitions.Change({}, {"next_run_at": 0.0}))
        assert store.update(task.id, transitions.claim("w1"))
    assert watch.look(LEASE_S) == [task.id]
    failed = store.get(task.id)
    assert (failed.status, failed.error.code, failed.owner) == (Status.FAILED, "worker_lost", None)


def test_each_loss_doubles_the_delay(store: StoreWithOutage, watch: Watch, task: Task) -> None:
    delays = []
    for _ in range(2):
        watch.look(LEASE_S)
        delays.append(store.get(task.id).next_run_at - time.time())
        store.update(task.id, transitions.Change({}, {"next_run_at": 0.0}))
        store.update(task.id, transitions.claim("w1"))
    assert delays[0] == pytest.approx(3.0, abs=0.5)
    assert delays[1] == pytest.approx(6.0, abs=0.5)


def test_two_reapers_free_a_task_once(store: StoreWithOutage, watch: Watch, task: Task, tmp_path: Path) -> None:
    other = Watch(store, tmp_path)
    watch.look(LEASE_S - 1)
    other.look(LEASE_S - 1)
    assert sorted(watch.look(2) + other.look(2)) == [task.id]
    assert store.get(task.id).retries == 1


def test_a_queue_that_refuses_a_doorbell_is_asked_once_a_sweep_and_the_others_too(store: StoreWithOutage) -> None:
    asked: list[str] = []

    class FullQueue(PollingQueue):
        owes_doorbells = True

        def announce(self, message: RunTask) -> None:
            asked.append(message.priority)
            if message.priority == "low":
                raise Unavailable("queue", "nack")

    for priority in ("low", "low", "low", "normal", "normal"):
        store.insert(make_task(priority=priority))
    announcer = Announcer(store, FullQueue(lambda: store, 0.05), [make_task().platform])
    assert announcer.look() == 0
    assert announcer.look() == 2
    assert sorted(asked) == ["low", "normal", "normal"]


def test_the_sweeper_reaps_by_itself_and_outlives_an_outage(store: StoreWithOutage, task: Task, tmp_path: Path) -> None:
    store.away = True
    sweeper = Sweeper(store, PollingQueue(lambda: store, 0.05), make_settings(tmp_path, lease_s=1.0), [task.platform])
    time.sleep(0.3)
    store.away = False
    wait_until(lambda: store.get(task.id).owner is None)
    sweeper.close()
