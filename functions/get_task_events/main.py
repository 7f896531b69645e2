"""GET /tasks/{task_id}/events: a task's events so far, or a stream of them (server-sent events)."""
from __future__ import annotations

import flask

from shared.api import event_stream
from shared.api.http import endpoint
from shared.api.task_events import EventsQuery, TaskEvents, read_events
from shared.errors import NotFound
from shared.texts import Text


@endpoint("GET", "/tasks/{task_id}/events", scope="read",
          title=Text("获取任务事件: 已发生的事件; Accept: text/event-stream 时持续推送",
                     "What happened to a task; with Accept: text/event-stream as it happens"),
          message=Text("获取任务事件成功", "events found"),
          media_type=event_stream.MEDIA_TYPE, empty=event_stream.EMPTY, headers=event_stream.HEADERS,
          errors=(NotFound,))
def get_task_events(query: EventsQuery, request: flask.Request) -> TaskEvents | flask.Response:
    if event_stream.wants_stream(request):
        return event_stream.stream_response(query, request)
    return read_events(query)
