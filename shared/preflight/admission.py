"""Before tasks are created: what is certain to fail is refused. Nothing is refused because the check was slow, was
busy, or could not be made."""
from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from shared.deadlines import ending_at
from shared.deps import get_files, process_wide
from shared.digests import canonical_digest
from shared.documents import Task
from shared.errors import AppError, Conflict, InvalidRequest
from shared.outputs import own_folder
from shared.preflight import reasons
from shared.preflight.checks import MAY_COME_LATER, check_model, check_target
from shared.preflight.views import Finding
from shared.rules.bilingual import Bilingual
from shared.settings import Settings
from shared.validation_messages import printable

MAX_MODEL_BYTES = 64 << 20
_TRUST_S = 5.0  # a request that could be created is not checked again for so long
_THREADS = 2
_KEPT = 1024
_MAX_CHARS = 500

logger = logging.getLogger(__name__)


def refuse_hopeless(tasks: list[Task], settings: Settings, several: bool) -> None:
    """`tasks` are of one request; `several`: by its `targets`.

    Raises:
        InvalidRequest: one of them cannot become what it asks for.
        Conflict: a result would be written over an input.
    """
    found = get_admission().check(tasks, settings) if settings.preflight else None
    if found is None:
        return
    index, finding = found
    own = several and finding.field != "input_path"
    where = f"targets[{index}].{finding.field}" if own else finding.field
    message, hint = (Bilingual(printable(text.zh, _MAX_CHARS), printable(text.en, _MAX_CHARS))
                     for text in (finding.message, finding.hint))
    of_target = f"targets[{index}]: " if several and not own else ""
    said = reasons.HOPELESS(where=where, code=finding.code, target=of_target, message=message, hint=hint)
    raise (Conflict if finding.code == "output_conflict" else InvalidRequest)(said.zh, said.en)


class Admission:
    """The checks that run in this process. Equal requests at once are one check."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, "preflight")
        self._running: dict[str, Future[tuple[int, Finding] | None]] = {}
        self._passed: dict[str, float] = {}

    def check(self, tasks: list[Task], settings: Settings) -> tuple[int, Finding] | None:
        """Which of them cannot be converted, and why; None where nothing is known against them in time."""
        wanted = [[task.platform, task.parameters, None if own_folder(task) else task.output_path] for task in tasks]
        key = canonical_digest([tasks[0].input_path, *wanted])
        with self._lock:
            if self._passed.get(key, 0.0) > time.monotonic():
                return None
            running = self._running.get(key)
            if running is None:
                if len(self._running) >= _THREADS:
                    return None
                running = self._running[key] = self._pool.submit(self._run, key, tasks, settings)
        try:
            return running.result(settings.preflight_s)
        except TimeoutError:
            return None

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, key: str, tasks: list[Task], settings: Settings) -> tuple[int, Finding] | None:
        found = None
        try:
            found = _find_hopeless(tasks, settings)
        except AppError as error:
            logger.warning("%s was not checked: %s", tasks[0].input_path, error)
        finally:
            with self._lock:
                del self._running[key]
                if found is None:
                    if len(self._passed) >= _KEPT:
                        self._passed.clear()
                    self._passed[key] = time.monotonic() + _TRUST_S
        return found


get_admission = process_wide(Admission)


def _find_hopeless(tasks: list[Task], settings: Settings) -> tuple[int, Finding] | None:
    files, deadline = get_files(), time.monotonic() + settings.preflight_s
    info = files.stat(tasks[0].input_path)
    if info is None or info.size_bytes > MAX_MODEL_BYTES:
        return None
    with ending_at(deadline):
        model = check_model(tasks[0].input_path, files, settings, deadline)
        for index, task in enumerate(tasks):
            for finding in check_target(model, task, files, deadline).problems:
                if finding.code not in MAY_COME_LATER:
                    return index, finding
    return None
