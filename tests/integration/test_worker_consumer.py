"""The worker's main loop in this process, on a store whose line fails when told, and a real queue."""
from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.servers.base import free_port
from shared import transitions
from shared.documents import Status, Task
from shared.errors import Unavailable
from shared.files import FileInfo
from shared.files.local import LocalFiles
from shared.messages import RunTask
from shared.platforms import get_platforms
from shared.queue import Delivery
from shared.queue.polling import PollingQueue, PollingSubscription
from tests.contract.store_raw import edit_raw, get_raw
from tests.integration.consumer_kit import RunConsumer, consumers, done, lossy_bench
from tests.integration.two_targets_worker import FIRST, PLANS, SECOND, second_target
from tests.integration.worker_kit import (
    PLAN,
    TARGET,
    WAIT_S,
    Bench,
    LossyStore,
    make_settings,
    make_task,
    wait_until,
)
from worker import consumer as consumer_module
from worker.main import announcer, describe
from worker.process import ToolHost
from worker.sweeper import Announcer


@pytest.fixture
def bench(tmp_path: Path, hosts: dict[str, ToolHost]) -> Bench:
    return lossy_bench(tmp_path, hosts)


@pytest.fixture
def run_consumer(bench: Bench) -> Iterator[RunConsumer]:
    with consumers(bench) as run:
        yield run


def test_a_claim_whose_answer_was_lost_is_taken_up_by_the_same_worker(bench: Bench, run_consumer: RunConsumer) -> None:
    bench.store.after = 1
    task = bench.submit()
    run_consumer()
    ended = wait_until(lambda: done(bench, task))
    assert (ended.status, ended.epoch, ended.retries) == (Status.COMPLETED, 1, 0)


def test_a_claim_that_did_not_take_place_is_tried_again(bench: Bench, run_consumer: RunConsumer) -> None:
    bench.store.before = 2
    task = bench.submit()
    run_consumer()
    assert wait_until(lambda: done(bench, task)).epoch == 1


@pytest.mark.parametrize("damage", [{"status": "archived"}, {"form": 2}, {"parameters": "x"}, {"epoch": None}])
def test_a_task_that_cannot_be_read_hurts_no_other_and_stays_as_it_is(bench: Bench, run_consumer: RunConsumer,
                                                                      damage: dict[str, Any]) -> None:
    """Both on the way by the store and on that by a doorbell: the version that wrote it may have rung."""
    class DoorbellFirst(PollingQueue):
        def subscribe(self, worker_id: str, platforms: list[str]) -> PollingSubscription:
            subscription = super().subscribe(worker_id, platforms)
            receive, doorbells = subscription.receive, [RunTask(task_id=bad.id, epoch=0, platform=bad.platform,
                                                                priority="high")]

            def receive_doorbell_first(**wanted: Any) -> Delivery | None:
                return Delivery(doorbells.pop(), acked.set, lambda: None) if doorbells else receive(**wanted)

            subscription.receive = receive_doorbell_first
            return subscription

    acked = threading.Event()
    bad, task = bench.submit(priority="high", queue_order=0.0), bench.submit()
    edit_raw(bench.store._store, bad.id, **damage)
    before = get_raw(bench.store._store, bad.id)
    run_consumer(DoorbellFirst(lambda: bench.store, 0.02))
    assert wait_until(lambda: done(bench, task)).status is Status.COMPLETED
    assert acked.is_set()
    assert get_raw(bench.store._store, bad.id) == before


def test_a_task_of_a_target_that_this_worker_does_not_serve_is_given_back(bench: Bench,
                                                                          run_consumer: RunConsumer) -> None:
    """Its doorbell has named another target."""
    stray = bench.submit(platform=SECOND)
    consumer, _ = run_consumer()
    consumer._start(bench.store.update(stray.id, transitions.claim("w1")))
    wait_until(lambda: bench.store.get(stray.id).owner is None)
    given_back = bench.store.get(stray.id)
    assert (given_back.status, given_back.announced, given_back.retries) == (Status.RUNNING, -1, 0)


def test_a_task_that_turns_unreadable_under_its_owner_is_left_as_it_is(bench: Bench, run_consumer: RunConsumer) -> None:
    parameters, gate = bench.gated("prepare")
    bad, (_, thread) = bench.submit(parameters=parameters), run_consumer()
    wait_until(lambda: bench.runs()["prepare"] == 1)
    edit_raw(bench.store._store, bad.id, status="archived")
    before = get_raw(bench.store._store, bad.id)
    task = bench.submit(output_path=f"out/other{TARGET.artefact_suffix}")
    assert wait_until(lambda: done(bench, task)).status is Status.COMPLETED
    wait_until(lambda: not any(other.name == bad.id for other in threading.enumerate()))
    gate.touch()
    assert get_raw(bench.store._store, bad.id) == before and thread.is_alive()


