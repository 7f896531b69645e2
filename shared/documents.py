"""The documents in the store: a task with its stages, events, error and result, and a live worker."""
from __future__ import annotations

import re
import secrets
import time
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field

from shared.rules.refusal import Refusal
from shared.schema import Model, shorten


class Status(StrEnum):
    """The five statuses of the contract; there is no other."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"


TERMINAL = (Status.COMPLETED, Status.FAILED)
Priority = Literal["high", "normal", "low"]

# A task's place in the queue is the time of its creation, moved by its priority: high ones overtake what came less
# than an hour before them, and no low one waits for ever.
HEAD_START_S = {"high": 3600.0, "normal": 0.0, "low": -3600.0}


# What an owner waits for: another task's run of the same stage, or the object store.
OwnersWait = Literal["stage", "files"]

# A moment that can be told: of the years 1 to 9999.
Seconds = Annotated[float, Field(ge=-62_135_596_800, lt=253_402_300_800)]

# The tenant of what was made without a key, and by versions that knew no tenants.
DEFAULT_TENANT = "default"

def stored_tenant(tenant: str) -> str | None:
    """What stands for it in a task's document."""
    return None if tenant == DEFAULT_TENANT else tenant


# The form of task documents. A document of a later form may look like one of this form and mean something else.
FORM = 1


class Document(Model):
    """What stands in the store. Another version may have put fields there that this one does not know: they are read
    past, and no write removes them."""

    model_config = ConfigDict(extra="ignore")


class StageRecord(Document):
    """One finished stage. `key` addresses its result in the cache."""

    model_config = ConfigDict(extra="allow")  # an owner writes all records anew, with what it does not know of them

    name: str
    status: Literal["completed"] = "completed"
    key: str
    output_digest: str
    seconds: float
    cached: bool
    peak_memory_bytes: int | None = None
    # What the stage failed of, where that has ended an attempt and not the task.
    refused: str | None = Field(None, exclude_if=lambda value: value is None)


MAX_MESSAGE_CHARS = 600  # of one attempt; a task has ten at most


def _cut(value: Any) -> Any:
    return value[:MAX_MESSAGE_CHARS - 1] + "…" if isinstance(value, str) and len(value) > MAX_MESSAGE_CHARS else value


class Attempted(Document):
    """One conversion that a task has tried, with `precision: "auto"` or a second time, or why it has not.

    `status`: `passed`; `accepted`, the gate failed it and the client takes it; `failed`; `not_compared`, nothing here
    can run it; `skipped`, the time was over; `not_available`, for want of a calibration set. `parameters` are those in
    which it differs from the target's defaults. `accuracy` are the figures of the worst output. `message` is English,
    `message_zh` the same in Chinese.
    """

    name: str
    precision: str
    parameters: Annotated[dict[str, Any], BeforeValidator(shorten)]
    status: str
    chosen: bool = False
    seconds: float | None = None  # of the stages that no earlier attempt has run; from the cache or not
    size_bytes: int | None = None
    accuracy: Annotated[dict[str, Any] | None, BeforeValidator(shorten)] = None
    code: str | None = None  # why it failed
    stage: str | None = None  # where
    message: Annotated[str, BeforeValidator(_cut)] = ""
    message_zh: Annotated[str, BeforeValidator(_cut)] = ""


class StoredFailure(Document):
    """Why a task failed. `code` is stable; cancel is `cancelled`. `message` and `hint` are English; the Chinese ones
    are empty in a document of a version that had none."""

    code: str
    stage: str | None = None
    vendor_code: str | None = None
    message: str
    hint: str = ""
    log_tail: str = ""
    message_zh: str = ""
    hint_zh: str = ""
    # What was tried for `precision: "auto"`, or a second time; not written for other tasks.
    attempts: list[Attempted] | None = Field(None, exclude_if=lambda value: value is None)

    @classmethod
    def of(cls, refusal: Refusal, stage: str | None = None, log_tail: str = "",
           attempts: list[Attempted] | None = None) -> StoredFailure:
        return cls(**refusal.to_json(), stage=stage, log_tail=log_tail, attempts=attempts)


