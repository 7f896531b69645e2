"""A task's events as they happen: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

The stream asks the store every half a second. A client that reconnects sends the last `id` that it has seen, and
misses nothing.
"""
from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

import flask
from pydantic_core import to_json

from shared.access import Caller, get_caller
from shared.api.task_events import MAX_SEQ, EventsQuery, view_event
from shared.api.tasks import require_task
from shared.deps import get_store, process_wide
from shared.documents import TERMINAL, Task
from shared.errors import Busy, InvalidRequest, Unavailable, UnreadableDocument
from shared.limits.checks import enter_stream
from shared.schema import MAX_DIGITS
from shared.settings import get_settings
from shared.texts import Text

MEDIA_TYPE = "text/event-stream"
POLL_S = 0.5
HEARTBEAT_S = 15.0
RECONNECT_MS = 1000
RETRY_AFTER_S = 5
BEGINNING = b"retry: %d\n\n" % RECONNECT_MS

# In a request's environment: what takes a stream over. A server that can serve streams without a thread for each sets
# it; without it the answer's body is an iterator, which holds its thread as long as the stream lasts.
TAKES_STREAMS = "model_convert.takes_streams"

EMPTY = {204: Text("任务已结束, 所有事件均已推送", "the task has ended and the client has seen all of its events")}
HEADERS = {"Last-Event-ID": Text("最后收到的事件的 seq, 优先于 after",
                                 "the `seq` of the last event seen; goes before `after`")}

logger = logging.getLogger(__name__)


class Streams:
    """The streams that this process serves. When the process stops they end, and their clients reconnect elsewhere."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self.closed = threading.Event()

    def enter(self, limit: int) -> contextlib.ExitStack:
        """Count one stream more, until its answer is closed.

        Raises:
            Busy: `limit` streams are open already.
        """
        with self._lock:
            if self._open >= limit:
                raise Busy("事件流过多, 请稍后重试, 或不带 Accept: text/event-stream 轮询",
                           "too many event streams: try again later, or poll without Accept: text/event-stream",
                           RETRY_AFTER_S)
            self._open += 1
        stack = contextlib.ExitStack()
        stack.callback(self._leave)
        return stack

    def close(self) -> None:
        """End all of them within a moment: the process is about to stop."""
        self.closed.set()

    def _leave(self) -> None:
        with self._lock:
            self._open -= 1


get_streams = process_wide(Streams)


def wants_stream(request: flask.Request) -> bool:
    return request.accept_mimetypes.best_match(["application/json", MEDIA_TYPE]) == MEDIA_TYPE


def stream_response(query: EventsQuery, request: flask.Request) -> flask.Response:
    """The stream. A client that comes back after the last event gets 204: only that ends an `EventSource`.

    Raises:
        NotFound: there is no such task.
        InvalidRequest: `Last-Event-ID` is not a number that this service has sent.
        Busy: this process serves too many streams.
        LimitReached: the caller has too many.
    """
    seen = _last_event_id(request)
    after = query.after if seen is None else seen
    task = require_task(query.task_id)
    if seen is not None and task.status in TERMINAL and seen >= task.event_count:
        return flask.Response(status=204)
    settings, streams = get_settings(), get_streams()
    place = streams.enter(settings.sse_streams)
    with place:  # until the caller's own limit is known to hold
        place.callback(enter_stream())
        place = place.pop_all()
    stream = Stream(Follower(task.id, after), settings.sse_max_s, place, get_caller())
    take = request.environ.get(TAKES_STREAMS)
    if take is not None:
        take(stream)
    response = flask.Response(b"" if take else _frames(stream, streams.closed),
                              content_type=f"{MEDIA_TYPE}; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold the frames back
    if not take:
        response.call_on_close(stream.close)
    return response


def _last_event_id(request: flask.Request) -> int | None:
    text = request.headers.get("Last-Event-ID", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) <= MAX_SEQ):
        raise InvalidRequest("Last-Event-ID 无效: 应为事件的 seq", "Last-Event-ID is invalid: should be an event's seq")
    return int(text)


def _frames(stream: Stream, closed: threading.Event) -> Iterator[bytes]:
    yield BEGINNING
    while True:
        try:
            frames = stream.turn(get_store().get(stream.task_id))
        except Unavailable as error:
            logger.warning("the events of task %s wait: %s", stream.task_id, error)
            frames = stream.wait()
        except UnreadableDocument:
            return  # the client connects anew, and is told why
        if frames:
            yield frames
        if stream.over or closed.wait(POLL_S):
            return


class Stream:
    """One client's stream: what it is to be sent, and when it is over. `place` is given back at its end. It also ends
    with the key of its `caller`, if that had to show one."""

    def __init__(self, follower: Follower, max_s: float, place: contextlib.ExitStack, caller: Caller | None) -> None:
        self._follower, self._place, self._caller = follower, place, caller
        self.task_id = follower.task_id
        self._ends_at = time.monotonic() + max_s
        self._spoke_at = time.monotonic()

    @property
    def over(self) -> bool:
        return self._follower.ended or time.monotonic() >= self._ends_at

    def turn(self, task: Task | None) -> bytes:
        """Frames for all that is new in `task`, which was just read.

        Raises:
            Unavailable: the store does not answer.
        """
        if self._caller is not None:
            from shared.access.keyring import get_keyring  # open services need none of it

            if not get_keyring().is_good_still(self._caller):
                self.end()
                return b""
        frames = self._follower.look(task)
        if not frames:
            return self.wait()
        self._spoke_at = time.monotonic()
        return frames

    def wait(self) -> bytes:
        """A heartbeat, if one is due. Writing it is also the only way to notice that the client is gone."""
        if time.monotonic() - self._spoke_at < HEARTBEAT_S:
            return b""
        self._spoke_at = time.monotonic()
        return b": heartbeat\n\n"

    def end(self) -> None:
        """Nothing more can be told."""
        self._follower.ended = True

    def close(self) -> None:
        self._place.close()


class Follower:
    """Reads a task again and again, and gives what is new since the last read."""

    def __init__(self, task_id: str, after: int) -> None:
        self.task_id, self._after = task_id, after
        self._progress: dict[str, object] = {}
        self.ended = False

    def look(self, task: Task | None) -> bytes:
        """Frames for everything that is new in `task`, which was just read. Progress is no event and has no id: only
        its newest state is sent."""
        if task is None:
            self.ended = True
            return _frame("deleted", {"task_id": self.task_id})
        events = (get_store().events(task.id, self._after) or []) if task.event_count > self._after else []
        if events:
            self._after = events[-1].seq
        # An event that is newer than the document was stored after it: it may be a retry.
        self.ended = task.status in TERMINAL and not (events and events[-1].seq > task.event_count)
        return self._look_at_progress(task) + b"".join(_frame(event.type, view_event(event), event.seq)
                                                       for event in events)

    def _look_at_progress(self, task: Task) -> bytes:
        progress: dict[str, object] = {"stage": task.stage, "percent": round(task.progress, 1),
                                       "log_lines": task.log_lines}
        if progress == self._progress:
            return b""
        self._progress = progress
        return _frame("progress", progress)


def _frame(event_type: str, data: object, seq: int | None = None) -> bytes:
    head = f"event: {event_type}\n" if seq is None else f"id: {seq}\nevent: {event_type}\n"
    return head.encode() + b"data: " + to_json(data) + b"\n\n"
