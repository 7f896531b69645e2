"""The broker, and functions that die while they talk to it: rows 1 to 9 of the matrix in docs/faults.md.

Service profile.
"""
from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pika
import pytest
import urllib3

from infra.client import ApiError
from infra.servers.rabbitmq import RabbitServer
from shared.documents import Status, Task
from shared.queue.topology import RUN_EXCHANGE, run_key, run_queue
from shared.store import TaskFilter
from shared.store.reading import require
from tests.faults.conftest import ProxyBefore, brought_to_rest
from tests.faults.proxy import Verdict
from tests.faults.run import HANG_S, Run, elapsed
from tests.faults.toy_plan import PLAN
from tests.fixtures.rabbitmq import PrivateBroker, start_or_skip
from tests.integration.worker_kit import TAKEOVER_S, WAIT_S, WorkerProcess, wait_until

ONCE = {"prepare": 1, "compile": 1, "verify": 1}
BY_DOORBELL_ONLY = {"sweep_s": 600.0}  # whoever runs a task then was told of it by the broker
QUEUES = {priority: run_queue(PLAN.platform, priority) for priority in ("high", "normal", "low")}
CONSUMER_TIMEOUT_S = 60


@contextmanager
def channel_to(url: str) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection.channel()
    finally:
        connection.close()


def doorbells(url: str, priority: str = "normal") -> int:
    """How many wait in the queue."""
    with channel_to(url) as channel:
        return channel.queue_declare(QUEUES[priority], passive=True).method.message_count


def consumers(url: str) -> int:
    """How many workers have the queue's messages sent to them now."""
    with channel_to(url) as channel:
        return channel.queue_declare(QUEUES["normal"], passive=True).method.consumer_count


@contextmanager
def busy_worker(run: Run) -> Iterator[WorkerProcess]:
    """A worker whose only slot is taken until the block ends: what it does meanwhile its sweeper does."""
    worker = run.start_worker(slots=1)
    occupied = run.create(verify={"gate": str(run.gate("occupied"))}, fields={"priority": "high"})
    run.pid_of(occupied, "verify")
    yield worker
    run.gate("occupied").touch()
    run.wait_for(occupied)


def create_unanswered(run: Run, **script: dict[str, Any]) -> tuple[Task, threading.Thread]:
    """A task that is in the store while its creation is still under way, and the thread that waits for the answer."""
    before = {task.id for task in run.store.list_page(TaskFilter(), 1, 100)[0]}
    request = run.request(script)

    def ask() -> None:
        with suppress(urllib3.exceptions.HTTPError, ApiError):
            run.client.create_task(**request)

    def find() -> Task | None:
        return next((require(task) for task in run.store.list_page(TaskFilter(), 1, 100)[0] if task.id not in before),
                    None)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    task = wait_until(find)
    run.adopt(task.id, request)
    return task, thread


def test_row_01_a_task_whose_function_died_before_its_publish_is_announced_by_the_sweeper_and_runs_once(
        service_run: Run, proxy_before: ProxyBefore) -> None:
    run, line = service_run, proxy_before(service_run.settings.queue_url.get_secret_value())
    run.start_gateway()
    with busy_worker(run) as worker:
        run.start_gateway(queue_url=line[1])
        line[0].judge = lambda _: Verdict.SWALLOW
        run.freeze(worker)  # else its sweep may ring before the function is dead
        task, thread = create_unanswered(run)
        run.kill_gateway()
        thread.join(WAIT_S)
        assert doorbells(run.settings.queue_url.get_secret_value()) == 0
        worker.process.send_signal(signal.SIGCONT)
        wait_until(lambda: run.task(task.id).announced == 0)
        wait_until(lambda: doorbells(run.settings.queue_url.get_secret_value()) == 1)
        assert run.task(task.id).status is Status.PENDING
    run.wait_for(task.id)
    assert (run.runs(task.id), run.task(task.id).epoch) == (ONCE, 1)
    run.start_gateway()


def test_row_02_a_function_that_died_after_the_confirm_leaves_a_doubled_doorbell_that_is_dropped(
        service_run: Run, proxy_before: ProxyBefore) -> None:
    run, line = service_run, proxy_before(service_run.settings.store_url.get_secret_value())
    url = run.settings.queue_url.get_secret_value()
    run.start_gateway()
    with busy_worker(run) as worker:
        run.start_gateway(store_url=line[1])
        line[0].judge = lambda chunk: Verdict.SWALLOW if b"\x02update\x00" in chunk else Verdict.PASS  # of the mark
        run.freeze(worker)  # else its sweep may ring before the function does
        task, thread = create_unanswered(run)
        wait_until(lambda: doorbells(url) == 1)
        run.kill_gateway()
        thread.join(WAIT_S)
        assert run.task(task.id).announced == -1
        worker.process.send_signal(signal.SIGCONT)
        wait_until(lambda: doorbells(url) == 2)  # the sweep rings only for a task that is not noted as announced
    run.wait_for(task.id)
    wait_until(lambda: doorbells(url) == 0)
    assert (run.runs(task.id), run.task(task.id).epoch, run.events(task.id, "claimed")) == (ONCE, 1, 1)
    run.start_gateway()


