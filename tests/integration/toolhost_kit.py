"""Stages of the toys in a host, for the suites of the toolhost."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared import transitions
from shared.errors import ConversionFailed
from tests.integration.worker_kit import LIMITS, WAIT_S, make_task, wait_until
from worker.control import TaskControl
from worker.process import ToolHost
from worker.watch import StageLimits, StageRun


def job_in(folder: Path) -> dict[str, Any]:
    (folder / "out").mkdir(parents=True, exist_ok=True)
    return {"parameters": {}, "inputs": {}, "output_dir": str(folder / "out"), "threads": 1}


def run(host: ToolHost, entry: str, folder: Path, limits: StageLimits = LIMITS, control: TaskControl | None = None,
        on_progress: Any = lambda percent, text: None) -> StageRun:
    return host.run(f"tests.integration.toy_stages:{entry}", folder, job_in(folder), limits,
                    control or TaskControl(make_task()), on_progress)


def fail(host: ToolHost, entry: str, folder: Path, limits: StageLimits = LIMITS) -> ConversionFailed:
    with pytest.raises(ConversionFailed) as caught:
        run(host, entry, folder, limits)
    return caught.value


def wait_until_all_stand_still(host: ToolHost) -> None:
    """All processes of the host's stages."""
    wait_until(lambda: {process.status() for process in psutil.Process(host.pid).children(recursive=True)} == {
        psutil.STATUS_STOPPED})


def family(folder: Path) -> list[int]:
    return [int(pid) for pid in wait_until(lambda: (folder / "out/family").exists()
                                           and (folder / "out/family").read_text().split())]


class Background:
    """A stage that runs in a thread, with the control that the test pulls."""

    def __init__(self, host: ToolHost, entry: str, folder: Path, limits: StageLimits = LIMITS) -> None:
        self.task = make_task(owner="w", epoch=1, status="running")
        self.control = TaskControl(self.task)
        self._pool = ThreadPoolExecutor(1)
        self.future = self._pool.submit(run, host, entry, folder, limits, self.control)

    def observe(self, status: str) -> None:
        self.control.observe(self.task.model_copy(update={"status": transitions.Status(status)}))

    def error(self) -> BaseException | None:
        return self.future.exception(WAIT_S)
