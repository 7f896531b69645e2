"""What the processes of a chaos run write down of themselves: each write to the store with its answer, each doorbell.

Only looks: whatever is called here is called through. A line that is missing (its process was killed between the
answer and the line) proves nothing; a line that is there is true.
"""
from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import shared.queue
import shared.store
from shared.documents import Event, Task
from shared.errors import Unavailable, UnreadableDocument
from shared.messages import RunTask
from shared.queue import Delivery, Queue, Subscription
from shared.store import Store
from shared.transitions import Change
from worker.control import TaskControl
from worker.lease import Lease

PATH = "CHAOS_JOURNAL"  # environment variables: the file, and the process's name in it
NAME = "CHAOS_NAME"


def write_line(what: str, **fields: Any) -> None:
    """One write, so that lines of several processes do not mix."""
    line = {"at": time.time(), "process": os.environ[NAME], "pid": os.getpid(), "what": what, **fields}
    fd = os.open(os.environ[PATH], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, (json.dumps(line, default=str) + "\n").encode())
    finally:
        os.close(fd)


def install() -> None:
    """Let this process's store, queue and leases write the journal."""
    open_store, open_queue, init_lease = shared.store.open_store, shared.queue.open_queue, Lease.__init__
    shared.store.open_store = lambda *args: JournaledStore(open_store(*args))
    shared.queue.open_queue = lambda *args, **kwargs: JournaledQueue(open_queue(*args, **kwargs))

    def init(self: Lease, store: Store, task: Task, control: TaskControl) -> None:
        init_lease(self, JournaledStore(cast(JournaledStore, store)._store, task.epoch), task, control)

    Lease.__init__ = init


Written = TypeVar("Written", bound=Task | UnreadableDocument | None)


class JournaledStore:
    """`lease_epoch` is the claim for which the writes are made, whatever their filters say."""

    def __init__(self, store: Store, lease_epoch: int | None = None) -> None:
        self._store, self._lease_epoch = store, lease_epoch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def update(self, task_id: str, change: Change) -> Task | None:
        events = [event.type for event in change.events]
        told = {"task": task_id, "events": events, "stage": change.set.get("stage"), "lease_epoch": self._lease_epoch,
                "owner": change.where.get("owner"), "claims": change.set.get("owner") is not None}
        return self._write("update", told, lambda: self._store.update(task_id, change))

    def insert(self, task: Task, events: Sequence[Event] = ()) -> None:
        def insert() -> Task:
            self._store.insert(task, events)
            return task.model_copy(update={"event_count": len(events)})

        self._write("insert", {"task": task.id, "events": [event.type for event in events]}, insert)

    def delete(self, task_id: str, *, where: Mapping[str, Any] | None = None) -> Task | UnreadableDocument | None:
        return self._write("delete", {"task": task_id, "events": []}, lambda: self._store.delete(task_id, where=where))

    @staticmethod
    def _write(what: str, told: dict[str, Any], write: Callable[[], Written]) -> Written:
        asked_at = time.time()
        try:
            answer = write()
        except Unavailable as error:
            write_line(what, **told, asked_at=asked_at, outcome="unanswered", why=str(error)[:200])
            raise
        if answer is None:
            write_line(what, **told, asked_at=asked_at, outcome="miss")
        elif isinstance(answer, Task):
            write_line(what, **told, asked_at=asked_at, outcome="hit", after={
                "status": answer.status, "owner": answer.owner, "epoch": answer.epoch, "beat": answer.beat,
                "event_count": answer.event_count, "stages": {s.name: s.output_digest for s in answer.stages}})
        return answer


class JournaledQueue:
    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def subscribe(self, worker_id: str, platforms: list[str]) -> JournaledSubscription:
        return JournaledSubscription(self._queue.subscribe(worker_id, platforms))


class JournaledSubscription:
    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subscription, name)

    def receive(self, **wanted: Any) -> Delivery | None:
        delivery = self._subscription.receive(**wanted)
        if delivery is None or not isinstance(delivery.message, RunTask):
            return delivery
        message = delivery.message
        write_line("received", task=message.task_id, epoch=message.epoch, msg_id=message.msg_id)

        def ack() -> None:
            write_line("acked", task=message.task_id, epoch=message.epoch, msg_id=message.msg_id)
            delivery.ack()

        return replace(delivery, ack=ack)
