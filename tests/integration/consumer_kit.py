"""The worker's main loop in a test's own process, on a store whose line fails when told."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.documents import Status, Task
from shared.queue import Queue
from shared.queue.polling import PollingQueue
from tests.integration.toy_models import small_model
from tests.integration.worker_kit import PLAN, WAIT_S, Bench, LossyStore
from worker.consumer import Consumer
from worker.plan import Plan
from worker.process import ToolHost

RunConsumer = Callable[..., tuple[Consumer, threading.Thread]]


def lossy_bench(folder: Path, hosts: dict[str, ToolHost]) -> Bench:
    bench = Bench(folder, hosts, grace_s=0.3, slots=2)
    bench.store = LossyStore(bench.store)
    bench.upload("in/model.onnx", small_model())
    return bench


@contextmanager
def consumers(bench: Bench) -> Iterator[RunConsumer]:
    """A function that starts a consumer in a thread; all of them have ended afterwards."""
    started: list[tuple[Consumer, threading.Thread]] = []

    def run(queue: Queue | None = None, plans: dict[str, Plan] | None = None) -> tuple[Consumer, threading.Thread]:
        queue = queue or PollingQueue(lambda: bench.store, 0.02)
        consumer = Consumer("w1", bench.store, queue, bench.tools, plans or {PLAN.platform: PLAN},
                            bench.folder / "work")
        thread = threading.Thread(target=consumer.run, args=(lambda: None,), daemon=True)
        thread.start()
        started.append((consumer, thread))
        return consumer, thread

    yield run
    for consumer, thread in started:
        consumer.drain()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def done(bench: Bench, task: Task) -> Task | None:
    found = bench.store.get(task.id)
    return found if found and found.status in (Status.COMPLETED, Status.FAILED) else None
