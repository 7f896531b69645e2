"""Task documents for the store's tests, and what a compare-and-set does to one, in the simplest words."""
from __future__ import annotations

import itertools
from typing import Any

from shared.documents import Task
from shared.transitions import AtMost, Change, OneOf

TIMEOUT_S = 10.0  # the tests' machine may be busy; what happens after a timeout has tests of its own
FAR_FUTURE = 4e9  # seconds since the epoch
_numbers = itertools.count(1)


def make_task(**fields: Any) -> Task:
    """A new task, each a second younger than the one before."""
    number = next(_numbers)
    created_at = 1_700_000_000.0 + number
    given = {"id": f"task_{int(created_at)}_{number:010d}", "task_type": "onnx_to_openvino", "platform": "intel",
             "input_path": "models/in.onnx", "output_path": "results/out.xml", "queue_order": created_at,
             "created_at": created_at, "updated_at": created_at}
    return Task(**given | fields)


def fits(task: Task, change: Change) -> bool:
    for field, wanted in change.where.items():
        value = getattr(task, field)
        match wanted:
            case OneOf(values):
                fit = value in values
            case AtMost(limit):
                fit = value <= limit
            case _:
                fit = value == wanted
        if not fit:
            return False
    return True


def apply(task: Task, change: Change) -> Task | None:
    """The changed task, or None for a miss."""
    if not fits(task, change):
        return None
    raised = {field: getattr(task, field) + by for field, by in change.increment.items()}
    raised["event_count"] = task.event_count + len(change.events)
    return Task.model_validate(task.model_dump() | change.set | raised)
