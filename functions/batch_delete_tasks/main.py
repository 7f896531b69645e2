"""POST /tasks/batch-delete: delete tasks in any state, and the artefacts at their default outputs."""
from __future__ import annotations

from shared.api.deletion import TasksDeleted, TasksToDelete, delete_tasks
from shared.api.http import endpoint
from shared.api.tasks import group_task_ids
from shared.errors import NotFound
from shared.texts import Text


@endpoint("POST", "/tasks/batch-delete", scope="write",
          title=Text("批量删除任务 (兼容单任务删除)", "Delete one task or many"),
          message=Text("批量删除完成: 成功删除 {success_count}/{total_count} 个任务",
                       "batch delete done: {success_count} of {total_count} tasks deleted"), errors=(NotFound,))
def batch_delete_tasks(wanted: TasksToDelete) -> TasksDeleted:
    results = delete_tasks(wanted.task_ids or group_task_ids(wanted.group_id or ""), purge=wanted.purge)
    deleted = sum(results.values())
    return TasksDeleted(total_count=len(results), success_count=deleted, failed_count=len(results) - deleted,
                        results=results)
