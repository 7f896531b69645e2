"""Who wrote a published object: the mark that it carries, and what a task may do to the object by it.

The rules are those of docs/protocol.md, "Publishing". tests/protocol explores them exhaustively.
"""
from __future__ import annotations

import hashlib
from dataclasses import dataclass

from shared.documents import Task
from shared.files import FileInfo

_VERSION = "1"


@dataclass(frozen=True)
class Mark:
    """The claim that wrote an object, and its target."""

    task_id: str
    epoch: int
    target: str


def mark_of(task: Task) -> Mark:
    """Of the claim that `task` is a copy of."""
    return Mark(task.id, task.epoch, task.platform)


def write_mark(mark: Mark, path: str) -> str:
    """As `Files.upload` takes it. It names the path, so that a copy that somebody makes elsewhere, whose metadata a
    store may copy too, is nobody's."""
    return " ".join((_VERSION, mark.task_id, str(mark.epoch), mark.target, _place(path)))


def read_mark(info: FileInfo) -> Mark | None:
    """The object's mark; None where others wrote it, or where it was copied from another path."""
    match (info.mark or "").split(" "):
        case [version, task_id, epoch, target, place] if (
                version == _VERSION and place == _place(info.path) and epoch.isdecimal()):
            return Mark(task_id, int(epoch), target)
    return None


def may_replace(mark: Mark | None, task: Task) -> bool:
    """Whether the task may write over an object that lay there before its claim: an earlier task of the same target
    wrote it, or the request says so."""
    return task.overwrite or (mark is not None and mark.target == task.platform)


def is_unsettled(mark: Mark | None, task: Task, live: bool) -> bool:
    """Whether the object is a part of what another task is writing just now. `live`: that task has not ended."""
    return mark is not None and mark.task_id != task.id and live


def is_outdated(mark: Mark | None, task: Task) -> bool:
    """Whether an earlier claim of the same task wrote the object."""
    return mark is not None and mark.task_id == task.id and mark.epoch < task.epoch


def is_superseded(mark: Mark | None, task: Task) -> bool:
    """Whether a later claim of the same task wrote the object: this one is over."""
    return mark is not None and mark.task_id == task.id and mark.epoch > task.epoch


def may_withdraw(mark: Mark | None, task: Task) -> bool:
    """Whether this claim wrote the object: not an earlier or a later one, nor somebody else."""
    return mark is not None and (mark.task_id, mark.epoch) == (task.id, task.epoch)


def may_delete(mark: Mark | None, task_id: str) -> bool:
    """Whether the object goes with the task."""
    return mark is not None and mark.task_id == task_id


def _place(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:32]
