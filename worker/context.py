"""What a core stage (fetch, publish) may use: it runs inside the worker, with the worker's clients."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.documents import Attempted, StageRecord, Task
from shared.files import Files
from shared.rules.bilingual import Bilingual
from shared.settings import Settings
from worker.plan import Stage
from worker.publication import Publication
from worker.results import StageResult
from worker.toolchains import Toolchain


class InputChanged(Exception):
    """The model or a file beside it is not the one any more that the stage's key speaks of."""

    def __init__(self, text: Bilingual) -> None:
        super().__init__(text.en)
        self.text = text


@dataclass(frozen=True)
class CoreContext:
    """`inputs` are the results of the stages that the stage declares, `input_dirs` their files, `parameters` those that
    it declares. `stages` are the task's, `records` and `results` those of the finished ones, `toolchains` this
    machine's, by environment. `origin` are the versions of the objects that the stage's key names. `publication` is
    where the claim writes its output. `report` raises `Interrupted` if the task is not to go on. In `digests` the stage
    leaves the SHA-256 of those of its files that it has digested already, by their names below `output_dir`.

    With `precision: "auto"`, and in a second try, `task`, `stages`, `records` and `results` are those of one
    attempt, as a task that asks for it alone would have them. `requested` are the parameters that were sent,
    `attempts` tells what was tried."""

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
    publication: Publication
    report: Callable[[float, str], None]
    requested: dict[str, Any]
    attempts: list[Attempted] | None = None
    digests: dict[str, str] = field(default_factory=dict)
