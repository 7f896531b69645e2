"""What clients do to tasks: pause, resume, cancel and retry, one task or many in a request.

Each is one compare-and-set on each task. Then the task's owner is nudged, or the workers hear a doorbell.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import ConfigDict, Field, model_validator

from shared import transitions
from shared.access import by_whom, seen_tenant
from shared.api.tasks import TaskState, group_task_ids, require_task
from shared.deps import get_queue, get_store
from shared.documents import TERMINAL, Status, Task, stored_tenant
from shared.doorbells import nudge, ring
from shared.errors import AppError, Busy, InvalidTransition, Unavailable
from shared.limits.waiting import places_for
from shared.schema import GroupIdText, Model, StrictModel, TaskIds, TaskIdText, exactly_one, wrong
from shared.texts import Text
from shared.transitions import WAITING, Change, OneOf

ATTEMPTS = 3


@dataclass(frozen=True)
class Action:
    """A transition that clients ask for."""

    change: Callable[[], Change]
    verb: Text
    participle: str  # of the English verb

    @property
    def allowed(self) -> tuple[Status, ...]:
        """The statuses that its filter lets through."""
        status = self.change().where["status"]
        return status.values if isinstance(status, OneOf) else (status,)


PAUSE = Action(transitions.pause, Text("暂停", "pause"), "paused")
RESUME = Action(transitions.resume, Text("恢复", "resume"), "resumed")
CANCEL = Action(transitions.cancel, Text("取消", "cancel"), "cancelled")
RETRY = Action(transitions.retry, Text("重试", "retry"), "retried")


class TaskChoice(StrictModel):
    """One task by `task_id`, several by `task_ids`, or all of a group by `group_id`."""

    task_id: TaskIdText | None = None
    task_ids: TaskIds | None = None
    group_id: GroupIdText | None = None

    model_config = ConfigDict(json_schema_extra=exactly_one(task_id="string", task_ids="array", group_id="string"))

    @model_validator(mode="after")
    def _check_one_of_all(self) -> TaskChoice:
        if [self.task_id, self.task_ids, self.group_id].count(None) != 2:
            raise wrong("应有 task_id、task_ids 与 group_id 三者之一, 且仅其一",
                        "should have one of task_id, task_ids and group_id, and only one")
        return self


class TasksChanged(Model):
    total_count: int = Field(description="different ids in the request")
    success_count: int
    failed_count: int
    results: dict[str, bool]
    reasons: dict[str, Text] = Field(description="of those that failed")


def take_action(action: Action, choice: TaskChoice) -> TaskState | TasksChanged:
    """Take the action on the task or the tasks of the request.

    Raises:
        NotFound: there is no such task.
        InvalidTransition: the task is in another state; the message names it.
        LimitReached: it would wait again, and too many tasks wait already.
        Unavailable: the store does not answer.
        Busy: other clients change the task between each attempt and the read that follows it.
    """
    if choice.group_id is not None:
        return _change_many(action, group_task_ids(choice.group_id))
    if choice.task_ids is not None:
        return _change_many(action, list(dict.fromkeys(choice.task_ids)))
    task = _change_one(action, choice.task_id or "")
    _tell(task)
    return TaskState(task_id=task.id, status=task.status)


def _change_many(action: Action, task_ids: list[str]) -> TasksChanged:
    """Take the action on each task by itself. A dependency that does not answer once is not asked again in this
    request."""
    reasons: dict[str, Text] = {}
    away: Text | None = None
    queue_answers = True
    for task_id in task_ids:
        if away is not None:
            reasons[task_id] = away
            continue
        try:
            task = _change_one(action, task_id)
        except AppError as error:
            if isinstance(error, Unavailable):
                if task_id == task_ids[0]:
                    raise
                away = error.text
            reasons[task_id] = error.text
        else:
            queue_answers = queue_answers and _tell(task)
    changed = len(task_ids) - len(reasons)
    return TasksChanged(total_count=len(task_ids), success_count=changed, failed_count=len(reasons),
                        results={task_id: task_id not in reasons for task_id in task_ids}, reasons=reasons)


def _change_one(action: Action, task_id: str) -> Task:
    for _ in range(ATTEMPTS):
        with places_for([task_id] if action is RETRY else []):
            changed = get_store().update(task_id, _by_the_caller(action.change()))
        if changed is not None:
            return changed
        status = require_task(task_id).status
        if status not in action.allowed:
            raise _refused(action, status)
    raise Busy("任务状态正在变化, 请重试", "the task's state keeps changing: try again", 1)


def _by_the_caller(change: Change) -> Change:
    """The change, if the task is of the caller's tenant; its events tell who has made it."""
    tenant, by = seen_tenant(), by_whom()
    if tenant is None:
        return change
    return replace(change, where=change.where | {"tenant": stored_tenant(tenant)}, events=tuple(
        event.model_copy(update={"data": event.data | by}) for event in change.events))


def _refused(action: Action, status: Status) -> InvalidTransition:
    verb, states = action.verb, [state.value for state in action.allowed]
    return InvalidTransition(
        f"任务{verb.zh}失败: 只能{verb.zh}状态为 {'、'.join(states)} 的任务, 当前状态: {status.value}",
        f"cannot {verb.en} the task: only a {' or '.join(states)} task can be {action.participle}, this one is "
        f"{status.value}")


def _tell(task: Task) -> bool:
    """Nudge the owner, or ring for the workers if the task waits; True if the queue answered.

    A cancelled task has no owner any more. Control messages carry the task's id, so its last owner hears them.
    """
    if task.owner or task.status in TERMINAL:
        return nudge(task, get_queue())
    if task.status in WAITING:
        return ring(task, get_store(), get_queue())
    return True
