"""What every door does with an uploaded object: by the rules that fit, a task for each version of it, once."""
from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from shared.creation.create import create_tasks, earlier_tasks
from shared.creation.documents import build_tasks
from shared.deps import get_files, get_store, process_wide
from shared.digests import canonical_digest
from shared.documents import TASK_ID, Source, Task
from shared.errors import Conflict, InvalidRequest, NotFound, StorageRefused
from shared.files import FileInfo
from shared.files.paths import check_path
from shared.outputs import outputs_that_write, own_folder, written_paths
from shared.rules.bilingual import Bilingual, as_it_is
from shared.settings import get_settings
from shared.texts import Text
from shared.triggers import reasons
from shared.triggers.companions import Companions, find_companions, models_with
from shared.triggers.objects import StoredObject
from shared.triggers.requests import build_request
from shared.triggers.rule_file import get_rules
from shared.triggers.rules import Rule
from shared.triggers.tombstones import is_deleted
from shared.triggers.wishes import SIDECARS, NotUsable, Wishes, read_metadata, read_sidecar, sidecar_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """What has become of an object by one rule. `later`: nothing was started, and it may be another time, although
    nothing is uploaded meanwhile; the sweep looks again."""

    object: StoredObject
    task_ids: tuple[str, ...] = ()  # created now, or found as created earlier for the same version
    is_new: bool = False
    ignored: Text | None = None  # why nothing was started
    later: bool = False


@dataclass(frozen=True)
class Upload:
    """A model as the store tells of it, with its sidecar."""

    found: StoredObject
    model: FileInfo
    sidecar: FileInfo | None

    @property
    def key(self) -> str:
        return self.model.path.partition("/")[2]


