"""(e) A page of the list, and a claim, with few and with many tasks in the store; half of them wait for a worker."""
from __future__ import annotations

import os
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import pymongo

from shared import transitions
from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.documents import Status, Task
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
STAND_IN = "mongo-java-server"
SCANS = (f"{STAND_IN} sorts and counts by reading every document, whatever the indexes. "
         f"A genuine MongoDB is measured as well where {NAMED} names one.")


@dataclass(frozen=True)
class Filled:
    """A store that holds many tasks; `waiting_ids` are those without an owner, the first in the queue first."""

    store: Store
    waiting_ids: Iterator[str]


def run(bench: Bench) -> list[Line]:
    lines = []
    sizes = bench.sizes
    with ExitStack() as stack:
        for name, few_url, many_url in databases(bench, stack):
            bench.tell(f"(e) {name}: storing {sizes.many_tasks} tasks")
            few, many = (fill(url, stack.enter_context(closing(open_store(url, TIMEOUT_S))), number)
                         for url, number in ((few_url, sizes.few_tasks), (many_url, sizes.many_tasks)))
            for what, call in MEASURED.items():
                series = take_turns({"many": lambda call=call, many=many: sample_ms(many, call),
                                     "few": lambda call=call, few=few: sample_ms(few, call)}, sizes.scale_rounds)
                lines.append(Line("e", f"{what}, {name}, {sizes.many_tasks:,} tasks", "ms", series["many"],
                                  f"{sizes.few_tasks:,} tasks", series["few"], BOUND,
                                  remark=SCANS if name == STAND_IN else ""))
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


def fill(url: str, store: Store, number: int) -> Filled:
    """Store so many tasks: the older half completed, the younger half waiting. The first goes the product's own way,
    which makes schema and indexes."""
    template = build_tasks(CreateTask(**request_for(DETECTOR, [1, 3, 480, 480])), Settings())[0]
    now = time.time()
    waiting_ids: list[str] = []

    def make_task(index: int) -> Task:
        at, status = now - number + index, Status.COMPLETED if index < number // 2 else Status.PENDING
        task_id = f"task_{int(at)}_{index:010d}"
        if status is Status.PENDING:
            waiting_ids.append(task_id)
        return template.model_copy(update={"id": task_id, "created_at": at, "updated_at": at, "queue_order": at,
                                           "status": status})

    store.insert(make_task(0))
    with bulk_writer(url) as write:
        for first in range(1, number, CHUNK):
            write([make_task(index) for index in range(first, min(first + CHUNK, number))])
    return Filled(store, iter(waiting_ids))


@contextmanager
def bulk_writer(url: str) -> Iterator[Callable[[list[Task]], None]]:
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:"))) as connection, connection:
            yield lambda tasks: connection.executemany("INSERT INTO tasks (id, doc) VALUES (?, ?)",
                                                       [(task.id, task.model_dump_json()) for task in tasks])
    else:
        with pymongo.MongoClient(url) as client:
            collection = client.get_default_database().tasks
            yield lambda tasks: collection.insert_many(map(to_document, tasks))


def list_page(page: int) -> Callable[[Filled], None]:
    def call(filled: Filled) -> None:
        tasks, _ = filled.store.list_page(TaskFilter(), page, 10)
        if not tasks:
            raise RuntimeError(f"page {page} of the list is empty")

    return call


def look_and_claim(filled: Filled) -> None:
    """As a worker does that finds a waiting task by itself."""
    claim(filled.store, filled.store.waiting(["intel"], limit=8)[0].id)


def claim_announced(filled: Filled) -> None:
    """As a worker does whom a message has told the task's id."""
    claim(filled.store, next(filled.waiting_ids))


def claim(store: Store, task_id: str) -> None:
    if store.update(task_id, transitions.claim(WORKER)) is None:
        raise RuntimeError("the claim missed")


# The announced claims come first: the others take the head of the queue, whose ids would be given out again.
MEASURED: dict[str, Callable[[Filled], None]] = {
    "claim after a doorbell": claim_announced,
    "claim after a look": look_and_claim,
    "list, page 1": list_page(1),
    "list, page 50": list_page(50),
}


def sample_ms(filled: Filled, call: Callable[[Filled], None]) -> float:
    """The median of some calls."""
    call(filled)  # what the other side's turn pushed out of caches is read again
    taken: list[float] = []
    while len(taken) < CALLS and sum(taken) < CALLS_S:
        begun = time.perf_counter()
        call(filled)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1000
