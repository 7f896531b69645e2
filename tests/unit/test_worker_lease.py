"""An owner's writes: one transition each, whatever becomes of the store's answers."""
from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import transitions
from shared.documents import StageRecord, Status, StoredFailure, Task, TaskResult
from shared.errors import Unavailable
from tests.contract.store_raw import edit_raw, get_raw
from tests.integration.worker_kit import LossyStore, claim, make_task, open_store, wait_until
from worker.control import Wanted
from worker.lease import Beater, Lease

RECORD = StageRecord(name="fetch", key="k", output_digest="d", seconds=1.0, cached=False)
RESULT = TaskResult(path="out/m.xml", files=["out/m.xml"], sha256="0" * 64, size_bytes=1, manifest_path="out/m.json")
FAILURE = StoredFailure(code="timeout", message="too slow")


@pytest.fixture(autouse=True)
def no_long_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.sleep
    monkeypatch.setattr("worker.lease.time.sleep", lambda seconds: real(min(seconds, 0.01)))


@pytest.fixture
def store(tmp_path: Path) -> LossyStore:
    return LossyStore(open_store(tmp_path))


@pytest.fixture
def lease(store: LossyStore) -> Lease:
    task = make_task()
    store.insert(task)
    return claim(store, task)


def read(store: LossyStore, lease: Lease) -> Task:
    task = store.get(lease.task.id)
    assert task is not None
    return task


def change(store: LossyStore, lease: Lease, what: transitions.Change) -> None:
    assert store._store.update(lease.task.id, what) is not None


ENDINGS: dict[str, tuple[Callable[[Lease], bool], Callable[[], list[transitions.Change]], dict[str, Any]]] = {
    "complete": (lambda lease: lease.complete(RESULT, [RECORD]), list, {"status": Status.COMPLETED, "result": RESULT}),
    "fail": (lambda lease: lease.fail(FAILURE), list, {"status": Status.FAILED, "error": FAILURE}),
    "release": (lambda lease: lease.release(0.0), list, {"status": Status.RUNNING, "announced": -1}),
    "park": (lambda lease: lease.park(), lambda: [transitions.pause()], {"status": Status.PAUSED}),
}


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("lost", [{}, {"before": 3}, {"after": 1}, {"after": 1, "reads": 2}, {"before": 1, "reads": 1}])
def test_an_ending_takes_place_once_though_answers_are_lost(store: LossyStore, lease: Lease, name: str,
                                                            lost: dict[str, int]) -> None:
    end, first, expected = ENDINGS[name]
    for step in first():
        change(store, lease, step)
    vars(store).update(lost)
    assert end(lease)
    vars(store).update(before=0, after=0, reads=0)
    task = read(store, lease)
    assert (task.owner, task.epoch) == (None, 1)
    assert {field: getattr(task, field) for field in expected} == expected


@pytest.mark.parametrize("name", ENDINGS)
def test_an_ending_of_a_task_that_another_claimed_is_refused_though_an_answer_was_lost(
        store: LossyStore, lease: Lease, name: str) -> None:
    end, first, _ = ENDINGS[name]
    change(store, lease, transitions.Change({}, {"owner": None, "status": Status.RUNNING}))
    change(store, lease, transitions.claim("w2"))
    for step in first():
        change(store, lease, step)
    before = read(store, lease)
    store.before = 1
    assert not end(lease)
    assert read(store, lease) == before
    assert lease.control.wanted is Wanted.STOP


def test_completing_a_paused_task_misses_and_tells_why(store: LossyStore, lease: Lease) -> None:
    change(store, lease, transitions.pause())
    assert not lease.complete(RESULT, [RECORD])
    assert lease.control.wanted is Wanted.PAUSE
    assert read(store, lease).status is Status.PAUSED


def test_failing_a_paused_task_misses(store: LossyStore, lease: Lease) -> None:
    change(store, lease, transitions.pause())
    assert not lease.fail(FAILURE)
    assert read(store, lease).error is None


def test_completing_a_cancelled_task_misses_for_good(store: LossyStore, lease: Lease) -> None:
    change(store, lease, transitions.cancel())
    assert not lease.complete(RESULT, [RECORD])
    assert lease.control.wanted is Wanted.STOP
    assert read(store, lease).error.code == "cancelled"


def test_parking_after_a_resume_misses_and_the_task_goes_on(store: LossyStore, lease: Lease) -> None:
    change(store, lease, transitions.pause())
    lease.beat()
    change(store, lease, transitions.resume())
    assert not lease.park()
    assert lease.control.wanted is Wanted.RUN
    assert read(store, lease).owner == "w1"


def test_a_wait_is_written_down_once_and_ends(store: LossyStore, lease: Lease) -> None:
    with lease.waiting("files") as say:
        assert read(store, lease).waits_for is None
        say()
        say()
        assert read(store, lease).waits_for == "files"
    assert read(store, lease).waits_for is None
    told = [event.type for event in store.events(lease.task.id)]
    assert [kind for kind in told if kind in ("waiting", "wait_over")] == ["waiting", "wait_over"]