class _Looks:
    """The threads that look at a model and its sidecars at once."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(16, "uploads")

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)


_looks = process_wide(_Looks)


def take(found: StoredObject) -> list[Taken]:
    """One entry for each rule that fits, or one that says why none does.

    A sidecar is taken as its model, and external data as the models that wait for it. A task's key is made of the rule,
    the object and the version that the store tells, sidecar included. So all doors make one task of one upload, however
    often each of them hears of it.

    Raises:
        Unavailable: store or files do not answer. The sender is to try again.
    """
    try:
        return _take(found)
    except StorageRefused as error:  # it would refuse the next try as well
        return [_ignored(found, reasons.REFUSED_BY_STORE(why=as_it_is(error.why)), later=True)]


def _take(found: StoredObject) -> list[Taken]:
    settings = get_settings()
    try:
        check_path(found.path, "key", settings)
    except InvalidRequest as error:
        return [_ignored(found, reasons.BAD_NAME(why=_text_of(error)))]
    rules = get_rules()
    fitting, key, described = [rule for rule in rules if rule.fits(found.bucket, found.key)], found.key, None
    if not fitting and (described := sidecar_of(found.key)) is not None:
        fitting, key = [rule for rule in rules if rule.fits(found.bucket, described)], described
    if _is_in_a_tasks_folder(found):
        return [_ignored(found, reasons.OWN_RESULT)]
    if not fitting:
        return _take_as_data(found, rules)
    upload = look_at(found, key)
    if upload is None:
        return [_ignored(found, reasons.GONE if described is None else reasons.NO_MODEL_YET(path=found.path))]
    if upload.model.mark is not None:
        return [_ignored(found, reasons.OWN_RESULT)]
    if found.provider == "local" and described is None and found.etag not in (None, upload.model.etag):
        return [_ignored(found, reasons.CHANGING, later=True)]
    data = find_companions(upload.model, get_files(), settings)
    if data.missing:
        return [_ignored(found, reasons.WAITS_FOR_DATA(paths=", ".join(data.missing[:5])))]
    return [_take_by(rule, upload, data) for rule in fitting]


def _is_in_a_tasks_folder(found: StoredObject) -> bool:
    """Whether it lies where results go whose tasks name no output. Results elsewhere carry a mark."""
    return found.bucket == get_settings().results_bucket and bool(TASK_ID.fullmatch(found.key.partition("/")[0]))


def _take_as_data(found: StoredObject, rules: tuple[Rule, ...]) -> list[Taken]:
    if not any(rule.covers(found.bucket, found.key) for rule in rules):
        return [_ignored(found, reasons.OUTSIDE)]
    taken: list[Taken] = []
    for model in models_with(get_files(), get_settings(), found.path):
        bucket, _, key = model.partition("/")
        if not any(rule.fits(bucket, key) for rule in rules):  # it did once. Models may name each other as their data
            continue
        taken += [replace(one, object=found) for one in _take(StoredObject(bucket, key, provider=found.provider))]
    return taken or [_ignored(found, reasons.OUTSIDE)]


def look_at(found: StoredObject, key: str) -> Upload | None:
    """The model with its sidecar, by looks at all of them at once."""
    path = f"{found.bucket}/{key}"
    paths = [path, *(path + suffix for suffix in SIDECARS)]
    try:
        model, *sidecars = _looks().pool.map(get_files().stat, paths)
    except InvalidRequest:  # a name that the local adapter keeps for itself
        return None
    if model is None:
        return None
    return Upload(found, model, next(filter(None, sidecars), None))


def _take_by(rule: Rule, upload: Upload, data: Companions) -> Taken:
    files, settings = get_files(), get_settings()
    found, model = upload.found, upload.model
    key = task_key(rule, upload, data)
    if tasks := earlier_tasks(key):
        return Taken(found, tuple(task.id for task in tasks))
    if is_deleted(files, settings, key, model):
        return _ignored(found, reasons.DELETED)
    try:
        request = build_request(rule, found.bucket, upload.key, wishes_of(upload), key)
        busy = _busy_output(build_tasks(request, settings)) if rule.output_prefix is not None else None
        if busy:
            return _ignored(found, busy, later=True)
        created = create_tasks(request, source=Source(
            bucket=found.bucket, key=upload.key, etag=model.etag, version=model.version, rule=rule.name,
            sidecar=upload.sidecar.path if upload.sidecar else None, request_key=key))
    except NotUsable as error:
        return _ignored(found, error.text)
    except InvalidRequest as error:
        return _ignored(found, reasons.WRONG_REQUEST(rule=rule.name, why=_text_of(error)))
    except (Conflict, NotFound) as error:
        if tasks := earlier_tasks(key):  # another door was faster, with another version of the rules
            return Taken(found, tuple(task.id for task in tasks))
        return _ignored(found, reasons.WRONG_REQUEST(rule=rule.name, why=_text_of(error)))
    return Taken(found, tuple(task.id for task in created), is_new=True)


def wishes_of(upload: Upload) -> Wishes:
    """Raises NotUsable, Unavailable."""
    wishes = read_metadata(upload.model.metadata)
    return read_sidecar(get_files(), upload.sidecar).over(wishes) if upload.sidecar else wishes


def task_key(rule: Rule, upload: Upload, data: Companions) -> str:
    """The idempotency key: what the task is made of, whoever makes it."""
    sidecar = upload.sidecar and [upload.sidecar.path, upload.sidecar.etag]
    told = [rule.name, upload.model.path, upload.model.etag, sidecar, data.versions]
    return f"upload-{canonical_digest(told)}"


def _busy_output(tasks: list[Task]) -> Bilingual | None:
    """Two tasks that write to one place cannot publish at once: the later upload waits until the earlier one's task has
    ended."""
    named = [task for task in tasks if not own_folder(task)]
    paths = {path for task in named for path in written_paths(task)}
    for other in get_store().live_with_outputs(sorted(outputs_that_write(paths))) if paths else []:
        return reasons.OUTPUT_BUSY(task_id=other.id, path=other.output_path)
    return None


def _text_of(error: InvalidRequest | NotFound | Conflict) -> Bilingual:
    return Bilingual(error.zh, error.en)


def _ignored(found: StoredObject, why: Bilingual, *, later: bool = False) -> Taken:
    return Taken(found, ignored=Text.of(why), later=later)
