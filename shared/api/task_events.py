"""A task's events as clients see them."""
from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.api.tasks import require_task, task_not_found
from shared.deps import get_store
from shared.documents import Status, StoredEvent
from shared.schema import Model, QueryNumber, StrictModel, TaskIdText
from shared.times import format_time

MAX_SEQ = 2**53 - 1  # the largest integer that every JSON reader takes


class EventsQuery(StrictModel):
    task_id: TaskIdText
    after: QueryNumber = Field(0, ge=0, le=MAX_SEQ, description="only events with a higher `seq`")


class EventView(Model):
    seq: int
    type: str = Field(description="created, claimed, stage_started, stage_finished, waiting, wait_over, paused, "
                                  "resumed, parked, released, reaped, retried, completed, failed, cancelled, "
                                  "callback_given_up; there may be more one day")
    at: str
    data: dict[str, Any]


class TaskEvents(Model):
    task_id: str
    status: Status
    progress: float
    stage: str | None
    log_lines: list[str] = Field(description="the last that the running stage's tool said; none while none runs")
    events: list[EventView]
    next: int = Field(description="`after` of the next request")


def view_event(event: StoredEvent) -> EventView:
    return EventView(seq=event.seq, type=event.type, at=format_time(event.at), data=event.data)


def read_events(query: EventsQuery) -> TaskEvents:
    """The task's status and its events. The events are at least as new as the status.

    Raises:
        NotFound: there is no such task.
    """
    task = require_task(query.task_id)
    events = get_store().events(query.task_id, query.after)
    if events is None:
        raise task_not_found()
    return TaskEvents(task_id=task.id, status=task.status, progress=round(task.progress, 1), stage=task.stage,
                      log_lines=task.log_lines, events=list(map(view_event, events)),
                      next=events[-1].seq if events else query.after)