class Published(Document):
    """A published object as the task's claim wrote it. `etag` tells whether it is still that one."""

    path: str
    size_bytes: int
    sha256: str
    etag: str


class TaskResult(Document):
    """The published artefact. `files` are its objects, the one at `path` first; `accuracy` is per output, None where
    the target cannot run what it makes. Its `reason` and `warnings` are English; `reason_zh` and `warnings_zh` are the
    same in Chinese."""

    path: str
    files: list[str]
    sha256: str
    size_bytes: int
    manifest_path: str
    report_path: str | None = None
    report_page_path: str | None = None
    toolchain: dict[str, str] = Field({})
    accuracy: Annotated[dict[str, Any] | None, BeforeValidator(shorten)] = None  # the report has all of it
    # What was tried for `precision: "auto"`, or a second time; not written for other tasks.
    attempts: list[Attempted] | None = Field(None, exclude_if=lambda value: value is None)
    # All of `objects()`. None in a document of a version that did not record it.
    published: list[Published] | None = Field(None, exclude_if=lambda value: value is None)

    def objects(self) -> list[str]:
        """The paths of all published objects: the artefact's, the manifest and the reports."""
        return [*self.files, *filter(None, (self.manifest_path, self.report_path, self.report_page_path))]


class Event(Document):
    """Something that happened to a task. `at` is in seconds since the epoch; `data` is flat JSON.

    `type` is created, claimed, stage_started, stage_finished, waiting, wait_over, paused, resumed, parked, released,
    reaped, retried, completed, failed, cancelled or callback_given_up; later versions may have others.
    """

    type: str
    at: Seconds
    data: dict[str, Any] = Field({})


class StoredEvent(Event):
    """`seq` counts a task's events: 1, 2, 3, without gaps."""

    seq: int


class Source(Document):
    """The uploaded object that has started a task: as the object store told of it then."""

    bucket: str
    key: str
    etag: str
    version: str | None = None  # the store's version id, where the bucket has versions
    rule: str  # its name
    sidecar: str | None = None  # the path of the description beside it, where there is one
    request_key: str  # the idempotency key of the whole request, which names one version of the object


class Announcement(Document):
    """What one end of a task owes to its `callback_url`: docs/protocol.md, Announcements.

    `state` is owed, delivered or given_up. `answer` is the HTTP status that the last attempt got, `problem` why it
    failed (`shared.announcements.outcomes`).
    """

    model_config = ConfigDict(extra="allow")  # a sender writes all entries anew, with what it does not know of them

    id: str  # the receiver's key for it: all attempts have the same
    seq: int  # of the event that has ended the task
    type: str  # that event's
    code: str | None = None  # of the error that it ended with
    at: Seconds
    state: str = "owed"
    attempts: int = 0  # begun ones
    next_at: float = 0.0  # no other attempt begins earlier
    last_at: Seconds | None = None  # when the last one began
    answer: int | None = None
    problem: str | None = None


def _known_wait(value: object) -> object:
    """A later version's owner may wait for something else. That is only shown, and keeps nobody from anything."""
    return value if value in get_args(OwnersWait) else None


