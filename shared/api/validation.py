"""POST /tasks/validate: everything that can be checked before a request becomes a task."""
from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.deadlines import ending_at
from shared.deps import get_files, process_wide
from shared.errors import Busy
from shared.preflight.checks import check_model, check_target
from shared.preflight.conflicts import find_conflicts
from shared.preflight.views import Validation
from shared.settings import Settings

MAX_S = 5.0
AT_ONCE = 2  # checks of one process; each starts a child that parses
_RETRY_AFTER_S = 2


class CheckPlaces:
    """How many checks this process makes at once."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(AT_ONCE)

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold one place inside.

        Raises:
            Busy: none became free for half of a check's time.
        """
        if not self._places.acquire(timeout=MAX_S / 2):
            raise Busy("校验过多, 请稍后重试", "too many checks: try again later", _RETRY_AFTER_S)
        try:
            yield
        finally:
            self._places.release()

    def close(self) -> None:
        """Nothing is open: a check ends by its own deadline."""


get_check_places = process_wide(CheckPlaces)


def validate_request(request: CreateTask, settings: Settings) -> Validation:
    """The verdict on each of the request's targets. The model is read once.

    Raises:
        InvalidRequest: create would refuse the request itself. Busy, Unavailable.
    """
    tasks = build_tasks(request, settings)
    deadline = time.monotonic() + MAX_S
    with get_check_places().take(), ending_at(deadline):
        files = get_files()
        model = check_model(tasks[0].input_path, files, settings, deadline)
        conflicts = find_conflicts(tasks)
        verdicts = [check_target(model, task, files, deadline, conflicts.get(task.id)) for task in tasks]
    return Validation(valid=all(verdict.valid for verdict in verdicts), targets=verdicts, model=model.view())