def test_an_error_in_the_main_loop_ends_no_running_task(bench: Bench, run_consumer: RunConsumer) -> None:
    class Broken(LossyStore):
        broken = False

        def waiting(self, *args: Any, **options: Any) -> list[Task]:
            if self.broken:
                raise ValueError("a document of another version")
            return self._store.waiting(*args, **options)

    bench.store = Broken(bench.store)
    parameters, gate = bench.gated("prepare")
    task = bench.submit(parameters=parameters)
    run_consumer()
    wait_until(lambda: bench.runs()["prepare"] == 1)
    bench.store.broken = True
    time.sleep(1.5)
    gate.touch()
    assert wait_until(lambda: done(bench, task)).status is Status.COMPLETED


def test_no_more_tasks_than_slots_run_at_once(bench: Bench, run_consumer: RunConsumer) -> None:
    gate = bench.folder / "gate"
    tasks = [bench.submit(parameters=bench.parameters(gates={"prepare": str(gate), "number": str(number)}),
                          output_path=f"out/{number}{TARGET.artefact_suffix}") for number in range(4)]
    run_consumer()
    wait_until(lambda: bench.runs()["prepare"] == 2)
    time.sleep(1.0)
    assert sum(bench.store.get(task.id).owner is not None for task in tasks) == 2
    gate.touch()
    for task in tasks:
        assert wait_until(lambda task=task: done(bench, task)).status is Status.COMPLETED


def test_a_delayed_task_waits_for_its_time(bench: Bench, run_consumer: RunConsumer) -> None:
    task = bench.submit(next_run_at=time.time() + 1.0)
    run_consumer()
    assert wait_until(lambda: done(bench, task)).status is Status.COMPLETED
    [claimed_at] = [event.at for event in bench.store.events(task.id) if event.type == "claimed"]
    assert claimed_at >= task.next_run_at


def test_the_next_claim_of_a_task_is_beaten_for_while_and_after_the_old_one_ends(bench: Bench,
                                                                                 run_consumer: RunConsumer) -> None:
    """Cancelled and retried, the task is claimed again by the same worker while its old claim hangs in a download."""
    hangs, go = threading.Event(), threading.Event()

    class Slow(LocalFiles):
        def download(self, path: str, target: Path, **options: Any) -> FileInfo:
            if path == "in/model.onnx" and not hangs.is_set():
                hangs.set()
                go.wait(WAIT_S)
            return super().download(path, target, **options)

    bench.use_files(Slow(bench.folder / "buckets"))
    parameters, gate = bench.gated("prepare")
    task = bench.submit(parameters=parameters)
    run_consumer()
    assert hangs.wait(WAIT_S)
    bench.store.update(task.id, transitions.cancel())
    bench.store.update(task.id, transitions.retry())
    wait_until(lambda: bench.runs()["prepare"] == 1)
    go.set()
    wait_until(lambda: len([thread for thread in threading.enumerate() if thread.name == task.id]) == 1)
    beat = bench.store.get(task.id).beat
    wait_until(lambda: bench.store.get(task.id).beat > beat + 2)
    gate.touch()
    assert (wait_until(lambda: done(bench, task)).epoch, bench.runs()["prepare"]) == (2, 1)


def test_a_drain_ends_though_the_store_is_away_and_leaves_the_task_to_the_reaper(
        bench: Bench, run_consumer: RunConsumer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "LAST_WORD_S", 0.5)
    gate = bench.folder / "gate"
    task = bench.submit(parameters=bench.parameters(gates={"prepare": str(gate)}))
    consumer, thread = run_consumer()
    wait_until(lambda: bench.runs()["prepare"] == 1)
    bench.store.before = 10**6
    consumer.drain()
    consumer.drain()  # a second signal changes nothing
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert bench.store.get(task.id).owner == "w1"
    bench.store.before = 0
    gate.touch()


def test_a_worker_that_cannot_tell_the_store_that_it_lives_goes_on(bench: Bench) -> None:
    class Away(LossyStore):
        def save_worker(self, worker: Any) -> None:
            raise Unavailable("store", "told to")

    announcer(Away(bench.store), describe("w1", bench.settings, {}, {}))()
    assert bench.store.workers() == []


