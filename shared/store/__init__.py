"""Where task documents live: the protocol, and the choice of an adapter by URL scheme."""
from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from shared.adapters import Adapter, find_factory
from shared.documents import Event, Status, StoredEvent, Task, WorkerInfo
from shared.errors import UnreadableDocument
from shared.tls import NO_FILES, Tls
from shared.transitions import Change

if TYPE_CHECKING:
    from shared.access.documents import Key

# Fields that do not tell what was asked of a task: `Store.named` passes over them.
ASKED_NOT = ("id", "output_path", "stage", "stages", "log_lines", "error", "result")
KEPT_EVENTS = 200  # of each task, the newest
PLACE_S = 300.0  # how long a task may take from its place to the store, which is many times a request's time


class DuplicateKey(Exception):
    """A task with this idempotency key exists; `existing` is that task."""

    def __init__(self, existing: Task) -> None:
        super().__init__(existing.id)
        self.existing = existing


class TurnTaken(Exception):
    """Another task has this `output_turn`."""


@dataclass(frozen=True)
class TaskFilter:
    """What `list_tasks` narrows by; None does not narrow. Times are seconds since the epoch, both ends exclusive."""

    status: str | None = None
    platform: str | None = None
    task_type: str | None = None
    group_id: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    created_after: float | None = None
    created_before: float | None = None
    tenant: str | None = None


@dataclass(frozen=True)
class Claim:
    """What a reaper needs to know of an owned task."""

    id: str
    owner: str
    epoch: int
    beat: int
    status: Status
    retries: int


@dataclass(frozen=True)
class Glance:
    """How a task stands, read without the fields of its document that may be long (`LONG_FIELDS`)."""

    id: str
    status: Status


