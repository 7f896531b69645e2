"""ONNX to `.om` with CANN's ATC. Nothing here can run an `.om`: there is no simulator, so there is no verify."""
from __future__ import annotations

from shared.platforms.huawei import FILES
from worker.plan import CORE, Environment, Plan, Stage
from worker.stages import common

CANN = Environment("huawei", locate="worker.platforms.huawei.toolkit:locate",
                   preload=("worker.platforms.huawei.compile", "worker.platforms.huawei.describe"))

_MODEL = ("fetch", "inspect", "optimize", "files")
_OPTIONS = ("soc_version", "log", "extra_params")

PLAN = Plan("huawei", CANN, (
    *common.BEGIN,
    Stage("files", "worker.stages.side_files:run", CORE, origin="worker.stages.side_files:versions", parameters=FILES),
    Stage("precheck", "worker.platforms.huawei.precheck:run", CANN.name, inputs=_MODEL, parameters=_OPTIONS),
    Stage("compile", "worker.platforms.huawei.compile:run", CANN.name, inputs=(*_MODEL, "precheck"),
          parameters=(*_OPTIONS, "precision_mode"), weight=8),
    Stage("describe", "worker.platforms.huawei.describe:run", CANN.name, inputs=("compile",),
          parameters=("soc_version",)),
    common.PUBLISH,
))
