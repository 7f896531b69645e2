"""POST /tasks/list: tasks page by page, newest first, narrowed by whatever filters the client names."""
from __future__ import annotations

from shared.answers import TaskPage
from shared.deps import get_store
from shared.http import Message, endpoint
from shared.models import ListTasks, parse_time, view_task
from shared.store import TaskFilter


@endpoint("POST", "/tasks/list",
          title=Message("分页查询任务列表", "Tasks, page by page, newest first"),
          message=Message("获取任务列表成功", "tasks listed"))
def list_tasks(query: ListTasks) -> TaskPage:
    after, before = (text and parse_time(text) for text in (query.created_after, query.created_before))
    narrow = TaskFilter(query.status, query.platform, query.task_type, query.labels or {}, after, before)
    tasks, total = get_store().list(narrow, query.page, query.page_size)
    return TaskPage(tasks=[view_task(task) for task in tasks], total=total, page=query.page,
                    page_size=query.page_size, total_pages=-(-total // query.page_size))
