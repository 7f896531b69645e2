"""Limits per target: how many tasks of one target a worker runs at once, and that nobody waits behind them."""
from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import transitions
from shared.documents import HEAD_START_S, Status, Task
from shared.doorbells import ring
from shared.queue import Queue, open_queue
from shared.store import Store
from tests.integration.toy_models import small_model
from tests.integration.two_targets_worker import FIRST, SECOND
from tests.integration.worker_kit import TARGET, WAIT_S, Bench, WorkerProcess, make_settings, wait_until

Start = Callable[..., WorkerProcess]
MODULE = "tests.integration.two_targets_worker"
ONE_OF_FIRST = f"{FIRST}=1"


class Service:
    """The client's side: a store, a queue that is rung for each task, and gates that hold tasks in a stage."""

    def __init__(self, bench: Bench, queue_url: str) -> None:
        self.bench, self.store, self.queue_url = bench, bench.store, queue_url
        self.queue: Queue = open_queue(queue_url, lambda: self.store, timeout_s=30.0, poll_s=0.02)

    def create(self, platform: str, name: str, priority: str = "normal", gated: bool = True) -> Task:
        parameters = self.bench.parameters(gates={"prepare": str(self.gate(name))} if gated else {"name": name})
        task = self.bench.submit(platform=platform, priority=priority, parameters=parameters, labels={"name": name},
                                 output_path=f"out/{name}{TARGET.artefact_suffix}",
                                 queue_order=time.time() - HEAD_START_S[priority])
        assert ring(task, self.store, self.queue)
        return task

    def gate(self, name: str) -> Path:
        return self.bench.folder / f"gate-{name}"

    def open_gates(self, *names: str) -> None:
        for name in names:
            self.gate(name).touch()

    def owners(self, tasks: list[Task]) -> dict[str, str]:
        """{name: owner} of those that have one."""
        found = self.store.get_many([task.id for task in tasks]).values()
        return {task.labels["name"]: task.owner for task in found if task.owner}

    def is_completed(self, task: Task) -> bool:
        return self.store.get(task.id).status is Status.COMPLETED

    def is_in_its_stage(self, task: Task) -> bool:
        return self.store.get(task.id).stage == "prepare"


