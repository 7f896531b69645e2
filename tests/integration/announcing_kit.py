"""What the tests of announcements are made of: a stand-in of a receiver, and senders that look until all is done."""
from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shared import transitions
from shared.announcements import changes
from shared.documents import Status, StoredFailure, Task
from shared.settings import Settings
from shared.store import Store
from tests.fixtures.receiver_standin import Received, ReceiverStandIn, status
from tests.integration.worker_kit import make_task
from worker.calls import Calls

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
FAILURE = StoredFailure(code="unsupported_operator", message="no", message_zh="无", hint="", hint_zh="")


class Receiver(ReceiverStandIn):
    """Answers each request with the status that `answer(number of the request)` gives."""

    def __init__(self) -> None:
        self.answer: Callable[[int], int] = lambda number: 204
        super().__init__(lambda talk: status(self.answer(len(self.received)))(talk))

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.received]

    def settings(self) -> dict[str, Any]:
        """Of a service that may announce here."""
        return {"callback_secret": SECRET, "callback_allow": (self.place,)}


def message_of(one: Received) -> dict[str, Any]:
    return json.loads(one.body)


def is_signed(one: Received) -> bool:
    """With the secret, as the specification has it."""
    signed = f"{one.id}.{one.headers['webhook-timestamp']}.".encode() + one.body
    signature = "v1," + base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    return signature in one.headers["webhook-signature"].split()


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.stop()


def insert(store: Store, url: str, **fields: Any) -> Task:
    task = make_task(callback_url=url, **fields)
    store.insert(task, [transitions.created(task)])
    return task


def insert_ended(store: Store, url: str) -> Task:
    """A task that a client has cancelled."""
    task = insert(store, url)
    assert store.update(task.id, transitions.cancel())
    return task


def fail(store: Store, task: Task) -> None:
    claimed = store.update(task.id, transitions.claim("w1"))
    assert claimed is not None and store.update(task.id, transitions.fail("w1", claimed.epoch, FAILURE))


def look_once(store: Store, settings: Settings) -> list[str]:
    """As a worker does each second; the ids of the tasks that were due."""
    found = store.calling(limit=100)
    for task in found:
        Calls(store, settings, threading.Event()).look(task)
    return [task.id for task in found]


def require(store: Store, task: Task) -> Task:
    found = store.get(task.id)
    assert found is not None
    return found


def is_at_rest(store: Store, task: Task) -> bool:
    now = require(store, task)
    return now.status in (Status.COMPLETED, Status.FAILED) and now.call_at == changes.NEVER