def test_row_03_tasks_created_while_the_broker_is_down_are_accepted_and_run_when_it_is_back(
        service_run: Run, private_broker: PrivateBroker) -> None:
    run = service_run
    run.start_gateway()
    with busy_worker(run):
        private_broker.server.kill()
        tasks = []
        assert elapsed(lambda: tasks.append(run.create())) < HANG_S
        tasks.append(run.create())
        assert {run.task(task_id).announced for task_id in tasks} == {-1}
        private_broker.start()
        wait_until(lambda: {run.task(task_id).announced for task_id in tasks} == {0})
        wait_until(lambda: doorbells(private_broker.url) == 2)
    run.wait_for(*tasks)
    assert [(run.runs(task_id), run.task(task_id).epoch) for task_id in tasks] == [(ONCE, 1)] * 2


def delete(what: str, url: str) -> None:
    with channel_to(url) as channel:
        if what == "queue":
            channel.queue_delete(QUEUES["normal"])
        else:
            channel.queue_unbind(QUEUES["normal"], RUN_EXCHANGE, run_key(PLAN.platform, "normal"))


@pytest.mark.parametrize("what", ["queue", "binding"])
def test_row_04_a_function_notices_that_a_queue_or_binding_is_gone_and_declares_it_again(service_run: Run,
                                                                                        what: str) -> None:
    run, url = service_run, service_run.settings.queue_url.get_secret_value()
    run.start_gateway()
    with busy_worker(run):
        tasks = [run.create()]
        delete(what, url)
        tasks += [run.create() for _ in range(2)]
        wait_until(lambda: {run.task(task_id).announced for task_id in tasks} == {0})
        assert doorbells(url) == (2 if what == "queue" else 3)
    run.wait_for(*tasks)
    assert [(run.runs(task_id), run.task(task_id).epoch) for task_id in tasks] == [(ONCE, 1)] * 3


@pytest.mark.parametrize("what", ["queue", "binding"])
def test_row_04_a_worker_whose_queue_or_binding_is_deleted_hears_of_later_tasks(service_run: Run, what: str) -> None:
    run, url = service_run, service_run.settings.queue_url.get_secret_value()
    run.start_gateway()
    run.start_worker(sweep_s=2.0)  # what the broker confirms while it deletes the queue is lost with it
    first = run.create()
    run.wait_for(first)
    delete(what, url)
    tasks = [run.create() for _ in range(3)]
    run.wait_for(*tasks)
    tasks.append(run.create())
    run.wait_for(tasks[-1])
    wait_until(lambda: doorbells(url) == 0)
    assert [(run.runs(task_id), run.task(task_id).epoch) for task_id in tasks] == [(ONCE, 1)] * 4


def test_row_05_under_a_memory_alarm_creating_claiming_and_acknowledging_go_on(service_run: Run,
                                                                               private_broker: PrivateBroker) -> None:
    run = service_run
    run.start_gateway()
    announced = [run.create() for _ in range(2)]
    assert doorbells(private_broker.url) == 2
    private_broker.control("set_vm_memory_high_watermark", "0.0001")
    try:
        unannounced: list[str] = []
        assert elapsed(lambda: unannounced.append(run.create())) < HANG_S
        assert run.task(unannounced[0]).announced == -1
        run.start_worker()
        run.wait_for(*announced, *unannounced)
    finally:
        private_broker.control("set_vm_memory_high_watermark", "0.4")
    wait_until(lambda: doorbells(private_broker.url) == 0)
    later = run.create()
    run.wait_for(later)
    tasks = [*announced, *unannounced, later]
    assert [(run.runs(task_id), run.task(task_id).epoch) for task_id in tasks] == [(ONCE, 1)] * 4


def test_row_06_a_stage_during_which_the_broker_is_killed_finishes_once(service_run: Run,
                                                                        private_broker: PrivateBroker) -> None:
    run = service_run
    run.start_gateway()
    run.start_worker(**BY_DOORBELL_ONLY)
    task_id = run.create(compile={"gate": str(run.gate())})
    pid = run.pid_of(task_id, "compile")
    private_broker.server.kill()
    assert run.act("pause", task_id) == run.act("resume", task_id) == 200
    run.gate().touch()
    run.wait_for(task_id)
    private_broker.start()
    assert (run.runs(task_id), run.task(task_id).epoch) == (ONCE, 1)
    assert run.pid_of(task_id, "compile") == pid
    wait_until(lambda: run.act("pause", task_id) == 400)
    later = run.create()
    run.wait_for(later)
    assert run.runs(later) == ONCE


