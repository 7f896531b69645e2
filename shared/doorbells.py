"""Telling workers that something happened to a task. Best effort: the store is the truth, and the sweeper rings for
whatever was not told here, so a queue that does not answer never fails a request."""
from __future__ import annotations

import logging

from shared.errors import Unavailable
from shared.messages import ControlTask, RunTask
from shared.models import Task
from shared.queue import Queue
from shared.store import Store
from shared.transitions import mark_announced

logger = logging.getLogger(__name__)


def ring(task: Task, store: Store, queue: Queue) -> bool:
    """Announce a task that waits for a worker; whether that was confirmed (or is not needed)."""
    if not queue.owes_doorbells:
        return True
    message = RunTask(task_id=task.id, epoch=task.epoch, platform=task.platform, priority=task.priority)
    try:
        queue.announce(message)
        store.update(task.id, mark_announced(task.epoch))
    except Unavailable as error:
        logger.warning("task %s is not announced: %s", task.id, error)
        return False
    return True


def nudge(task: Task, queue: Queue) -> bool:
    """Let the task's owner look at the document now instead of at its next beat; whether that was confirmed."""
    try:
        queue.control(ControlTask(task_id=task.id, epoch=task.epoch))
    except Unavailable as error:
        logger.warning("the owner of task %s is not told: %s", task.id, error)
        return False
    return True