class Store(Protocol):
    """Every method raises `Unavailable("store")` when the server does not answer within `dependency_timeout_s`.

    All methods may be called from several threads at once, and the same documents from several processes.

    A document that is damaged or of another version disables nothing else. Who asks for it alone gets an
    `UnreadableDocument`; who asks for many gets the others. Nothing changes it but `delete`. A write changes the fields
    that it names and no others, so that the fields of other versions stay.
    """

    def insert(self, task: Task, events: Sequence[Event] = ()) -> None:
        """Durable when it returns; `events` are the task's first.

        Raises:
            DuplicateKey: another task has the same `idempotency_key`; exactly one of many racing inserts succeeds.
            TurnTaken: another task has the same `output_turn`; of racing inserts one succeeds here too.
        """

    def insert_group(self, tasks: Sequence[tuple[Task, Sequence[Event]]]) -> None:
        """Insert several tasks by one command, in their order, each with its first events. The death of the caller
        never leaves a part of them. The death of a server without transactions can leave the first ones.

        Raises:
            DuplicateKey: a task's `idempotency_key` is taken; neither that task nor one after it is stored.
            TurnTaken: a task's `output_turn` is taken; the same holds.
        """

    def insert_many(self, tasks: Sequence[tuple[Task, Sequence[Event]]]) -> set[str]:
        """Insert tasks that have nothing to do with each other, in one round trip where the server can, each with its
        first events. The ids of those that are not stored, since another task has their `idempotency_key`. Durable when
        it returns. The death of the caller, and `Unavailable`, can leave any of them stored.

        Raises:
            AppError: a task has the id of one of these.
        """

    def find_by_keys(self, keys: Sequence[str]) -> dict[str, Task]:
        """The tasks that have one of these idempotency keys, by their keys.

        Raises:
            UnreadableDocument: one of them cannot be read.
        """

    def get(self, task_id: str, *, tenant: str | None = None) -> Task | None:
        """With `tenant` only if the task is this tenant's, readable or not.

        Raises:
            UnreadableDocument.
        """

    def glance(self, task_id: str, *, tenant: str | None = None) -> Glance | None:
        """How the task stands. A document that is damaged in a field that may be long alone is read all the same. So
        may be one that is damaged in a field that not every task has.

        Raises:
            UnreadableDocument: the rest of it cannot be read.
        """

    def get_many(self, task_ids: list[str], *, tenant: str | None = None) -> dict[str, Task | UnreadableDocument]:
        """Those of the tasks that exist; with `tenant` those of this tenant."""

    def update(self, task_id: str, change: Change) -> Task | None:
        """Apply `change`, its events included, if its filter fits, atomically; the new document, or None for a miss
        (also: no such task).

        Raises:
            UnreadableDocument: the filter fits a document that cannot be read; the change is not made.
        """

    def events(self, task_id: str, after: int = 0) -> list[StoredEvent] | None:
        """The task's events with a `seq` above `after`, in order, of the newest 200; None where there is no such
        task."""

    def update_many(self, changes: Sequence[tuple[str, Change]]) -> None:
        """Apply each change to its task, each atomically by itself, in one round trip where the server can. Misses
        are not told; the changes carry no events."""

    def delete(self, task_id: str, *, where: Mapping[str, Any] | None = None) -> Task | UnreadableDocument | None:
        """Remove the document, readable or not, and its events; what it was, or None if there was none. With `where`
        only if its fields have these values, as in a `Change`."""

    def list_page(self, narrow: TaskFilter, page: int, page_size: int) -> tuple[list[Task | UnreadableDocument], int]:
        """One page (from 1), newest first, and the number of all that fit. The order is total: `created_at`, `id`. What
        cannot be read has its place, so that pages neither overlap nor skip."""

    def live_with_outputs(self, output_paths: list[str]) -> list[Task]:
        """Tasks that have not ended, with one of these as their `output_path`, the oldest first."""

    def last_turns(self, outputs: Sequence[str]) -> dict[str, int]:
        """The highest number of each of these outputs that has had a turn (`output_turn` is `<output>-<number>`)."""

    def waiting(self, platforms: list[str], *, limit: int, unannounced: bool = False) -> list[Task]:
        """Tasks without an owner that are pending or running, due, and of one of these targets, by `queue_order`. What
        cannot be read takes no place among the `limit`.

        `unannounced`: only those whose doorbell is still owed (`announced` is -1).
        """

    def calling(self, *, limit: int) -> list[Task]:
        """Tasks with a `callback_url` at which somebody is to look: `call_at` is past, or the task has ended and nobody
        has looked yet. Those that were due first come first."""

    def untold(self, *, limit: int) -> list[Task]:
        """Tasks that have events which `mark_told` has not marked, by id. `insert` and `update` set the document's
        `untold` with each event; it is no field of a `Task`."""

    def owned(self) -> list[Claim]:
        """Every task that has an owner and a status that this version knows; unavailable also where the store can be
        read but not written, so that nobody looks dead while nobody can beat."""

    def stage_keys(self, *, statuses: Collection[Status] = (), among: Collection[str] | None = None) -> set[str]:
        """The keys of the stages that tasks have recorded: tasks with one of `statuses`, or of any status where that
        is empty. With `among` only those of these keys. It may look at all tasks, and take up to a minute: for
        housekeeping, not for requests."""

    def named(self, holding: str, pattern: re.Pattern[str]) -> set[str]:
        """What the pattern's first group finds in what was asked of tasks, as JSON: all that stands in their documents
        but for what workers wrote there (`ASKED_NOT`). Documents that cannot be read count too. What the pattern finds
        holds the text `holding`, which has no characters that JSON escapes. It may look at all tasks, and take up to a
        minute: for housekeeping, not for requests."""

    def take_places(self, count: str, task_ids: Sequence[str], most: int, narrow: TaskFilter) -> bool:
        """Give these tasks, which are about to be stored or to fit `narrow` again, a place each among the `most` tasks
        that fit it; False: there is no room for all of them. Exact, however many ask at once, as long as they call
        `leave_places` after that, and ask for each `count` with one filter. What is never left is forgotten after
        `PLACE_S` of the callers' clocks.

        Raises:
            OutOfTime.
        """

    def leave_places(self, count: str, task_ids: Sequence[str]) -> None:
        """They are stored, or will not be."""

    def spend(self, account: str, share: float, life_s: float) -> float:
        """Take a share of what the account holds, 1 when it is full: 0, or the seconds until there is so much; then
        nothing is taken. It fills up in `life_s`, by the callers' clocks. A negative share gives back. Exact, however
        many ask at once.

        Raises:
            OutOfTime.
        """

    def save_worker(self, worker: WorkerInfo) -> None:
        """Insert or replace by id."""

    def remove_worker(self, worker_id: str) -> None: ...

    def workers(self) -> list[WorkerInfo]:
        """Those that can be read, by id."""

    def add_key(self, key: Key) -> None:
        """Raises AppError: there is a key with this id or this digest."""

    def find_key(self, digest: str) -> Key | None:
        """The key of which this is the SHA-256. One that cannot be read is None."""

    def all_keys(self) -> list[Key]:
        """Those that can be read, the oldest first."""

    def end_key(self, key_id: str, *, revoked_at: float | None = None, expires_at: float | None = None) -> Key | None:
        """Give the key the one of both times that is named, unless it has an earlier one; the key, or None if there is
        none."""

    def note_key_use(self, key_id: str, at: float, every_s: float) -> None:
        """Write `last_used_at`, unless that was written less than `every_s` before."""

    def tidy(self, *, all_at_once: bool = False) -> int:
        """Give space that deletes have left free back to the disk; how many bytes, 0 where nothing is left to give.

        One call takes no longer than some writes. `all_at_once` also takes what holds up all writers for long: for a
        person who asks for it.
        """

    def ping(self) -> None:
        """Return if the store can be read."""

    def close(self) -> None: ...


ADAPTERS = {
    "sqlite": Adapter("shared.store.sqlite:open_sqlite"),
    "mongodb": Adapter("shared.store.mongo:open_mongo", "pip install pymongo"),
    "mongodb+srv": Adapter("shared.store.mongo:open_mongo", "pip install 'pymongo[srv]'"),
}


def open_store(url: str, timeout_s: float, tls: Tls = NO_FILES) -> Store:
    """The store that the URL names; nothing is connected before the first call that needs it.

    Raises:
        AppError: the scheme is unknown, or its driver is not installed.
    """
    return find_factory("store", ADAPTERS, url)(url, timeout_s, tls)
