"""Messages that tell workers to look at a task. They are best effort: the store is the truth, and the sweeper rings
again for every task that still owes a doorbell. So a queue that does not answer never fails a request."""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence

from shared.deps import process_wide
from shared.documents import Task
from shared.errors import Unavailable, UnreadableDocument
from shared.messages import ControlTask, RunTask
from shared.queue import Queue
from shared.store import Store
from shared.transitions import mark_announced

logger = logging.getLogger(__name__)

GATHER_S = 0.5  # one write for many marks; a sweep looks twice before it rings again


def ring(task: Task, store: Store, queue: Queue) -> bool:
    """Announce a task that waits for a worker; True if the queue confirmed it, or needs no doorbells."""
    if not queue.owes_doorbells:
        return True
    try:
        queue.announce(_doorbell(task))
        get_doorbell_marker().add([task], store)
    except Unavailable as error:
        logger.warning("task %s is not announced: %s", task.id, error)
        return False
    return True


def ring_all(tasks: Sequence[Task], store: Store, queue: Queue) -> None:
    """Announce tasks that wait for a worker, with one wait for all."""
    if not tasks or not queue.owes_doorbells:
        return
    answers = list(zip(tasks, queue.announce_many(list(map(_doorbell, tasks))), strict=True))
    get_doorbell_marker().add([task for task, failure in answers if failure is None], store)
    for task, failure in answers:
        if failure is not None:
            logger.warning("task %s is not announced: %s", task.id, failure)


def _doorbell(task: Task) -> RunTask:
    return RunTask(task_id=task.id, epoch=task.epoch, platform=task.platform, priority=task.priority)


class DoorbellMarker:
    """Marks in the documents which doorbells the broker has confirmed. It gathers the marks of a moment and writes them
    from a thread of its own, so that no request waits for it.

    A mark that is late or lost costs a doubled doorbell. The claim makes that harmless.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._pending: list[tuple[Task, Store]] = []
        self._thread: threading.Thread | None = None

    def add(self, tasks: Iterable[Task], store: Store) -> None:
        with self._lock:
            self._pending += [(task, store) for task in tasks]
            if self._thread is None or not self._thread.is_alive():  # the first in this process
                self._thread = threading.Thread(target=self._run, name="doorbell-marker", daemon=True)
                self._thread.start()
            self._lock.notify()

    def close(self) -> None:
        """Nothing to end: the thread is a daemon, and a mark that is lost costs a doubled doorbell."""

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._pending)
            time.sleep(GATHER_S)
            with self._lock:
                pending, self._pending = self._pending, []
            for store in {id(store): store for _, store in pending}.values():
                try:
                    store.update_many([(task.id, mark_announced(task.epoch)) for task, of in pending if of is store])
                except Unavailable as error:
                    logger.warning("confirmed doorbells are not noted: %s", error)
                except Exception:
                    logger.exception("confirmed doorbells are not noted")


get_doorbell_marker = process_wide(DoorbellMarker)


def nudge(task: Task | UnreadableDocument, queue: Queue) -> bool:
    """Make the task's owner look at the document now instead of at its next beat; True if the queue confirmed it. The
    task's id alone leads to the owner."""
    try:
        queue.control(ControlTask(task_id=task.id, epoch=task.epoch if isinstance(task, Task) else 0))
    except Unavailable as error:
        logger.warning("the owner of task %s is not told: %s", task.id, error)
        return False
    return True
