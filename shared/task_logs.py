"""Where the logs of a task's stages lie in the object store, and reading them.

The worker stores the log of a running stage anew every second or two, and at the stage's end; of a long one only the
last `MAX_LOG_BYTES`.
"""
from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.errors import NotFound
from shared.files import Files
from shared.models import StrictModel, Task, TaskIdText
from shared.settings import Settings

MAX_LOG_BYTES = 1 << 20

StageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class LogQuery(StrictModel):
    task_id: TaskIdText
    stage: StageName | None = Field(None, description="by default the running stage, or the last that ran",
                                    examples=["compile"])


def log_path(settings: Settings, task_id: str, stage: str) -> str:
    return f"{_folder(settings, task_id)}{stage}.log"


def delete_logs(files: Files, settings: Settings, task_id: str) -> None:
    """Remove the logs of all of a task's stages.

    Raises:
        Unavailable: the object store does not answer.
    """
    for info in list(files.list(_folder(settings, task_id))):
        files.delete(info.path)


def choose_stage(task: Task, wanted: str | None) -> str:
    """The stage whose log is meant.

    Raises:
        NotFound: none is named, and the task has not begun one.
    """
    stage = wanted or task.stage
    if stage is None:
        raise NotFound(f"暂无日志: 任务尚未开始任何阶段 (状态: {task.status.value})",
                       f"no log yet: the task has begun no stage (it is {task.status.value})")
    return stage


def no_log(stage: str) -> NotFound:
    return NotFound(f"暂无日志: 阶段 {stage} 尚未运行, 或其结果来自缓存",
                    f"no log: stage {stage} has not run, or its result came from the cache")


def _folder(settings: Settings, task_id: str) -> str:
    return f"{settings.cache_bucket}/logs/{task_id}/"
