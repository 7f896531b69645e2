"""Looks for uploads that no event told of, in a thread of its own: in an object store one worker at a time, in local
folders each worker every second, where there are no events."""
from __future__ import annotations

import logging
import threading

from shared.cached.turns import Turns
from shared.errors import Unavailable
from shared.files import Files
from shared.settings import Settings
from shared.triggers.rule_file import get_rules
from shared.triggers.sweep import Sweep

logger = logging.getLogger(__name__)

LOCAL_S = 1.0
LOOK_S = 1.0  # how often it is asked whose turn it is, at least
TIDY_S = 3600.0


class Closed(Exception):
    """The worker ends; the pass ends where it is."""


class UploadSweeper:
    def __init__(self, files: Files, settings: Settings) -> None:
        self._closed = threading.Event()
        self._sweep = Sweep(files, settings, get_rules(), pause=self._check_open)
        self._local = settings.files_url.get_secret_value().startswith("file:")
        self._look_s = LOCAL_S if self._local else max(LOOK_S, settings.triggers_every_s / 20)
        self._turns = Turns(files, settings.cache_bucket, settings.triggers_every_s, name="uploads")
        self._tidies = Turns(files, settings.cache_bucket, TIDY_S, name="uploads-tidy")
        self._thread = threading.Thread(target=self._run, name="uploads", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(5.0)  # what it has not kept is looked at again

    def _run(self) -> None:
        while not self._closed.wait(self._look_s):
            try:
                if self._local or self._turns.take():
                    self._sweep.run()
                    if self._tidies.take():
                        self._sweep.tidy()
            except Closed:
                return
            except Unavailable as error:
                logger.warning("the look for uploads waits: %s", error)
            except Exception:
                logger.exception("a look for uploads failed")

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise Closed
