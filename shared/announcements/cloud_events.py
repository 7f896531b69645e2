"""A task's event as a CloudEvent: https://github.com/cloudevents/spec, version 1.0.2, structured mode.

Structured, since there is no binding for AMQP 0.9.1: the whole event is in the body, so that it stays whole whatever
way a broker passes it on (as AMQP 1.0, MQTT or STOMP, through a shovel or a dead-letter queue).
"""
from __future__ import annotations

from datetime import UTC, datetime

from pydantic_core import to_json

from shared.documents import StoredEvent, Task
from shared.queue import EventMessage

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


def to_cloud_event(task: Task, event: StoredEvent) -> EventMessage:
    """The same each time that it is made: `source` and `id` are the receiver's key for it. So nothing is in it that
    changes with the task."""
    body = {
        "specversion": "1.0", "id": str(event.seq), "source": f"/tasks/{task.id}", "type": f"task.{event.type}",
        "time": datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {"task_id": task.id, "seq": event.seq, "task_type": task.task_type, "platform": task.platform,
                 "input_path": task.input_path, "output_path": task.output_path, "group_id": task.group_id,
                 "labels": task.labels, "event": event.data}}
    return EventMessage(event.type, f"{task.id}/{event.seq}",
                        to_json(body, inf_nan_mode="null", serialize_unknown=True), CONTENT_TYPE)
