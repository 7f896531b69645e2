"""How one claim lets go of its task: failed, parked, given back or dropped. What it has published goes first."""
from __future__ import annotations

import errno
import logging

from shared.documents import OwnersWait, StoredFailure
from shared.errors import AppError, ConversionFailed, InvalidRequest, StorageRefused, Unavailable
from shared.rules.bilingual import Bilingual
from shared.settings import Settings
from worker import reasons
from worker.control import TaskControl, Wanted
from worker.lease import Lease
from worker.publication import Publication
from worker.recorder import Recorder
from worker.results import StageResult

logger = logging.getLogger(__name__)

LONGEST_DELAY_S = 300.0  # between two tries of a task whose object store is away


class Ending:
    """Of one claim. `results` are the runner's: a published result that is taken back leaves them too."""

    def __init__(self, settings: Settings, lease: Lease, recorder: Recorder, publication: Publication,
                 results: dict[str, StageResult]) -> None:
        self._settings, self._lease, self._recorder = settings, lease, recorder
        self._publication, self._results = publication, results
        self._control: TaskControl = lease.control

    def because_of(self, error: Exception, stage: str | None, labels: dict[str, str | None]) -> None:
        """Fail the task, or give it back where what it needs may come again."""
        if isinstance(error, Unavailable) and not isinstance(error, StorageRefused):
            logger.warning("a dependency is away, the task is given back: %s", error, extra=labels)
            if error.dependency != "files":
                return self._give_back(self._settings.retry_delay_s, None)
            times = self._lease.count_returns()
            if times < self._settings.max_returns:
                return self._give_back(min(self._settings.retry_delay_s * 2**times, LONGEST_DELAY_S), "files")
            error = ConversionFailed(reasons.STORAGE_UNAVAILABLE(count=times + 1))
        failed = _failure(error)
        if failed.code == "internal_error":
            logger.error("the stage failed inside the worker", exc_info=error, extra=labels)
        logger.info("the task failed: %s", failed, extra=labels | {"code": failed.code})
        self._recorder.settle()
        self._withdraw_while_ours()
        failure = StoredFailure.of(failed.refusal, failed.stage or stage, failed.log_tail, failed.attempts)
        while not self._lease.fail(failure):
            if self.leave():
                return None
        return None

    def leave(self, delay_s: float = 0.0, waits_for: OwnersWait | None = None) -> bool:
        """Park, release or just go, as is wanted; False where the task is to go on here (a resume came first)."""
        while True:
            wanted = self._control.wanted
            if wanted in (Wanted.STOP, Wanted.RUN):
                return wanted is Wanted.STOP
            self._withdraw_while_ours()
            if self._lease.park() if wanted is Wanted.PAUSE else self._lease.release(delay_s, waits_for):
                return True

    def withdraw(self) -> None:
        """Remove what this claim has published: without the task's completion nobody would know of it."""
        self._results.pop("publish", None)
        self._recorder.forget("publish")
        try:
            self._publication.withdraw()
        except Unavailable as error:
            logger.warning("published files cannot be removed: %s", error, extra={
                "task_id": self._lease.task.id, "worker": self._lease.owner, "files": self._publication.paths})

    def _give_back(self, delay_s: float, waits_for: OwnersWait | None) -> None:
        self._recorder.settle()
        self._control.release()
        while not self.leave(delay_s, waits_for):
            self._control.release()

    def _withdraw_while_ours(self) -> None:
        """Before the task is given up: no later claim has seen what is removed."""
        if self._publication.paths and self._lease.confirm():
            self.withdraw()


def _failure(error: Exception) -> ConversionFailed:
    """The reason for the client."""
    match error:
        case ConversionFailed():
            return error
        case StorageRefused():
            return ConversionFailed(reasons.STORAGE_REFUSED(path=error.path, why=error.why))
        case InvalidRequest():  # a path of the task's leads through an object
            return ConversionFailed(reasons.PATH_TAKEN(said=Bilingual(error.zh, error.en)))
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return ConversionFailed(reasons.DISK_FULL())
    what = error.text if isinstance(error, AppError) else type(error).__name__
    return ConversionFailed(reasons.INTERNAL_ERROR(what=what))