@pytest.fixture(params=["poll", "amqp"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    bench = Bench(tmp_path, {})
    bench.upload("in/model.onnx", small_model())
    service = Service(bench, "poll:" if request.param == "poll" else request.getfixturevalue("amqp_url"))
    yield service
    service.queue.close()


@pytest.fixture
def start(service: Service, tmp_path: Path) -> Iterator[Start]:
    workers: list[WorkerProcess] = []

    def start(platform_slots: str = "", **changes: Any) -> WorkerProcess:
        settings = make_settings(tmp_path, queue_url=service.queue_url, **{"grace_s": 2.0, "sweep_s": 600.0, **changes})
        workers.append(WorkerProcess(settings, MODULE, MODEL_CONVERT_PLATFORM_SLOTS=platform_slots).wait_ready())
        return workers[-1]

    yield start
    for worker in workers:
        worker.terminate()


def spans(store: Store, tasks: list[Task]) -> list[tuple[float, float]]:
    """When each task had an owner, in order of time; the store's own events tell it."""
    found = []
    for task in tasks:
        at = {event.type: event.at for event in store.events(task.id) or []}
        found.append((at["claimed"], at["completed"]))
    return sorted(found)


def test_a_limit_of_one_runs_the_targets_tasks_one_by_one_and_another_targets_beside_them(service: Service,
                                                                                        start: Start) -> None:
    start(ONE_OF_FIRST, slots=3)
    first = [service.create(FIRST, f"first-{number}") for number in range(3)]
    wait_until(lambda: service.owners(first))
    second = service.create(SECOND, "second", gated=False)
    wait_until(lambda: service.is_completed(second))
    time.sleep(1.0)
    assert len(service.owners(first)) == 1
    service.open_gates("first-0", "first-1", "first-2")
    wait_until(lambda: all(map(service.is_completed, first)))
    claims = spans(service.store, first)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(claims)), claims
    assert {task.epoch for task in service.store.get_many([task.id for task in first]).values()} == {1}


def test_what_waited_behind_a_limit_before_the_worker_came_hinders_no_other_target(service: Service,
                                                                                  start: Start) -> None:
    first = [service.create(FIRST, f"first-{number}", "high") for number in range(12)]
    second = service.create(SECOND, "second", "low", gated=False)
    start(ONE_OF_FIRST, slots=4)
    wait_until(lambda: service.is_completed(second))  # before the first sweep could help
    assert len(service.owners(first)) == 1


def test_a_full_target_leaves_its_tasks_to_a_worker_that_has_room(service: Service, start: Start) -> None:
    start(ONE_OF_FIRST, slots=3)
    first = [service.create(FIRST, "first-0")]
    limited = wait_until(lambda: service.owners(first))["first-0"]
    first += [service.create(FIRST, f"first-{number}") for number in (1, 2)]
    start(slots=2)
    owners = wait_until(lambda: len(found := service.owners(first)) == 3 and found)
    assert [name for name, owner in owners.items() if owner == limited] == ["first-0"]


def test_what_waits_for_room_comes_in_order_of_priority(service: Service, start: Start) -> None:
    start(ONE_OF_FIRST, slots=2)
    running = service.create(FIRST, "running")
    wait_until(lambda: service.is_in_its_stage(running))
    waiting = [service.create(FIRST, priority, priority) for priority in ("low", "normal", "high")]
    service.open_gates("running", "low", "normal", "high")
    wait_until(lambda: all(map(service.is_completed, waiting)))
    started = {task.labels["name"]: spans(service.store, [task])[0][0] for task in waiting}
    assert sorted(started, key=started.__getitem__) == ["high", "normal", "low"]


def test_a_frozen_task_gives_way_to_one_of_its_target_though_a_slot_is_free(service: Service, start: Start) -> None:
    start(ONE_OF_FIRST, slots=2)
    frozen = service.create(FIRST, "frozen")
    wait_until(lambda: service.is_in_its_stage(frozen))
    service.store.update(frozen.id, transitions.pause())
    time.sleep(1.0)
    assert service.owners([frozen]), "nobody needs its place yet"
    waiting = service.create(FIRST, "waiting", gated=False)
    wait_until(lambda: service.is_completed(waiting))
    assert service.store.get(frozen.id).status is Status.PAUSED and not service.owners([frozen])


def test_a_frozen_task_does_not_give_way_where_none_could_take_its_place(service: Service, start: Start) -> None:
    start(ONE_OF_FIRST, slots=2)
    running, frozen = service.create(FIRST, "running"), service.create(SECOND, "frozen")
    wait_until(lambda: service.is_in_its_stage(running) and service.is_in_its_stage(frozen))
    service.store.update(frozen.id, transitions.pause())
    waiting = service.create(FIRST, "waiting", "high")
    time.sleep(2.0)
    assert service.owners([running, frozen, waiting]).keys() == {"running", "frozen"}
    another = service.create(SECOND, "another", "low", gated=False)
    wait_until(lambda: service.is_completed(another))
    assert service.owners([running, frozen, waiting]).keys() == {"running"}


def test_a_worker_tells_its_limits(service: Service, start: Start) -> None:
    start(ONE_OF_FIRST, slots=3)
    (info,) = wait_until(service.store.workers)
    assert (info.slots, info.platform_slots) == (3, {FIRST: 1})


def test_a_limit_of_a_target_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    worker = WorkerProcess(make_settings(tmp_path), MODULE, MODEL_CONVERT_PLATFORM_SLOTS=f"{FIRST}=1,nonsense=2")
    assert worker.process.wait(WAIT_S) == 1
    assert "MODEL_CONVERT_PLATFORM_SLOTS names no targets of ours: nonsense" in worker.log.read_text()