@pytest.fixture
def impatient_broker(tmp_path: Path, private_broker: PrivateBroker) -> Iterator[PrivateBroker]:
    """Closes a channel that holds a message for a second; it is patient again for the next test."""
    private_broker.server.kill()
    private_broker.start(consumer_timeout_ms=1000)
    yield private_broker
    private_broker.server.kill()


def test_row_07_a_worker_whose_channel_the_broker_closed_consumes_again_within_a_tick(
        service_run: Run, impatient_broker: PrivateBroker) -> None:
    run = service_run
    run.start_gateway()
    worker = run.start_worker(**BY_DOORBELL_ONLY)
    first = run.create()
    run.wait_for(first)
    wait_until(lambda: consumers(impatient_broker.url) == 1)
    before = closed_channels(impatient_broker)
    run.freeze(worker)
    held = run.create()
    wait_until(lambda: closed_channels(impatient_broker) > before)
    worker.process.send_signal(signal.SIGCONT)
    run.wait_for(held)
    later = run.create()
    run.wait_for(later)
    assert [(run.runs(task_id), run.task(task_id).epoch) for task_id in (first, held, later)] == [(ONCE, 1)] * 3


def closed_channels(broker: PrivateBroker) -> int:
    """How many channels the broker has closed for their patience, as its log tells."""
    logs = Path(broker.server.env["RABBITMQ_LOG_BASE"]).glob("*.log")
    return sum(log.read_text().count("has timed out waiting for delivery acknowledgement") for log in logs)


def test_row_09_a_worker_killed_between_claim_and_ack_leaves_a_doorbell_that_is_dropped_and_a_task_that_runs(
        service_run: Run, proxy_before: ProxyBefore) -> None:
    run, line = service_run, proxy_before(service_run.settings.queue_url.get_secret_value())
    url = run.settings.queue_url.get_secret_value()
    run.start_gateway()
    victim = run.start_worker(queue_url=line[1], **BY_DOORBELL_ONLY)
    first = run.create()
    run.wait_for(first)
    wait_until(lambda: consumers(url) == 1)  # again
    line[0].judge = lambda _: Verdict.SWALLOW  # the doorbell comes, no acknowledgement leaves
    task_id = run.create(prepare={"gate": str(run.gate())})
    run.pid_of(task_id, "prepare")
    run.kill(victim)
    line[0].cut()
    wait_until(lambda: doorbells(url) == 1)
    run.gate().touch()
    run.start_worker(lease_s=TAKEOVER_S)
    [done] = run.wait_for(task_id)
    wait_until(lambda: doorbells(url) == 0)
    assert (done.epoch, run.events(task_id, "claimed"), run.events(task_id, "reaped")) == (2, 2, 1)
    assert run.runs(task_id) == {"prepare": 2, "compile": 1, "verify": 1}


@pytest.fixture
def hurried_run(tmp_path: Path, mongo_url: str, minio_url: str, bucket: str) -> Iterator[Run]:
    """With a broker that closes a channel which holds a message for a minute."""
    broker: RabbitServer = start_or_skip(tmp_path / "broker", consumer_timeout_ms=CONSUMER_TIMEOUT_S * 1000)
    try:
        with brought_to_rest(Run(tmp_path / "run", {
                "store_url": mongo_url, "files_url": minio_url, "queue_url": broker.url, "cache_bucket": bucket,
                "results_bucket": f"{bucket}-results"})) as run:
            yield run
    finally:
        broker.kill()


def test_row_08_a_stage_longer_than_the_consumer_timeout_runs_once(hurried_run: Run) -> None:
    run = hurried_run
    run.start_gateway()
    first, second = run.start_worker(slots=1), run.start_worker(slots=1)
    task_id = run.create(compile={"seconds": CONSUMER_TIMEOUT_S + 8})
    [done] = run.wait_for(task_id, timeout_s=CONSUMER_TIMEOUT_S + WAIT_S)
    assert (run.runs(task_id), done.epoch, run.events(task_id, "claimed")) == (ONCE, 1, 1)
    assert doorbells(run.settings.queue_url.get_secret_value()) == 0
    logs = first.log.read_text() + second.log.read_text()
    assert "the link to the broker is down" not in logs
    later = run.create()
    run.wait_for(later)