def test_a_wait_that_nobody_speaks_of_is_not_written_down(store: LossyStore, lease: Lease) -> None:
    with lease.waiting("stage"):
        pass
    assert "waiting" not in [event.type for event in store.events(lease.task.id)]


@pytest.mark.parametrize("write", [Lease.beat, lambda lease: lease.begin_stage("fetch"), lambda lease: lease.release()])
def test_an_outage_of_the_store_is_written_down_when_it_is_over(store: LossyStore, lease: Lease,
                                                                monkeypatch: pytest.MonkeyPatch,
                                                                write: Callable[[Lease], object]) -> None:
    store.before = 1
    with pytest.raises(Unavailable):
        lease.beat()
    real = time.monotonic
    monkeypatch.setattr("worker.lease.time.monotonic", lambda: real() + 60)
    store.before = 1
    if write is Lease.beat:
        with pytest.raises(Unavailable):
            lease.beat()
    write(lease)
    lease.beat()
    outages = [event for event in store.events(lease.task.id) if event.type in ("waiting", "wait_over")]
    assert [event.type for event in outages] == ["waiting", "wait_over"]
    assert outages[0].data == {"waits_for": "store"} and 60 <= outages[1].data["seconds"] < 120


def test_a_short_outage_of_the_store_is_no_event(store: LossyStore, lease: Lease) -> None:
    store.before = 1
    assert lease.begin_stage("fetch")
    lease.beat()
    assert "waiting" not in [event.type for event in store.events(lease.task.id)]


def test_a_stage_is_recorded_though_pause_came_first(store: LossyStore, lease: Lease) -> None:
    change(store, lease, transitions.pause())
    store.after = 2
    assert lease.commit_stages([RECORD])
    assert read(store, lease).stages == [RECORD]
    assert lease.control.wanted is Wanted.PAUSE


def test_a_stage_of_a_stale_claim_is_not_recorded(store: LossyStore, lease: Lease) -> None:
    change(store, lease, transitions.Change({}, {"owner": None}))
    assert not lease.commit_stages([RECORD])
    assert read(store, lease).stages == []
    assert lease.control.wanted is Wanted.STOP


def test_no_stage_begins_while_the_task_is_paused(store: LossyStore, lease: Lease) -> None:
    change(store, lease, transitions.pause())
    assert not lease.begin_stage("fetch")
    assert read(store, lease).stage is None


def test_the_first_stage_sets_the_start_time_and_later_ones_keep_it(store: LossyStore, lease: Lease) -> None:
    lease.begin_stage("fetch")
    first = read(store, lease).started_at
    lease.begin_stage("inspect")
    assert read(store, lease).started_at == first is not None


def test_a_claim_is_confirmed_only_while_it_holds(store: LossyStore, lease: Lease) -> None:
    store.after = 1
    assert lease.confirm()
    change(store, lease, transitions.cancel())
    assert not lease.confirm()


@pytest.mark.parametrize("write", [
    lambda lease: lease.beat() or lease.control.wanted is not Wanted.STOP, lambda lease: lease.begin_stage("fetch"),
    lambda lease: lease.commit_stages([RECORD]), lambda lease: lease.complete(RESULT, [RECORD]),
    lambda lease: lease.fail(FAILURE), lambda lease: lease.release(), lambda lease: lease.confirm()])
def test_an_owner_stops_when_its_document_cannot_be_read_any_more_and_leaves_it(store: LossyStore, lease: Lease,
                                                                                write: Callable[[Lease], bool]) -> None:
    edit_raw(store._store, lease.task.id, parameters="x")
    before = get_raw(store._store, lease.task.id)
    assert not write(lease)
    assert lease.control.wanted is Wanted.STOP
    assert not lease.was_dropped() and not lease.is_gone(), "else what it has published would be removed"
    assert get_raw(store._store, lease.task.id) == before


@pytest.mark.parametrize(("what", "dropped"), [
    (lambda store, lease: store.delete(lease.task.id), True),
    (lambda store, lease: change(store, lease, transitions.cancel()), True),
    (lambda store, lease: change(store, lease, transitions.Change({}, {"owner": "w2", "epoch": 2})), False),
    (lambda store, lease: lease.complete(RESULT, [RECORD]), False),
])
def test_a_task_is_dropped_when_deleted_or_cancelled_and_not_when_anothers(store: LossyStore, lease: Lease, what: Any,
                                                                           dropped: bool) -> None:
    what(store, lease)
    store.reads = 1
    assert lease.was_dropped() is dropped


