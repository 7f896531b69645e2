"""Tasks page by page."""
from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.api.tasks import view_tasks
from shared.api.views import TaskView
from shared.deps import get_store
from shared.documents import Task
from shared.schema import GroupIdText, LabelKey, LabelValue, Model, Name, StrictModel, TimeText
from shared.store import TaskFilter
from shared.times import parse_time


class ListTasks(StrictModel):
    """A page of tasks, newest first; each filter that is given narrows the list."""

    page: int = Field(1, ge=1, le=10**9, description="页码，从1开始")
    page_size: int = Field(10, ge=1, le=100, description="每页任务数量")
    status: Literal["pending", "running", "paused", "completed", "failed"] | None = None
    platform: Name | None = None
    task_type: Name | None = None
    group_id: GroupIdText | None = None
    labels: dict[LabelKey, LabelValue] | None = Field(None, max_length=16)
    created_after: TimeText | None = Field(None, examples=["2024-01-01T12:00:00"])
    created_before: TimeText | None = Field(None, examples=["2024-12-31T12:00:00"])


class TaskPage(Model):
    tasks: list[TaskView]
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
                        before)
    tasks, total = get_store().list_page(narrow, query.page, query.page_size)
    return TaskPage(tasks=view_tasks([task for task in tasks if isinstance(task, Task)]), total=total, page=query.page,
                    page_size=query.page_size, total_pages=-(-total // query.page_size),
                    unreadable=[task.id for task in tasks if not isinstance(task, Task)])
