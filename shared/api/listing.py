"""Tasks page by page."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field
from pydantic_core import to_json

from shared.access import seen_tenant
from shared.api.tasks import view_tasks
from shared.api.views import ListedTask, TaskView
from shared.deps import get_store
from shared.documents import Task
from shared.schema import GroupIdText, Labels, Model, Name, StrictModel, TimeText
from shared.store import TaskFilter
from shared.times import parse_time

MAX_LISTED_BYTES = 16 << 10  # of a task in a list, so that a page of 100 stays below 2 MiB
# What may be long, in the order in which it is left out.
_LONG: dict[str, Callable[[Any], Any]] = {
    "parameters": lambda _: {},
    "result": lambda result: result.model_copy(update={"accuracy": None, "attempts": None}),
    "error": lambda error: error.model_copy(update={"log_tail": "", "attempts": None}),
    "log_lines": lambda _: [],
    "announcements": lambda announcements: announcements[-1:],
}


class ListTasks(StrictModel):
    """A page of tasks, newest first; each filter that is given narrows the list."""

    page: int = Field(1, ge=1, le=10**9, description="页码，从1开始")
    page_size: int = Field(10, ge=1, le=100, description="每页任务数量")
    status: Literal["pending", "running", "paused", "completed", "failed"] | None = None
    platform: Name | None = None
    task_type: Name | None = None
    group_id: GroupIdText | None = None
    labels: Labels | None = None
    created_after: TimeText | None = Field(None, examples=["2024-01-01T12:00:00Z"])
    created_before: TimeText | None = Field(None, examples=["2024-12-31T12:00:00Z"])


class TaskPage(Model):
    tasks: list[ListedTask]
    total: int
    page: int
    page_size: int
    total_pages: int = Field(description="0 where no task fits")
    unreadable: list[str] = Field([], exclude_if=lambda ids: not ids, description=(
        "only if there are any: ids of this page's tasks whose documents are damaged or of another version; `total` "
        "counts them, and batch-delete removes them"))


def find_page(query: ListTasks) -> TaskPage:
    after, before = (parse_time(text) if text else None for text in (query.created_after, query.created_before))
    narrow = TaskFilter(query.status, query.platform, query.task_type, query.group_id, query.labels or {}, after,
                        before, seen_tenant())
    tasks, total = get_store().list_page(narrow, query.page, query.page_size)
    readable = [task for task in tasks if isinstance(task, Task)]
    return TaskPage(tasks=list(map(_listed, view_tasks(readable))), total=total, page=query.page,
                    page_size=query.page_size, total_pages=-(-total // query.page_size),
                    unreadable=[task.id for task in tasks if not isinstance(task, Task)])


def _listed(view: TaskView) -> ListedTask:
    """The task, without what is longest in it where it is longer than `MAX_LISTED_BYTES`."""
    fields: dict[str, Any] = {name: getattr(view, name) for name in TaskView.model_fields}
    omitted: list[str] = []
    for name, without in _LONG.items():
        if len(to_json(fields, context={"language": "zh"})) <= MAX_LISTED_BYTES:
            break
        if fields[name] is not None:
            fields[name] = without(fields[name])
            omitted.append(name)
    return ListedTask(**fields, omitted=omitted)