class Task(Document):
    """The task document. Changes go through `shared.transitions` only. Times are seconds since the epoch (UTC)."""

    # What the client asked for. It never changes.
    id: str  # `task_<epoch seconds>_<random digits>`
    task_type: str  # one of the target's
    platform: str  # the target's name
    input_path: str  # the model, as `bucket/object` or an absolute path below an allowed root
    output_path: str  # where the artefact's first file goes; the names beside it are made in `shared.outputs`
    # Whether results may replace what others have put there. It is not written while it is false: the version before
    # this one does not know it.
    overwrite: bool = Field(False, exclude_if=lambda value: not value)
    parameters: dict[str, Any] = Field({})  # checked, with the target's defaults filled in
    priority: Priority = "normal"
    labels: dict[str, str] = Field({})  # the client's own words, for its lists
    created_at: Seconds
    tenant: str = Field(DEFAULT_TENANT, exclude_if=lambda value: value == DEFAULT_TENANT)  # whose it is
    queue_order: float  # `created_at` moved by the priority; of the waiting tasks the smallest is the first
    idempotency_key: str | None = None  # unique among all tasks, where there is one
    request_hash: str | None = None  # SHA-256 of the request, which tells a repeated request from another one
    group_id: str | None = None  # of the tasks that one request with several targets made
    source: Source | None = Field(None, exclude_if=lambda value: value is None)  # of a task that an upload has started
    callback_url: str | None = Field(None, exclude_if=lambda value: value is None)  # where its ends are announced
    # Unique among all tasks: which task of this output it is, if an upload has started it (`shared.creation.turns`).
    output_turn: str | None = Field(None, exclude_if=lambda value: value is None)

    # Who works on it.
    status: Status = Status.PENDING
    epoch: int = 0  # the fencing token: each claim counts it up, and a write under an older epoch is refused
    owner: str | None = None  # the id of the worker that holds the claim
    beat: int = 0  # each heartbeat of the owner counts it up; a reaper frees a task whose beat stands still
    announced: int = -1  # the epoch whose doorbell the broker has confirmed; -1 while a doorbell is owed
    retries: int = 0  # how often a reaper has taken the task from an owner since the last finished stage
    next_run_at: float = 0.0  # no worker claims it earlier: the delay after a reap or a return

    # How far it is.
    stage: str | None = None  # the stage that runs, or that ran last
    progress: float = 0.0  # percent of the whole task
    log_lines: list[str] = Field([])  # the running stage's last; none without an owner
    # What its owner waits for, or waited for when it gave the task back.
    waits_for: Annotated[OwnersWait | None, BeforeValidator(_known_wait)] = None
    stages: list[StageRecord] = Field([])  # the finished ones, in their order
    event_count: int = 0  # the `seq` of the last event; `Store.events` reads the events themselves
    updated_at: Seconds
    started_at: Seconds | None = None  # when its first stage began
    finished_at: Seconds | None = None  # when it became completed or failed

    # How it ended.
    error: StoredFailure | None = None  # of a failed task, and no other
    result: TaskResult | None = None  # of a completed task, and no other

    # What others have heard of it. These too are not written while they are empty.
    # When somebody is to look at what its ends owe; None: as soon as it has ended.
    call_at: float | None = Field(None, exclude_if=lambda value: value is None)
    calls: int | None = Field(None, exclude_if=lambda value: value is None)  # each write of the announcements counts up
    announcements: list[Announcement] = Field([], exclude_if=lambda value: not value)  # in the order of the ends
    told: int | None = Field(None, exclude_if=lambda value: value is None)  # the `seq` up to which `tell` has published

    # Which versions may touch it. It is not written while it is 1: the version before this one does not know it.
    form: int = Field(1, le=FORM, exclude=True)


TASK_ID = re.compile(r"task_\d{10,}_\d{10}")


def new_task_id(now: float | None = None) -> str:
    """`task_<epoch seconds>_<10 random digits>`."""
    return f"task_{int(time.time() if now is None else now)}_{secrets.randbelow(9 * 10**9) + 10**9}"


class WorkerInfo(Document):
    """A live worker, as GET /platforms shows it. Only people read `seen_at`; no rule depends on it."""

    id: str
    host: str
    pid: int
    platforms: dict[str, dict[str, str]] = Field(description="target -> {tool: version}")
    slots: int
    platform_slots: dict[str, int] = Field({}, description="target -> how many of the slots its tasks may have")
    started_at: Seconds
    seen_at: Seconds
