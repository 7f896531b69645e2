"""The worker's main loop: hears doorbells, claims tasks, gives each a slot, passes on control messages."""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from shared import transitions
from shared.documents import Task
from shared.errors import Unavailable, UnreadableDocument
from shared.messages import ControlTask
from shared.queue import Delivery, Queue
from shared.store import Store
from worker.control import TaskControl, Wanted
from worker.lease import Beater, Lease
from worker.plan import Plan
from worker.runner import TaskRunner
from worker.slots import Slots
from worker.tools import Tools

logger = logging.getLogger(__name__)

TICK_S = 1.0
LAST_WORD_S = 10.0  # after the grace time: what has not ended by then is left to the reaper


class Consumer:
    """`run` is the main loop; `drain` may be called from a signal handler or another thread."""

    def __init__(self, worker_id: str, store: Store, queue: Queue, tools: Tools, plans: dict[str, Plan],
                 folder: Path) -> None:
        self._id, self._store, self._tools, self._plans, self._folder = worker_id, store, tools, plans, folder
        self._settings = tools.settings
        self._slots = Slots(self._settings.slots, self._settings.platform_slots, tuple(plans))
        self._subscription = queue.subscribe(worker_id, list(plans))
        self._beater = Beater(self._settings.beat_s)
        self._active: set[Lease] = set()  # a task may for a moment have two: an old claim that ends, and the next
        self._unanswered: set[str] = set()  # tasks whose claim may have taken place
        self._lock = threading.Lock()
        self._draining_since: float | None = None
        self._next_look = 0.0
        self._next_yield = 0.0

    def drain(self) -> None:
        """Take nothing new; running stages may end within the grace time, then their tasks are given back.

        Takes no lock, since a signal may interrupt the main loop while it holds one: seen at the next tick.
        """
        if self._draining_since is None:
            self._draining_since = time.monotonic()

    def run(self, on_tick: Callable[[], None]) -> None:
        """Until drained. `on_tick` is called about once a second."""
        try:
            while self._goes_on():
                try:
                    self._turn(on_tick)
                except Exception:  # the tasks that run here go on
                    logger.exception("a turn of the main loop failed")
                    time.sleep(TICK_S)
        finally:
            self._beater.close()
            self._subscription.close()

    def _turn(self, on_tick: Callable[[], None]) -> None:
        on_tick()
        self._press_on()
        if self._unanswered and self._free_slots() > 0:
            self._settle_claims()
        self._make_room()
        delivery = self._subscription.receive(platforms=self._room(), timeout_s=TICK_S)
        if delivery is not None:
            self._take(delivery)
        if self._room() and time.monotonic() >= self._next_look:
            self._look()

    def _goes_on(self) -> bool:
        if self._draining_since is None:
            return True
        overdue = time.monotonic() - self._draining_since > self._settings.grace_s + LAST_WORD_S
        with self._lock:
            left = [lease.task.id for lease in self._active]
        if left and overdue:
            logger.warning("tasks are left to the reaper: %s", left)
        return bool(left) and not overdue

    def _free_slots(self) -> int:
        return 0 if self._draining_since is not None else self._settings.slots - len(self._active)

    def _room(self) -> frozenset[str]:
        """The targets of which this worker may take one more task now."""
        if self._draining_since is not None:
            return frozenset()
        with self._lock:
            return self._slots.room([lease.task.platform for lease in self._active])

    def _press_on(self) -> None:
        """While draining: give tasks back at their next boundary, frozen ones now, all after the grace time."""
        if self._draining_since is None:
            return
        late = time.monotonic() - self._draining_since > self._settings.grace_s
        with self._lock:
            for lease in self._active:
                lease.control.release()
                lease.control.give_up = late or lease.control.wanted is Wanted.PAUSE

    def _make_room(self) -> None:
        """Give up the stage that is frozen for longest of those whose place another waiting task could take: it parks,
        and runs again from its last finished stage once it is resumed."""
        now = time.monotonic()
        if self._draining_since is not None or now < self._next_yield:
            return
        self._next_yield = now + self._settings.beat_s
        with self._lock:
            running = [lease.task.platform for lease in self._active]
            frozen = [lease for lease in self._active if lease.control.paused_since is not None]
        if any(lease.control.give_up for lease in frozen):
            return
        first: dict[str, Lease] = {}
        for lease in sorted(frozen, key=lambda lease: lease.control.paused_since or now):
            first.setdefault(lease.task.platform, lease)
        try:
            for platform, lease in first.items():
                opened = self._slots.opened(running, platform)
                if opened and self._store.waiting(sorted(opened), limit=1):
                    lease.control.give_up = True
                    return
        except Unavailable as error:
            logger.warning("the store is away: %s", error)

    def _take(self, delivery: Delivery) -> None:
        message = delivery.message
        if isinstance(message, ControlTask):
            self._beater.poke(message.task_id)
            delivery.ack()
            return
        if message.platform not in self._room():
            delivery.requeue()
            return
        self._subscription.watch_soon(message.task_id)  # its round trip runs beside the claim's
        try:
            task = self._claim(message.task_id)
        except Unavailable as error:
            logger.warning("the claim waits: %s", error, extra={"task_id": message.task_id})
            self._unwatch(message.task_id)
            delivery.requeue()
            time.sleep(min(1.0, self._settings.poll_s * 5))
            return
        delivery.ack()  # journaled or lost: either way this doorbell is of no more use
        if task is not None:
            self._start(task)
        else:
            self._unwatch(message.task_id)

    def _unwatch(self, task_id: str) -> None:
        """Unless a claim of the task is under way here."""
        with self._lock:
            if not any(lease.task.id == task_id for lease in self._active):
                self._subscription.unwatch(task_id)

    def _look(self) -> None:
        """Find what waits without a doorbell: it was lost, or its message is on another broker's disk."""
        self._next_look = time.monotonic() + self._settings.sweep_s
        room = self._room()
        try:
            while room:
                limit = max(1, self._free_slots())  # a drain may begin in between, and 0 is no limit to some stores
                for task in self._store.waiting(sorted(room), limit=limit):
                    if task.platform in self._room() and (claimed := self._claim(task.id)):
                        self._start(claimed)
                # Where that filled a target, others' tasks may have stood behind those of it that must wait.
                left = self._room()
                room = left if left < room else frozenset()
        except Unavailable as error:
            logger.warning("the store is away: %s", error)

    def _claim(self, task_id: str) -> Task | None:
        try:
            return self._store.update(task_id, transitions.claim(self._id))
        except Unavailable:
            self._unanswered.add(task_id)
            raise
        except UnreadableDocument:
            return None  # the reader has told the log; the task is left to those who can read it
        except Exception:  # the tasks that run here go on
            logger.exception("the task cannot be claimed", extra={"task_id": task_id})
            return None

    def _settle_claims(self) -> None:
        """Take up the tasks whose claim took place although its answer was lost."""
        try:
            for task_id, task in self._store.get_many(list(self._unanswered)).items():
                if isinstance(task, UnreadableDocument):
                    continue
                with self._lock:
                    held = any((lease.task.id, lease.epoch) == (task_id, task.epoch) for lease in self._active)
                if task.owner == self._id and not held:
                    self._start(task)
            self._unanswered.clear()
        except Unavailable:
            return

    def _start(self, task: Task) -> None:
        lease = Lease(self._store, task, TaskControl(task))
        with self._lock:
            self._active.add(lease)
        self._beater.add(lease)
        threading.Thread(target=self._run_task, args=(lease,), name=task.id, daemon=True).start()
        logger.info("claimed", extra={"task_id": task.id, "platform": task.platform, "epoch": task.epoch})
        if not self._subscription.watch(task.id):
            self._beater.poke(task.id)  # what was sent before is seen in the document
        self._unwatch(task.id)  # it may have ended by now

    def _run_task(self, lease: Lease) -> None:
        task = lease.task
        try:
            plan = self._plans.get(task.platform)
            if plan is None:
                logger.warning("the doorbell named another target than the task, it is given back",
                               extra={"task_id": task.id, "platform": task.platform})
                lease.release()
                return
            TaskRunner(self._tools, plan, lease, self._folder / f"{task.id}-{task.epoch}").run()
        except Exception:
            logger.exception("the task's thread failed; the reaper will free it", extra={"task_id": task.id})
        finally:
            self._beater.remove(lease)
            with self._lock:
                self._active.discard(lease)
            self._unwatch(task.id)
            self._subscription.wake()
