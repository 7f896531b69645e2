"""Announces the ends of tasks at their `callback_url`, whichever worker or client has ended them.

One thread looks for what is due, others send: no claim and no beat waits for a receiver. Of these a receiver takes some
at most, so that one that does not answer holds up no other.
"""
from __future__ import annotations

import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from shared.documents import Task
from shared.errors import Unavailable, UnreadableDocument
from shared.settings import Settings
from shared.store import Store
from worker.calls import Calls, receiver_of

logger = logging.getLogger(__name__)

LOOK_S = 1.0
LIMIT = 200  # tasks a look; the rest is the next one's
SENDERS, OF_ONE_RECEIVER = 8, 3
CLOSE_S = 12.0  # an attempt that is under way takes 10 s at most


class Caller:
    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._closed = threading.Event()
        self._calls = Calls(store, settings, self._closed)
        self._lock = threading.Lock()
        self._waiting: list[Task] = []
        self._busy: dict[str, str] = {}  # the receivers of the tasks under way, by the tasks' ids
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
            except Unavailable as error:
                logger.warning("announcements wait: %s", error)
            except Exception:
                logger.exception("a look for announcements failed")

    def _begin(self) -> None:
        """Let free threads take what waits, and leave those tasks whose receiver has its share of them."""
        with self._lock:
            shares, left = Counter(self._busy.values()), []
            for task in self._waiting:
                receiver = receiver_of(task)
                if self._closed.is_set() or len(self._busy) >= SENDERS or shares[receiver] >= OF_ONE_RECEIVER:
                    left.append(task)
                    continue
                shares[receiver] += 1
                self._busy[task.id] = receiver
                self._pool.submit(self._look, task)
            self._waiting = left

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
