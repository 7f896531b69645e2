"""What travels over the queue: doorbells, never data.

A message names a task; everything else is read from the store. So a lost, doubled or late message is harmless. Messages
are untrusted input: `decode` refuses a message whose fields do not fit exactly. Fields that it does not know are passed
over: a later version may have added them. One that gives a field another meaning counts `v` up, and names its exchanges
and queues anew (`shared.queue.topology`), so that its messages do not meet older workers.
"""
from __future__ import annotations

import time
import uuid
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

MAX_BYTES = 4096
VERSION = 1

TaskId = Annotated[str, Field(min_length=1, max_length=128)]


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    v: int = Field(VERSION, ge=1, le=VERSION)  # as a Literal it would let `true` pass
    task_id: TaskId
    epoch: int = Field(ge=0)
    msg_id: str = Field(default_factory=lambda: uuid.uuid4().hex, max_length=64)
    created_at: float = Field(default_factory=time.time)

    def encode(self) -> bytes:
        return self.model_dump_json().encode()


class RunTask(_Envelope):
    """A task waits for a worker. `platform` and `priority` choose the queue."""

    type: Literal["run"] = "run"
    platform: str = Field(max_length=64)
    priority: Literal["high", "normal", "low"]


class ControlTask(_Envelope):
    """A task was paused, resumed, cancelled or deleted: its owner should look at the document now."""

    type: Literal["control"] = "control"


_Message = Annotated[RunTask | ControlTask, Field(discriminator="type")]
_adapter: TypeAdapter[RunTask | ControlTask] = TypeAdapter(_Message)


def decode(body: bytes) -> RunTask | ControlTask:
    """The message in `body`.

    Raises:
        ValueError: the bytes are no message of this version.
    """
    if len(body) > MAX_BYTES:
        raise ValueError(f"not a message of version {VERSION}: more than {MAX_BYTES} bytes")
    try:
        return _adapter.validate_json(body)
    except ValidationError as error:
        wrong = {str(about["loc"][-1]) if about["loc"] else "body" for about in error.errors(include_input=False)}
        raise ValueError(f"not a message of version {VERSION}: {', '.join(sorted(wrong))[:200]}") from error
