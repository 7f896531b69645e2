"""POST /tasks/validate: all that can be told of a request before it is a task."""
from __future__ import annotations

import threading
import time

from shared.creation import build_tasks
from shared.deps import get_files
from shared.errors import Busy
from shared.models import CreateTask
from shared.preflight.checks import check_model, check_target
from shared.preflight.views import Validation
from shared.settings import Settings

MAX_S = 5.0
AT_ONCE = 2  # of a process; each is a process that parses
_RETRY_AFTER_S = 2

_places = threading.BoundedSemaphore(AT_ONCE)


def validate_request(request: CreateTask, settings: Settings) -> Validation:
    """Each of the request's targets, with the model looked at once.

    Raises:
        InvalidRequest: the request itself is not right, as when it would be created. Busy, Unavailable.
    """
    tasks = build_tasks(request, settings)
    deadline = time.monotonic() + MAX_S
    if not _places.acquire(timeout=MAX_S / 2):
        raise Busy("校验过多, 请稍后重试", "too many checks: try again later", _RETRY_AFTER_S)
    try:
        files = get_files()
        model = check_model(tasks[0].input_path, files, settings, deadline)
        verdicts = [check_target(model, task, files, deadline) for task in tasks]
    finally:
        _places.release()
    return Validation(valid=all(verdict.valid for verdict in verdicts), targets=verdicts, model=model.view())
