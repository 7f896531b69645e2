"""What a core stage (fetch, publish) may use: it runs inside the worker, with the worker's clients."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.documents import StageRecord, Task
from shared.files import Files
from shared.rules.bilingual import Bilingual
from shared.settings import Settings
from worker.cache import StageResult
from worker.plan import Stage
from worker.toolchains import Toolchain


class InputChanged(Exception):
    """The model or a file beside it is not the one any more that the stage's key speaks of."""

    def __init__(self, text: Bilingual) -> None:
        super().__init__(text.en)
        self.text = text


@dataclass(frozen=True)
class CoreContext:
    """`inputs` are the results of the stages it declares, `input_dirs` their files. `stages` are the task's, `records`
    and `results` those of the finished ones, `toolchains` this machine's by environment. `call(entry, folders)` runs a
    function in the shared stages' environment, in a limited child, and answers its facts. `report` raises `Interrupted`
    where the task is not to go on. `parameters` are those that the stage declares, `origin` what it told of its objects
    for its key. `claimed_etags` are the output's objects as this claim saw them ({path: etag or None}), `published`
    those that it wrote ({path: etag}); `is_ours` asks the store whether the claim still holds."""

    task: Task
    settings: Settings
    files: Files
    output_dir: Path
    inputs: dict[str, StageResult]
    input_dirs: dict[str, Path]
    stages: tuple[Stage, ...]
    records: list[StageRecord]
    results: dict[str, StageResult]
    toolchains: dict[str, Toolchain]
    parameters: dict[str, Any]
    origin: dict[str, Any]
    claimed_etags: dict[str, str | None]
    published: dict[str, str]
    is_ours: Callable[[], bool]
    report: Callable[[float, str], None]
    call: Callable[[str, dict[str, Path]], dict[str, Any]]
