"""What clients see of a task's announcements: who has heard of its ends, and who has not yet."""
from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field

from shared.announcements.outcomes import PROBLEMS
from shared.documents import Announcement, Task
from shared.schema import Model
from shared.times import format_time


class AnnouncementView(Model):
    """What one end of the task owes to its `callback_url`."""

    id: str = Field(description="webhook-id of each of its attempts")
    type: str = Field(description="of the message: task.completed, task.failed, task.cancelled")
    code: str | None = Field(None, exclude_if=lambda value: value is None, description="of the error")
    ended_at: str | None
    state: str = Field(description="owed; delivered: answered with 2xx; given_up: after the last attempt, or since the "
                                   "receiver wants no more")
    attempts: int = Field(description="begun ones")
    last_attempt_at: str | None
    next_attempt_at: str | None = Field(description="not earlier; only while it is owed and was tried")
    answer: int | None = Field(description="HTTP status that the last attempt got")
    problem: str | None = Field(description="why the last attempt failed. " + "; ".join(
        f"{name}: {said}" for name, said in PROBLEMS.items()))


def view_announcements(task: Task) -> list[AnnouncementView] | None:
    """The oldest end first; None of a task that announces nothing."""
    return None if task.callback_url is None else list(map(_view, task.announcements))


def _view(entry: Announcement) -> AnnouncementView:
    waits = entry.state == "owed" and entry.attempts > 0
    return AnnouncementView(
        id=entry.id, type=f"task.{entry.type}", code=entry.code, ended_at=format_time(entry.at), state=entry.state,
        attempts=entry.attempts, last_attempt_at=format_time(entry.last_at),
        next_attempt_at=format_time(entry.next_at) if waits else None, answer=entry.answer, problem=entry.problem)


def view_callback_url(task: Task) -> str | None:
    """Without its query, which may be a secret of the receiver's."""
    return task.callback_url and urlsplit(task.callback_url)._replace(query="…" if "?" in task.callback_url else "",
                                                                      fragment="").geturl()
