"""Whether results would be written where they harm what is not the task's own."""
from __future__ import annotations

from shared.documents import Task
from shared.errors import Conflict
from shared.outputs import foreign_folder, overwritten_input
from shared.rules.reasons import model as models


def refuse_conflicts(tasks: list[Task]) -> None:
    """What a request alone shows. The model's companions are known to the preflight, and to the stage `publish`.

    Raises:
        Conflict: a result would replace an input of the task, or would lie in another task's folder.
    """
    for task in tasks:
        if taken := overwritten_input(task):
            refusal = models.OUTPUT_OVER_INPUT(path=taken)
            raise Conflict(f"output_path 冲突: {refusal.message_zh}; {refusal.hint_zh}",
                           f"output_path is in conflict: {refusal.message}; {refusal.hint}")
        if folder := foreign_folder(task):
            raise Conflict(f"output_path 冲突: {folder} 是另一任务的结果目录, 请换一个 output_path",
                           f"output_path is in conflict: {folder} is the folder of another task's results; "
                           "choose another output_path")
