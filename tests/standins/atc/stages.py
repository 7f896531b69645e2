"""Huawei's own stages in a real toolhost, with the stand-in's environment, without a worker."""
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import onnx

from tests.fixtures.stages import Conversion
from tests.integration.worker_kit import COVERAGE, make_task
from worker.control import TaskControl
from worker.plan import get_plans
from worker.platforms.huawei import toolkit as huawei_toolkit
from worker.process import ToolHost, clean_environment
from worker.watch import StageLimits

LIMITS = StageLimits(time_s=60.0, memory_bytes=4 << 30, disk_bytes=1 << 30)


def start_host() -> ToolHost:
    """A toolhost as a worker starts it, of the toolkit that is found."""
    located = huawei_toolkit.locate()
    assert located is not None
    return ToolHost("huawei", located.interpreter, get_plans()["huawei"].environment.preload,
                    clean_environment(COVERAGE) | located.variables)


class AtcStages:
    """One model on its way; `files` are what the options name: `{option: content}`."""

    def __init__(self, folder: Path, host: ToolHost, model: onnx.ModelProto | Path, *,
                 files: dict[str, bytes] | None = None, **parameters: Any) -> None:
        sent = parameters | {name: f"models/{name}.cfg" for name in files or {}}
        self.conversion = Conversion(folder, model, platform="huawei", **sent)
        self.host, self.control, self.progress = host, TaskControl(make_task()), [(0.0, "")]
        self.facts = self.conversion.facts
        self.facts["files"] = {name: [f"{name} 配置.cfg"] for name in files or {}}
        for name, content in (files or {}).items():
            path = self.dir("files") / name / f"{name} 配置.cfg"
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
        self.dir("files").mkdir(parents=True, exist_ok=True)

    def dir(self, stage: str) -> Path:
        return self.conversion.dir(stage)

    def work_dir(self, stage: str) -> Path:
        return self.conversion.folder / "work" / stage

    def run(self, stage: str, limits: StageLimits = LIMITS) -> dict[str, Any]:
        """The facts of one of the target's own stages.

        Raises:
            ConversionFailed: as the worker tells it.
            StageError: a shared stage before it failed.
        """
        (declared,) = (entry for entry in get_plans()["huawei"].stages if entry.name == stage)
        for name in declared.inputs:
            if name not in self.facts:
                self.run(name) if name in ("precheck", "compile") else self.conversion.run(name)
        shutil.rmtree(self.work_dir(stage), ignore_errors=True)
        self.work_dir(stage).mkdir(parents=True)
        out = self.work_dir(stage) / "out"
        out.mkdir()
        job = {"parameters": {name: self.conversion.parameters[name] for name in declared.parameters},
               "output_dir": str(out), "threads": 2,
               "inputs": {name: {"dir": str(self.dir(name)), "facts": self.facts[name]} for name in declared.inputs}}
        run = self.host.run(declared.entry, self.work_dir(stage), job, limits, self.control,
                            lambda percent, text: self.progress.append((percent, text)))
        shutil.rmtree(self.dir(stage), ignore_errors=True)
        out.rename(self.dir(stage))
        self.facts[stage] = json.loads(json.dumps(run.facts))
        return self.facts[stage]

    def log(self, stage: str) -> str:
        return (self.work_dir(stage) / "log.txt").read_text()
