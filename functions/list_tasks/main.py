"""POST /tasks/list: tasks page by page, newest first, narrowed by the client's filters."""
from __future__ import annotations

from shared.api.http import endpoint
from shared.api.listing import ListTasks, TaskPage, find_page
from shared.texts import Text


@endpoint("POST", "/tasks/list", scope="read",
          title=Text("分页查询任务列表", "Tasks, page by page, newest first"),
          message=Text("获取任务列表成功", "tasks listed"))
def list_tasks(query: ListTasks) -> TaskPage:
    return find_page(query)
