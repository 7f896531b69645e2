"""Announces the ends of tasks at their `callback_url`, whichever worker or client has ended them.

One thread looks for what is due, others send: no claim and no beat waits for a receiver. Of these a receiver takes some
at most, and if a look is full of tasks whose receiver answers nothing, they are postponed. So one that does not answer
holds up no other.
"""
from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from shared.announcements.changes import postpone
from shared.documents import Task
from shared.errors import Unavailable, UnreadableDocument
from shared.settings import Settings
from shared.store import Store
from worker.calls import Calls, receiver_of

logger = logging.getLogger(__name__)

LOOK_S = 1.0
LIMIT = 200  # tasks a look; the rest is the next one's
SILENT_S, POSTPONE_S = 3.0, 60.0  # for how long a receiver has answered nothing; and for how long others come first
SENDERS, OF_ONE_RECEIVER = 8, 3
CLOSE_S = 12.0  # an attempt that is under way takes 10 s at most


class Busy(NamedTuple):
    """A task under way: where it is announced, and when that began on the monotonic clock."""

    receiver: str
    since: float


class Caller:
    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._closed = threading.Event()
        self._calls = Calls(store, settings, self._closed)
        self._lock = threading.Lock()
        self._waiting: list[Task] = []
        self._busy: dict[str, Busy] = {}  # by the ids of the tasks under way
        self._pool = ThreadPoolExecutor(SENDERS, "caller")
        self._thread = threading.Thread(target=self._run, name="caller", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Attempts under way come to their ends. One that does not costs its minute: any worker then goes on."""
        self._closed.set()
        self._thread.join(CLOSE_S)
        with self._lock:
            self._waiting.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while not self._closed.wait(LOOK_S):
            try:
                found = self._store.calling(limit=LIMIT)
                with self._lock:
                    self._waiting = [task for task in found if task.id not in self._busy]
                self._begin()
                if len(found) == LIMIT:
                    self._make_room()
            except Unavailable as error:
                logger.warning("announcements wait: %s", error)
            except Exception:
                logger.exception("a look for announcements failed")

    def _begin(self) -> None:
        """Let free threads take what waits, and leave those tasks whose receiver has its share of them."""
        with self._lock:
            shares, left = Counter(busy.receiver for busy in self._busy.values()), []
            for task in self._waiting:
                receiver = receiver_of(task)
                if self._closed.is_set() or len(self._busy) >= SENDERS or shares[receiver] >= OF_ONE_RECEIVER:
                    left.append(task)
                    continue
                shares[receiver] += 1
                self._busy[task.id] = Busy(receiver, time.monotonic())
                self._pool.submit(self._look, task)
            self._waiting = left

    def _make_room(self) -> None:
        """Postpone what a full look has found in vain, so that the next one finds others.

        Raises:
            Unavailable.
        """
        with self._lock:
            long = time.monotonic() - SILENT_S
            shares = Counter(busy.receiver for busy in self._busy.values() if busy.since < long)
            silent = {receiver for receiver, share in shares.items() if share >= OF_ONE_RECEIVER}
            waiting = [task for task in self._waiting if receiver_of(task) in silent]
        for task in waiting:
            if self._closed.is_set():
                return
            with suppress(UnreadableDocument):
                self._store.update(task.id, postpone(task, time.time() + POSTPONE_S * random.uniform(1.0, 2.0)))

    def _look(self, task: Task) -> None:
        try:
            self._calls.look(task)
        except Unavailable as error:
            logger.warning("an announcement waits: %s", error, extra={"task_id": task.id})
        except UnreadableDocument:
            pass  # the reader has told the log; it is left to those who can read it
        except Exception:
            logger.exception("an announcement failed", extra={"task_id": task.id})
        finally:
            with self._lock:
                del self._busy[task.id]
            self._begin()