def test_a_beat_tells_what_the_stage_says_and_only_what_is_new(store: LossyStore, lease: Lease,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    update = store.update
    monkeypatch.setattr(store, "update", lambda task_id, change: (
        told.append(change.set.get("log_lines")), update(task_id, change))[1], raising=False)
    for lines in ([], ["one"], ["one"], ["one", "two"]):
        lease.control.log_lines = lines
        lease.beat()
        assert read(store, lease).log_lines == lines
    assert told == [None, ["one"], None, ["one", "two"]]
    assert [event.type for event in store.events(lease.task.id)] == ["claimed"]


@pytest.mark.parametrize("lost", [{"before": 1}, {"after": 1}])
def test_what_a_lost_beat_said_is_told_by_the_next(store: LossyStore, lease: Lease, lost: dict[str, int]) -> None:
    lease.control.log_lines = ["first"]
    lease.beat()
    vars(store).update(lost)
    lease.control.log_lines = ["second"]
    with pytest.raises(Unavailable):
        lease.beat()
    lease.control.log_lines = ["first"]
    lease.beat()
    assert read(store, lease).log_lines == ["first"]


def test_a_stage_begins_without_the_last_ones_words(store: LossyStore, lease: Lease) -> None:
    lease.begin_stage("fetch")
    lease.control.log_lines = ["fetched"]
    lease.beat()
    lease.begin_stage("inspect")
    assert (read(store, lease).log_lines, lease.control.log_lines) == ([], [])
    lease.control.log_lines = ["fetched"]  # by chance the same
    lease.beat()
    assert read(store, lease).log_lines == ["fetched"]


def test_a_beat_that_comes_late_with_the_last_stages_words_is_made_good_by_the_next(store: LossyStore,
                                                                                    lease: Lease) -> None:
    lease.begin_stage("fetch")
    lease.control.log_lines = ["fetched"]
    update = store.update

    def update_late(task_id: str, late: transitions.Change) -> Task | None:
        vars(store).pop("update")
        lease.begin_stage("inspect")
        return update(task_id, late)

    vars(store)["update"] = update_late
    lease.beat()
    assert (read(store, lease).stage, read(store, lease).log_lines) == ("inspect", ["fetched"])
    lease.beat()
    assert read(store, lease).log_lines == []


# --- the beating thread -----------------------------------------------------------------------------------------------


@pytest.fixture
def beater() -> Any:
    beater = Beater(beat_s=0.05)
    yield beater
    beater.close()


def test_beats_carry_progress_and_bring_back_what_is_wanted(store: LossyStore, lease: Lease, beater: Beater) -> None:
    beater.add(lease)
    lease.control.progress = 42.0
    wait_until(lambda: read(store, lease).progress == 42.0)
    change(store, lease, transitions.pause())
    wait_until(lambda: lease.control.wanted is Wanted.PAUSE)


def test_beats_go_on_after_an_outage(store: LossyStore, lease: Lease, beater: Beater) -> None:
    beater.add(lease)
    store.before = 5
    wait_until(lambda: store.before == 0)
    beat = read(store, lease).beat
    wait_until(lambda: read(store, lease).beat > beat + 1)
    assert lease.control.wanted is Wanted.RUN


def test_a_beat_that_fails_oddly_does_not_end_the_others(store: LossyStore, lease: Lease, beater: Beater,
                                                         tmp_path: Path) -> None:
    class Broken(LossyStore):
        def update(self, task_id: str, change: transitions.Change) -> Task | None:
            raise RuntimeError("not what a store should raise")

    beater.add(Lease(Broken(store), lease.task, lease.control))
    beater.add(lease)
    wait_until(lambda: read(store, lease).beat > 2)


def test_a_poke_beats_at_once(store: LossyStore, lease: Lease) -> None:
    slow = Beater(beat_s=600.0)
    slow.add(lease)
    change(store, lease, transitions.pause())
    slow.poke(lease.task.id)
    slow.poke("task_of_somebody_else")
    wait_until(lambda: lease.control.wanted is Wanted.PAUSE)
    slow.close()


def test_a_removed_lease_is_beaten_no_more_and_the_next_claim_of_the_same_task_is(store: LossyStore, lease: Lease,
                                                                                  beater: Beater) -> None:
    beater.add(lease)
    lease.release()
    successor = claim(store, lease.task, "w1")
    beater.add(successor)
    beater.remove(lease)
    beat = read(store, lease).beat
    wait_until(lambda: read(store, lease).beat > beat + 1)
    assert successor.control.wanted is Wanted.RUN


def test_another_task_is_live_until_it_has_ended_and_where_nobody_can_tell(store: LossyStore, lease: Lease) -> None:
    other = make_task()
    assert not lease.is_live(other.id)
    store.insert(other)
    assert lease.is_live(other.id)
    edit_raw(store._store, other.id, status="archived")
    assert lease.is_live(other.id)
    edit_raw(store._store, other.id, status="failed")
    assert not lease.is_live(other.id)
