"""From uploads to tasks, for several at once: those that have their tasks are told apart by their keys, and the others
get some."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from shared.access import acting_for
from shared.creation.create import Created, create_for_uploads, earlier_tasks
from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.creation.turns import read_turns, with_turns
from shared.deadlines import check_time
from shared.deps import get_files, get_store
from shared.digests import canonical_digest
from shared.documents import Source, Task
from shared.errors import Conflict, InvalidRequest, NotFound, StorageRefused
from shared.files.paths import check_path
from shared.outputs import outputs_that_write, own_folder, written_paths
from shared.platforms import get_platforms
from shared.platforms.base import get_parameter, object_parameters
from shared.rules.bilingual import Bilingual, as_it_is
from shared.settings import get_settings
from shared.store import TurnTaken
from shared.texts import Text
from shared.triggers import reasons
from shared.triggers.companions import Companions
from shared.triggers.objects import StoredObject, Taken, Upload
from shared.triggers.requests import build_request
from shared.triggers.rules import Rule
from shared.triggers.tenants import callers_of
from shared.triggers.tombstones import find_deleted
from shared.triggers.wishes import NotUsable, Wishes, read_metadata, read_sidecar


@dataclass(frozen=True)
class Wanted:
    """A rule's tasks for an upload; `object` is what the door has told of, and `key` the `task_key`."""

    object: StoredObject
    rule: Rule
    upload: Upload
    key: str


def task_key(rule: Rule, upload: Upload, data: Companions) -> str:
    """The idempotency key: what the task is made of, whoever makes it."""
    sidecar = upload.sidecar and [upload.sidecar.path, upload.sidecar.etag]
    told = [rule.name, upload.model.path, upload.model.etag, sidecar, data.versions]
    return f"upload-{canonical_digest(told)}"


def wishes_of(upload: Upload) -> Wishes:
    """Raises NotUsable, Unavailable."""
    wishes = read_metadata(upload.model.metadata)
    return read_sidecar(get_files(), upload.sidecar).over(wishes) if upload.sidecar else wishes


def start_all(wanted: Sequence[Wanted], pool: Executor) -> list[Taken]:
    """What has become of each, in their order. The caller is to ring for the new tasks.

    Raises:
        Unavailable: store or files do not answer.
    """
    first: dict[str, Wanted] = {}
    for one in wanted:
        first.setdefault(one.key, one)
    answers = _earlier(first)
    models = {key: one.upload.model for key, one in first.items() if key not in answers}
    deleted = find_deleted(get_files(), get_settings(), models, pool)
    answers |= {key: ignored(first[key].object, reasons.DELETED) for key in deleted}
    answers |= _start({key: one for key, one in first.items() if key not in answers}, pool)
    return [answers[one.key] if one is first[one.key] else replace(answers[one.key], object=one.object, new=())
            for one in wanted]


def _earlier(wanted: Mapping[str, Wanted]) -> dict[str, Taken]:
    return {key: Taken(wanted[key].object, tuple(task.id for task in tasks))
            for key, tasks in earlier_tasks(wanted).items()}


def _start(wanted: Mapping[str, Wanted], pool: Executor) -> dict[str, Taken]:
    beside = {key: one for key, one in wanted.items() if one.upload.sidecar}  # others are built without any wait
    built = dict(zip(beside, pool.map(_build, beside.values()), strict=True))
    built |= {key: _build(one) for key, one in wanted.items() if key not in beside}
    answers = {key: tasks for key, tasks in built.items() if isinstance(tasks, Taken)}
    requests = {key: tasks for key in wanted if not isinstance(tasks := built[key], Taken)}
    named = {key: tasks for key, tasks in requests.items() if wanted[key].rule.output_prefix is not None}
    turns = read_turns(task for tasks in named.values() for task in tasks)
    requests |= {key: with_turns(tasks, turns) for key, tasks in named.items()}
    for key, busy in _busy_outputs(named).items():
        answers[key] = ignored(wanted[key].object, busy, later=True)
        del requests[key]
    again: dict[str, Wanted] = {}
    for key, created in zip(requests, create_for_uploads(list(requests.values())), strict=True):
        one = wanted[key]
        if isinstance(created, Created):
            answers[key] = Taken(one.object, tuple(task.id for task in created.tasks), tuple(created.new))
        elif isinstance(created, TurnTaken):
            again[key] = one
        else:  # another door may have been faster, with another version of the rules
            answers[key] = _earlier({key: one}).get(key) or ignored(
                one.object, reasons.WRONG_REQUEST(rule=one.rule.name, why=text_of(created)))
    if again:
        check_time()
        answers |= _start(again, pool)
    return answers


