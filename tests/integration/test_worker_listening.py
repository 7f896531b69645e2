"""When a worker hears control messages of a task: as soon as it can, and not longer than it has the task."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import transitions
from shared.documents import Status, Task
from shared.errors import Unavailable
from shared.queue.polling import PollingQueue, PollingSubscription
from tests.integration.consumer_kit import RunConsumer, consumers, done, lossy_bench
from tests.integration.worker_kit import WAIT_S, Bench, LossyStore, make_settings, wait_until
from worker.process import ToolHost


@pytest.fixture
def bench(tmp_path: Path, hosts: dict[str, ToolHost]) -> Bench:
    return lossy_bench(tmp_path, hosts)


@pytest.fixture
def run_consumer(bench: Bench) -> Iterator[RunConsumer]:
    with consumers(bench) as run:
        yield run


@pytest.mark.parametrize("misses", ["the claim", "its answer", "nothing"])
def test_a_worker_listens_for_control_messages_before_its_claim_and_not_in_vain(
        bench: Bench, run_consumer: RunConsumer, misses: str) -> None:
    said: list[str] = []

    class Told(PollingQueue):
        def subscribe(self, worker_id: str, platforms: list[str]) -> PollingSubscription:
            subscription = super().subscribe(worker_id, platforms)
            for name in ("watch_soon", "watch", "unwatch"):
                monitored = getattr(subscription, name)
                setattr(subscription, name, lambda task_id, name=name, call=monitored: (said.append(name),
                                                                                       call(task_id)))
            return subscription

    class Claiming(LossyStore):
        def update(self, task_id: str, change: transitions.Change) -> Task | None:
            if "owner" in change.set and change.set["owner"] is not None:
                said.append("claim")
                if misses == "the claim" and said.count("claim") == 1:
                    return None
                if misses == "its answer" and said.count("claim") == 1:
                    raise Unavailable("store", "told to")
            return super().update(task_id, change)

    bench.store = Claiming(bench.store)
    task = bench.submit()
    run_consumer(Told(lambda: bench.store, 0.02))
    assert wait_until(lambda: done(bench, task)).status is Status.COMPLETED
    wait_until(lambda: said[-1] == "unwatch" and "watch" in said)
    missed = [] if misses == "nothing" else ["watch_soon", "claim", "unwatch"]
    assert said in ([*missed, "watch_soon", "claim", "watch", "unwatch"],
                    [*missed, "claim", "watch", "unwatch"])  # found by a look of its own


def test_a_control_message_that_was_sent_before_the_worker_listened_is_seen_in_the_document(
        bench: Bench, run_consumer: RunConsumer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage runs already, the binding is late, and the next beat is far."""
    object.__setattr__(bench.tools, "settings", make_settings(bench.folder, beat_s=600.0, grace_s=0.3))
    listens = threading.Event()

    class Late(PollingQueue):
        def subscribe(self, worker_id: str, platforms: list[str]) -> PollingSubscription:
            subscription = super().subscribe(worker_id, platforms)
            monkeypatch.setattr(subscription, "watch", lambda task_id: not listens.wait(WAIT_S))
            return subscription

    parameters, _ = bench.gated("prepare")
    task = bench.submit(parameters=parameters)
    run_consumer(Late(lambda: bench.store, 0.02))
    wait_until(lambda: bench.runs()["prepare"] == 1)
    folder = bench.folder / "work" / f"{task.id}-1"
    assert bench.store.update(task.id, transitions.cancel()) and folder.exists()
    listens.set()
    wait_until(lambda: not folder.exists())


def test_a_task_that_ends_before_the_worker_listened_is_not_watched_for_ever(
        bench: Bench, run_consumer: RunConsumer) -> None:
    ended, said = threading.Event(), []

    class Late(PollingQueue):
        def subscribe(self, worker_id: str, platforms: list[str]) -> PollingSubscription:
            subscription = super().subscribe(worker_id, platforms)
            watch = subscription.watch
            subscription.watch = lambda task_id: (ended.wait(WAIT_S), said.append(subscription), watch(task_id))[2]
            return subscription

    task = bench.submit()
    run_consumer(Late(lambda: bench.store, 0.02))
    assert wait_until(lambda: done(bench, task)).status is Status.COMPLETED
    wait_until(lambda: not any(thread.name == task.id for thread in threading.enumerate()))
    ended.set()
    wait_until(lambda: said and not said[0]._watched)
