"""A task's events, replayed through the table of docs/protocol.md: each must be allowed where it stands."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.documents import Event, Status

ALIVE = (Status.PENDING, Status.RUNNING, Status.PAUSED)
OWNED = (Status.RUNNING, Status.PAUSED)

# event -> (statuses that it may find, status that it leaves or None for the same)
CLIENTS: dict[str, tuple[tuple[Status, ...], Status]] = {
    "paused": ((Status.RUNNING,), Status.PAUSED),
    "resumed": ((Status.PAUSED,), Status.RUNNING),
    "cancelled": (ALIVE, Status.FAILED),
    "retried": ((Status.FAILED,), Status.PENDING),
}
OWNERS: dict[str, tuple[tuple[Status, ...], Status | None]] = {
    "stage_started": ((Status.RUNNING,), None),
    "stage_finished": (OWNED, None),
    "waiting": (OWNED, None),
    "wait_over": (OWNED, None),
    "parked": ((Status.PAUSED,), None),
    "released": ((Status.RUNNING,), None),
    "reaped": (OWNED, None),
    "completed": ((Status.RUNNING,), Status.COMPLETED),
    "failed": ((Status.RUNNING,), Status.FAILED),
}
# Whatever the task does meanwhile: the announcement of an earlier end was given up.
BESIDE = ("callback_given_up",)
GIVES_UP = ("parked", "released", "reaped", "completed", "failed")


@dataclass
class Replayed:
    """Where the events lead; `broken` says what was not allowed."""

    status: Status = Status.PENDING
    owner: str | None = None
    epoch: int = 0
    cancelled: bool = False
    broken: str = ""


def replay(events: Sequence[Event]) -> Replayed:
    """Up to the first event that the table does not allow. The first one should be `created`."""
    state = Replayed()
    if not events or events[0].type != "created":
        state.broken = "the first event is not created"
        return state
    before = events[0].type
    for number, event in enumerate(events[1:], 2):
        if event.type in BESIDE:
            continue
        why = _step(state, event, before)
        if why:
            state.broken = f"event {number}, {event.type}: {why}"
            return state
        before = event.type
    return state


def _step(state: Replayed, event: Event, before: str) -> str:
    worker = event.data.get("worker")
    if event.type == "claimed":
        if state.owner is not None:
            return f"{worker} claimed what {state.owner} owned"
        if state.status not in (Status.PENDING, Status.RUNNING):
            return f"a {state.status} task was claimed"
        state.status, state.owner, state.epoch = Status.RUNNING, worker, state.epoch + 1
    elif event.type in CLIENTS:
        allowed, after = CLIENTS[event.type]
        if state.status not in allowed:
            return f"the task was {state.status}"
        state.status, state.cancelled = after, event.type == "cancelled"
        if event.type == "cancelled":
            state.owner = None
    elif event.type in OWNERS:
        allowed, after = OWNERS[event.type]
        if state.status not in allowed:
            return f"the task was {'cancelled' if state.cancelled else state.status}"
        given_up = event.type == "failed" and before == "reaped"  # both in one write: its worker died too often
        if state.owner is None and not given_up:
            return "nobody owned the task"
        if worker is not None and worker != state.owner:
            return f"{worker} wrote to what {state.owner} owned"
        state.status = after or state.status
        if event.type in GIVES_UP:
            state.owner = None
    return ""
