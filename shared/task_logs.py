"""Where the logs of a task's stages lie in the object store.

The worker stores the log of a running stage anew every second or two while it grows, and at the stage's end. One that
becomes longer than `MAX_LOG_BYTES` loses its older half, and begins with a line `…` then.
"""
from __future__ import annotations

from shared.files import FileInfo, Files
from shared.settings import Settings

MAX_LOG_BYTES = 1 << 20


def log_path(settings: Settings, task_id: str, stage: str) -> str:
    return f"{_folder(settings, task_id)}{stage}.log"


def find_logs(files: Files, settings: Settings, task_id: str) -> list[FileInfo]:
    """The logs of a task's stages that are there, by name. Raises Unavailable."""
    return list(files.find(_folder(settings, task_id)))


def delete_logs(files: Files, settings: Settings, task_id: str) -> None:
    """Remove the logs of all of a task's stages.

    Raises:
        Unavailable: the object store does not answer.
    """
    for info in find_logs(files, settings, task_id):
        files.delete(info.path)


def logs(settings: Settings) -> str:
    """What all logs' paths start with."""
    return f"{settings.cache_bucket}/logs/"


def task_of(path: str) -> str:
    """The id of the task that a log belongs to."""
    return path.split("/")[2]


def _folder(settings: Settings, task_id: str) -> str:
    return f"{logs(settings)}{task_id}/"
