"""(e) A page of the list, and a claim, with few and with many tasks in the store; half of them wait for a worker."""
from __future__ import annotations

import os
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pymongo

from shared import transitions
from shared.creation import build_task
from shared.models import CreateTask, Status, Task
from shared.settings import Settings
from shared.store import Store, TaskFilter, open_store
from shared.store.mongo_documents import to_document
from tests.bench.context import Bench
from tests.bench.figures import Bound, Line, take_turns
from tests.bench.models import DETECTOR, request_for
from tests.fixtures.mongo import NAMED, fresh_database

BOUND = Bound(2.0)
CALLS = 20  # a sample is the median of so many calls,
CALLS_S = 1.0  # or of as many as this time allows
CHUNK = 2_000
TIMEOUT_S = 120.0  # far above the product's own: a call that is too slow shall show how slow
WORKER = "bench"


def run(bench: Bench) -> list[Line]:
    lines = []
    with ExitStack() as stack:
        for name, few_url, many_url in databases(bench, stack):
            few, many = (stack.enter_context(closing(open_store(url, TIMEOUT_S))) for url in (few_url, many_url))
            bench.tell(f"(e) {name}: storing {bench.sizes.many_tasks} tasks")
            fill(few_url, few, bench.sizes.few_tasks)
            fill(many_url, many, bench.sizes.many_tasks)
            for what, call in CALLS_MEASURED.items():
                series = take_turns({"many": lambda call=call, store=many: sample_ms(store, call),
                                     "few": lambda call=call, store=few: sample_ms(store, call)},
                                    bench.sizes.scale_rounds)
                lines.append(Line("e", f"{what}, {name}, {bench.sizes.many_tasks:,} tasks", "ms", series["many"],
                                  f"{bench.sizes.few_tasks:,} tasks", series["few"], BOUND))
    return lines


def databases(bench: Bench, stack: ExitStack) -> Iterator[tuple[str, str, str]]:
    """Each kind of store, and two empty ones of it."""
    folder = bench.folder / "scale"
    yield "sqlite", f"sqlite:{folder / 'few.db'}", f"sqlite:{folder / 'many.db'}"
    own = bench.servers.mongo
    yield (own.how.split(",")[0].split("/")[-1],
           *(stack.enter_context(fresh_database(own.url)) for _ in range(2)))
    if named := os.environ.get(NAMED):
        yield "the MongoDB that is named", *(stack.enter_context(fresh_database(named)) for _ in range(2))


def fill(url: str, store: Store, number: int) -> None:
    """Store so many tasks: the older half completed, the younger half waiting. The first goes the product's own way,
    which makes schema and indexes."""
    now = time.time()
    tasks = (make_task(index, number, now) for index in range(number))
    store.insert(next(tasks))
    with bulk_writer(url) as write:
        chunk: list[Task] = []
        for task in tasks:
            chunk.append(task)
            if len(chunk) == CHUNK:
                write(chunk)
                chunk = []
        write(chunk)


def make_task(index: int, number: int, now: float) -> Task:
    at = now - number + index
    status = Status.COMPLETED if index < number // 2 else Status.PENDING
    task = build_task(CreateTask(**request_for(DETECTOR, [1, 3, 480, 480])), Settings())
    return task.model_copy(update={"created_at": at, "updated_at": at, "queue_order": at, "status": status})


@contextmanager
def bulk_writer(url: str) -> Iterator[Callable[[list[Task]], None]]:
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:"))) as connection, connection:
            yield lambda tasks: connection.executemany("INSERT INTO tasks (id, doc) VALUES (?, ?)",
                                                       [(task.id, task.model_dump_json()) for task in tasks])
    else:
        with pymongo.MongoClient(url) as client:
            collection = client.get_default_database().tasks
            yield lambda tasks: collection.insert_many(map(to_document, tasks)) if tasks else None


def list_page(page: int) -> Callable[[Store], None]:
    def call(store: Store) -> None:
        tasks, _ = store.list(TaskFilter(), page, 10)
        if not tasks:
            raise RuntimeError(f"page {page} of the list is empty")

    return call


def look_and_claim(store: Store) -> None:
    """As a worker does that finds a waiting task by itself."""
    claim(store, store.waiting(["intel"], limit=8)[0].id)


def claim(store: Store, task_id: str) -> None:
    if store.update(task_id, transitions.claim(WORKER)) is None:
        raise RuntimeError("the claim missed")


CALLS_MEASURED: dict[str, Callable[[Store], None]] = {
    "list, page 1": list_page(1),
    "list, page 50": list_page(50),
    "claim of what waits": look_and_claim,
}


def sample_ms(store: Store, call: Callable[[Store], None]) -> float:
    """The median of some calls; afterwards the tasks that they claimed wait again."""
    call(store)  # what was evicted from caches by the other side's turn is read again
    taken: list[float] = []
    while len(taken) < CALLS and sum(taken) < CALLS_S:
        begun = time.perf_counter()
        call(store)
        taken.append(time.perf_counter() - begun)
    for owned in store.owned():
        store.update(owned.id, transitions.release(WORKER, owned.epoch))
    return statistics.median(taken) * 1000
