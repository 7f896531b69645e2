"""Whether results would be written where they harm what is not the task's own."""
from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from shared import reasons
from shared.deps import get_files, get_store
from shared.documents import Task
from shared.errors import Conflict, Unavailable
from shared.marks import may_replace, read_mark
from shared.outputs import foreign_folder, outputs_that_write, overwritten_input, own_folder, written_paths
from shared.platforms import get_platforms
from shared.platforms.base import get_parameter, object_parameters
from shared.rules.reasons import model as models
from shared.rules.refusal import Refusal
from shared.settings import Settings

logger = logging.getLogger(__name__)

_UPLOAD_ID = re.compile(r"upload_\w{1,64}")
_AT_ONCE = 16  # looks into the object store


def refuse_conflicts(tasks: list[Task]) -> None:
    """Before tasks of one request are stored. The model's companions are known to the preflight, and to the stage
    `publish`, which decides on everything again: what is found here may have changed by then.

    Raises:
        Conflict: a result would replace an input of the task or an object that it may not replace, would lie in another
            task's folder, or would be written by another task too.
        Unavailable: the store does not answer. An object store that does not answer refuses nothing.
    """
    for refusal in find_conflicts(tasks).values():
        raise Conflict(f"output_path 冲突: {refusal.message_zh}; {refusal.hint_zh}",
                       f"output_path is in conflict: {refusal.message}; {refusal.hint}")


def refuse_leaving(tasks: list[Task], settings: Settings) -> None:
    """To be called right before the tasks are stored: see `shared.lifetimes.leaving`.

    Raises:
        Conflict: one of them names an upload that is about to go. An object store that does not answer refuses nothing.
    """
    named = {upload for task in tasks for path in _named(task) if (upload := _upload_of(path, settings))}
    for upload_id in sorted(named):
        from shared.lifetimes.leaving import is_leaving  # few requests need it, and create's cold start counts

        try:
            if not is_leaving(get_files(), settings, upload_id):
                continue
        except Unavailable as error:
            logger.warning("uploads are not looked at: %s", error)
            return
        raise Conflict(f"上传 {upload_id} 长期未被使用, 正在删除; 请重新上传",
                       f"{upload_id} was not used for long and is being removed: upload it again")


def _named(task: Task) -> list[str]:
    parameters = object_parameters(get_platforms()[task.platform])
    return [task.input_path, *(str(get_parameter(task.parameters, name)) for name in parameters)]


def _upload_of(path: str, settings: Settings) -> str | None:
    bucket, _, rest = path.partition("/")
    if rest.startswith("tenant-"):
        rest = rest.partition("/")[2]
    upload_id = rest.partition("/")[0]
    return upload_id if bucket == settings.uploads_bucket and _UPLOAD_ID.fullmatch(upload_id) else None


def find_conflicts(tasks: list[Task]) -> dict[str, Refusal]:
    """`{task id: what is wrong with its output}`, of those tasks that have a conflict."""
    found = {task.id: refusal for task in tasks if (refusal := _of_the_request(task))}
    # Nobody else writes into a folder that is named after a new task.
    others = [task for task in tasks if task.id not in found and not own_folder(task)]
    if others:
        found |= _with_live_tasks(others)
        found |= _with_objects(task for task in others if task.id not in found)
    return found


def _of_the_request(task: Task) -> Refusal | None:
    if taken := overwritten_input(task):
        return models.OUTPUT_OVER_INPUT(path=taken)
    if folder := foreign_folder(task):
        return reasons.OUTPUT_IN_FOLDER(folder=folder)
    return None


def _with_live_tasks(tasks: list[Task]) -> dict[str, Refusal]:
    """Of one target's tasks each may replace the others' results, so they are not refused. They have the same
    `output_path`, where they have an object in common."""
    paths = {task.id: set(written_paths(task)) for task in tasks}
    found = {}
    for other in get_store().live_with_outputs(sorted(outputs_that_write(set().union(*paths.values())))):
        if other.platform not in get_platforms():
            continue  # of another version, whose names are not known here
        for task in tasks:
            common = paths[task.id].intersection(written_paths(other))
            if common and other.platform != task.platform:
                found[task.id] = (reasons.OUTPUT_SHARED(path=min(common), task_id=other.id)
                                  if other.tenant == task.tenant else reasons.OUTPUT_NOT_FREE(path=min(common)))
    return found


def _with_objects(tasks: Iterable[Task]) -> dict[str, Refusal]:
    looks = [(task, path) for task in tasks if not task.overwrite for path in written_paths(task)]
    if not looks:
        return {}
    try:
        with ThreadPoolExecutor(min(_AT_ONCE, len(looks))) as pool:
            infos = list(pool.map(get_files().stat, [path for _, path in looks]))
    except Unavailable as error:
        logger.warning("outputs are not looked at: %s", error)
        return {}
    return {task.id: reasons.OUTPUT_TAKEN(path=path) for (task, path), info in reversed(list(zip(
        looks, infos, strict=True))) if info is not None and not may_replace(read_mark(info), task)}
