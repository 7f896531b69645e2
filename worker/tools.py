"""What all of a worker's tasks share."""
from __future__ import annotations

from dataclasses import dataclass

from shared.files import Files
from shared.settings import Settings
from worker.cache import StageCache
from worker.log_sharer import LogSharer
from worker.process import ToolHost
from worker.single_flight import SingleFlight
from worker.toolchains import Toolchain


@dataclass(frozen=True)
class Tools:
    """Made once by `worker.main`. `hosts` and `toolchains` are by environment; `threads` is for one stage."""

    settings: Settings
    files: Files
    cache: StageCache
    hosts: dict[str, ToolHost]
    toolchains: dict[str, Toolchain]
    threads: int
    logs: LogSharer
    flights: SingleFlight