def _build(wanted: Wanted) -> list[Task] | Taken:
    """The tasks, or why there are none."""
    upload, rule, model = wanted.upload, wanted.rule, wanted.upload.model
    try:
        wishes = wishes_of(upload)
        request = build_request(rule, upload.bucket, upload.key, wishes, wanted.key)
        source = Source(bucket=upload.bucket, key=upload.key, etag=model.etag, version=model.version, rule=rule.name,
                        sidecar=upload.sidecar.path if upload.sidecar else None, request_key=wanted.key)
        tasks = build_for_tenant(rule, model.path, wishes, request)
        return [task.model_copy(update={"source": source}) for task in tasks]
    except NotUsable as error:
        return ignored(wanted.object, error.text)
    except StorageRefused as error:
        return refused(wanted.object, error)
    except (InvalidRequest, NotFound) as error:
        return ignored(wanted.object, reasons.WRONG_REQUEST(rule=rule.name, why=text_of(error)))


def build_for_tenant(rule: Rule, path: str, wishes: Wishes, request: CreateTask) -> list[Task]:
    """The tasks of the tenant to which this object's belong.

    Raises:
        InvalidRequest: something names what the tenant may not name.
        Unavailable: the store does not answer.
    """
    settings = get_settings()
    callers = callers_of(rule, path, settings)
    if callers is None:
        return build_tasks(request, settings)
    of_rule, of_object = callers
    with acting_for(of_rule):
        tasks = build_tasks(request, settings)
    with acting_for(of_object):
        for task in tasks:
            for name in object_parameters(get_platforms()[task.platform]):
                if isinstance(value := get_parameter(wishes.parameters, name), str):
                    check_path(value.removesuffix("/"), f"parameters.{name}", settings)
    return tasks


def _busy_outputs(requests: Mapping[str, list[Task]]) -> dict[str, Bilingual]:
    """Two tasks that write to one place cannot publish at once: the later upload waits until the earlier one's task has
    ended. Tasks of the same request do not count: their group was cut off while it was stored."""
    outputs = {key: outputs_that_write({path for task in tasks if not own_folder(task) for path in written_paths(task)})
               for key, tasks in requests.items()}
    asked = sorted(set().union(*outputs.values()))
    writers = {task.output_path: task for task in reversed(get_store().live_with_outputs(asked) if asked else [])}
    busy: dict[str, Bilingual] = {}
    for key, tasks in requests.items():
        if others := [other for path in outputs[key] if (other := writers.get(path))
                      and (other.source is None or other.source.request_key != key)]:
            other = min(others, key=lambda task: task.created_at)
            busy[key] = reasons.OUTPUT_BUSY(task_id=other.id, path=other.output_path)
        else:
            writers |= {task.output_path: task for task in tasks}
    return busy


def text_of(error: InvalidRequest | NotFound | Conflict) -> Bilingual:
    return Bilingual(error.zh, error.en)


def ignored(found: StoredObject, why: Bilingual, *, later: bool = False) -> Taken:
    return Taken(found, ignored=Text.of(why), later=later)


def refused(found: StoredObject, error: StorageRefused) -> Taken:
    """It would refuse the next try as well."""
    return ignored(found, reasons.REFUSED_BY_STORE(why=as_it_is(error.why)), later=True)
