"""Whose turn it is to write to an output that several uploads ask for.

Two doors may give one output to two uploads at once, such as `a.onnx` and `a.ONNX` under one rule: to look for a live
task and to store another is not one step. So each task that an upload has started under a named output has a turn, a
number that no other task of this output has. A door reads the last turn, looks for live tasks, and stores its own task
under the next turn. Of two doors that have read the same turn the store takes one, and the other looks again.
"""
from __future__ import annotations

from collections.abc import Iterable

from shared.deps import get_store
from shared.digests import canonical_digest
from shared.documents import Task
from shared.outputs import output_stem, own_folder

Turns = dict[str, int]  # by `_output`


def read_turns(tasks: Iterable[Task]) -> Turns:
    """The last turns of the outputs that these tasks name. To be called before live tasks are looked for.

    Raises:
        Unavailable: the store does not answer.
    """
    outputs = {_output(task) for task in tasks if not own_folder(task)}
    return dict.fromkeys(outputs, 0) | get_store().last_turns(sorted(outputs)) if outputs else {}


def with_turns(tasks: list[Task], last: Turns) -> list[Task]:
    """The tasks with the turns after the `last`; those whose output is not among these have none."""
    now, found = dict(last), []
    for task in tasks:
        output = _output(task)
        if output in now and not own_folder(task):
            now[output] += 1
            task = task.model_copy(update={"output_turn": write_turn(output, now[output])})
        found.append(task)
    return found


def write_turn(output: str, number: int) -> str:
    """Turns of one output are sorted by their numbers."""
    return f"{output}-{number:012d}"


def _output(task: Task) -> str:
    """Of all targets: what two of them write of one stem may meet."""
    return canonical_digest(output_stem(task))[:32]