def test_a_workers_document_that_stays_unreadable_is_forgotten_too(bench: Bench,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    info = describe("w1", bench.settings, {}, {})
    for name in ("damaged", "fresh"):
        bench.store.save_worker(info.model_copy(update={"id": name}))
    edit_raw(bench.store._store, "damaged", kind="workers", slots="many")
    monkeypatch.setattr("worker.main.ANNOUNCE_SELF_S", 0.0)
    monkeypatch.setattr("worker.main.FORGET_AFTER_S", 0.5)
    tell = announcer(bench.store, info)
    tell()
    assert get_raw(bench.store._store, "damaged", kind="workers")["slots"] == "many"
    time.sleep(0.6)
    bench.store.save_worker(info.model_copy(update={"id": "fresh", "seen_at": time.time() + 60}))
    tell()
    assert [worker.id for worker in bench.store.workers()] == ["fresh", "w1"]
    with pytest.raises(TypeError):  # there is no such row any more
        get_raw(bench.store._store, "damaged", kind="workers")


# --- with RabbitMQ ----------------------------------------------------------------------------------------------------


def test_a_doorbell_starts_the_task_at_once_and_is_gone_after_the_claim(bench: Bench, run_consumer: RunConsumer,
                                                                        amqp_url: str) -> None:
    from shared.doorbells import ring
    from shared.queue.rabbitmq import RabbitQueue

    queue = RabbitQueue(amqp_url, 30.0)
    consumer, _ = run_consumer(queue)
    time.sleep(1.0)
    task = bench.submit()
    assert ring(task, bench.store, queue)
    assert ring(task, bench.store, queue)  # doubled
    assert wait_until(lambda: done(bench, task)).epoch == 1
    assert bench.runs()["prepare"] == 1
    consumer.drain()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "beater"])
    assert queue.subscribe("w2", [PLAN.platform]).receive(platforms=frozenset({PLAN.platform}), timeout_s=1.0) is None
    queue.close()


def test_a_control_message_reaches_the_owner_before_its_next_beat(bench: Bench, run_consumer: RunConsumer,
                                                                  amqp_url: str) -> None:
    from shared.doorbells import nudge, ring
    from shared.queue.rabbitmq import RabbitQueue

    object.__setattr__(bench.tools, "settings", make_settings(bench.folder, beat_s=600.0, grace_s=0.3))
    queue = RabbitQueue(amqp_url, 30.0)
    run_consumer(queue)
    gate = bench.folder / "gate"
    task = bench.submit(parameters=bench.parameters(gates={"prepare": str(gate)}))
    assert ring(task, bench.store, queue)
    wait_until(lambda: bench.runs()["prepare"] == 1)
    cancelled = bench.store.update(task.id, transitions.cancel())
    folder = bench.folder / "work" / f"{task.id}-1"
    assert folder.exists()
    assert nudge(cancelled, queue)
    wait_until(lambda: not folder.exists())
    queue.close()


def test_what_is_found_without_a_doorbell_stands_in_no_other_targets_way(
        bench: Bench, run_consumer: RunConsumer, amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.queue.rabbitmq import RabbitQueue

    for name, target in second_target().items():
        monkeypatch.setitem(get_platforms(), name, target)
    object.__setattr__(bench.tools, "settings", make_settings(bench.folder, slots=3, platform_slots={FIRST: 1},
                                                              sweep_s=600.0, grace_s=0.3))
    queue = RabbitQueue(amqp_url, 30.0)
    parameters, _ = bench.gated("prepare")
    first = [bench.submit(parameters=parameters) for _ in range(5)]
    second = bench.submit(platform=SECOND, output_path=f"out/second{TARGET.artefact_suffix}")
    run_consumer(queue, PLANS)
    assert wait_until(lambda: done(bench, second)).status is Status.COMPLETED
    assert [task.id for task in bench.store.get_many([task.id for task in first]).values() if task.owner] == [
        first[0].id]
    queue.close()


def test_what_owes_its_doorbell_through_two_sweeps_is_rung_for_once(bench: Bench, amqp_url: str) -> None:
    from shared.queue.rabbitmq import RabbitQueue

    queue = RabbitQueue(amqp_url, 30.0)
    ear = queue.subscribe("w1", [PLAN.platform])
    forgotten, announced = make_task(), make_task(announced=0)
    for task in (forgotten, announced):
        bench.store.insert(task)
    sweep = Announcer(bench.store, queue, [PLAN.platform])
    assert [sweep.look() for _ in range(2)] == [0, 1]
    wait_until(lambda: bench.store.get(forgotten.id).announced == 0)  # noted beside the sweep
    assert [sweep.look() for _ in range(2)] == [0, 0]
    delivery = wait_until(lambda: ear.receive(platforms=frozenset({PLAN.platform}), timeout_s=0.5))
    assert delivery.message.task_id == forgotten.id
    delivery.ack()
    ear.close()
    queue.close()


def test_what_cannot_be_rung_for_stays_owed(bench: Bench) -> None:
    from shared.queue.rabbitmq import RabbitQueue

    queue = RabbitQueue(f"amqp://guest:guest@127.0.0.1:{free_port()}/", 0.5)
    task = make_task()
    bench.store.insert(task)
    sweep = Announcer(bench.store, queue, [PLAN.platform])
    assert [sweep.look() for _ in range(3)] == [0, 0, 0]
    assert bench.store.get(task.id).announced == -1
    queue.close()
