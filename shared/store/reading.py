"""Documents become models here and nowhere else. One that cannot be read is a value: it disables nothing else."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields as fields_of
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from shared.access.documents import Key
from shared.documents import Document, StoredEvent, Task, WorkerInfo
from shared.errors import UnreadableDocument
from shared.store import Claim
from shared.store.sightings import get_sightings

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Fields = dict[str, Any] | bytes  # plain, or as JSON
Read = TypeVar("Read", bound=Document)

CLAIM_FIELDS = tuple(field.name for field in fields_of(Claim))
MAX_NAMED = 3  # fields in a reason


def read_task(task_id: str, fields: Fields) -> Task | UnreadableDocument:
    """The document that is stored under this id."""
    task = _read(Task, "task", task_id, fields)
    return task if isinstance(task, UnreadableDocument) or task.id == task_id else _note("task", task_id, "id")


def read_workers(documents: Iterable[tuple[str, Fields]]) -> list[WorkerInfo]:
    """Those of all workers' documents that can be read."""
    found = [_read(WorkerInfo, "worker", worker_id, fields) for worker_id, fields in documents]
    get_sightings().keep("worker", {worker.id for worker in found if isinstance(worker, UnreadableDocument)})
    return [worker for worker in found if isinstance(worker, WorkerInfo)]


def read_key(key_id: str, fields: Fields) -> Key | None:
    """None where it cannot be read: nobody gets in by a damaged document."""
    key = _read(Key, "key", key_id, fields)
    return key if isinstance(key, Key) and key.id == key_id else None


def read_keys(documents: Iterable[tuple[str, Fields]]) -> list[Key]:
    """Those that can be read."""
    return [key for key in (read_key(key_id, fields) for key_id, fields in documents) if key]


def read_claims(rows: Iterable[tuple[Any, ...]]) -> list[Claim]:
    """Claims from the fields of owned tasks, in the order of `Claim`. Nothing else of a document needs to be right. A
    task in a status that this version does not know is nobody's here."""
    claims = []
    for row in rows:
        try:
            claims.append(_claim_reader().validate_python(dict(zip(CLAIM_FIELDS, row, strict=True))))
        except ValidationError as error:
            _note("task", str(row[0]), _reason(error))
    return claims


def read_events(task_id: str, numbered: Iterable[tuple[int, Any]]) -> list[StoredEvent]:
    """Those of a task's events that can be read."""
    events = [_read(StoredEvent, "event", f"{task_id} #{seq}",
                    {**event, "seq": seq} if isinstance(event, dict) else event) for seq, event in numbered]
    return [event for event in events if isinstance(event, StoredEvent)]


def require(task: Task | UnreadableDocument) -> Task:
    """Raises UnreadableDocument where it is one."""
    if isinstance(task, UnreadableDocument):
        raise task
    return task


def only_readable(tasks: Iterable[Task | UnreadableDocument]) -> list[Task]:
    return [task for task in tasks if isinstance(task, Task)]


def fill(limit: int, fetch: Callable[[int], list[Task | UnreadableDocument]]) -> list[Task]:
    """The first `limit` readable ones of what `fetch(count)` gives of an ordered list. What cannot be read takes no
    place."""
    count = limit
    while True:
        found = fetch(count)
        tasks = only_readable(found)
        if len(tasks) >= limit or len(found) < count:
            return tasks[:limit]
        count += 2 * (len(found) - len(tasks)) + limit


@lru_cache(maxsize=1)
def _claim_reader() -> TypeAdapter[Claim]:
    from pydantic import TypeAdapter  # only workers need it, and a function's cold start counts

    return TypeAdapter(Claim)


def _read(model: type[Read], kind: str, document_id: str, fields: Any) -> Read | UnreadableDocument:
    try:
        if isinstance(fields, bytes):
            return model.model_validate_json(fields)
        return model.model_validate(fields)
    except ValidationError as error:
        return _note(kind, document_id, _reason(error))


def _note(kind: str, document_id: str, why: str) -> UnreadableDocument:
    document = UnreadableDocument(kind, document_id, why)
    get_sightings().note(document)
    return document


def _reason(error: ValidationError) -> str:
    """`parameters: dict_type, stages: missing`. Only our own fields' names and pydantic's words are in it."""
    wrong = {str(about["loc"][0]) if about["loc"] else "document": about["type"]
             for about in error.errors(include_url=False, include_context=False, include_input=False)}
    if "form" in wrong:
        return "of a later version"
    return ", ".join(f"{field}: {what}" for field, what in list(wrong.items())[:MAX_NAMED])
