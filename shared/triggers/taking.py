"""What every door does with an uploaded object: by the rules that fit, a task for each version of it, once."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace

from shared.access.places import split_tenant
from shared.deps import get_files, get_queue, get_store, process_wide
from shared.documents import TASK_ID
from shared.doorbells import ring_all
from shared.errors import InvalidRequest, StorageRefused
from shared.files.paths import check_path
from shared.settings import get_settings
from shared.triggers import reasons
from shared.triggers.companions import WHOLE_BYTES, NotRead, Replaced, find_companions, models_with
from shared.triggers.objects import StoredObject, Taken, Upload
from shared.triggers.rule_file import get_rules
from shared.triggers.rules import Rule
from shared.triggers.starting import Wanted, ignored, refused, start_all, task_key, text_of
from shared.triggers.wishes import SIDECARS, sidecar_of


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
        (taken,) = take_all([look(found)], _looks().pool)
        ring_for(taken)
        return taken
    except StorageRefused as error:  # it would refuse the next try as well
        return [refused(found, error)]


def take_all(looked: Sequence[list[Taken | Wanted]], pool: Executor) -> list[list[Taken]]:
    """`take` for each object that was looked at, with few round trips for all together; `pool` has the threads that
    ask for several things at once. The caller is to `ring_for` them.

    Raises:
        Unavailable: store or files do not answer.
        StorageRefused: the object store refuses something that has nothing to do with one of these objects alone.
    """
    started = iter(start_all([one for parts in looked for one in parts if isinstance(one, Wanted)], pool))
    return [[next(started) if isinstance(one, Wanted) else one for one in parts] for parts in looked]


def ring_for(taken: Iterable[Taken]) -> None:
    """Tell the workers of the new tasks. A task of which they are not told is found by them, later."""
    ring_all([task for one in taken for task in one.new], get_store(), get_queue())


def look(found: StoredObject) -> list[Taken | Wanted]:
    """What the object asks for, by each rule that fits, or why it is ignored. Nothing is started.

    Raises:
        Unavailable: the object store does not answer.
    """
    try:
        return _look_by_rules(found)
    except StorageRefused as error:
        return [refused(found, error)]


def _look_by_rules(found: StoredObject) -> list[Taken | Wanted]:
    settings = get_settings()
    try:
        check_path(found.path, "key", settings)
    except InvalidRequest as error:
        return [ignored(found, reasons.BAD_NAME(why=text_of(error)))]
    rules = tuple(rule for rule in get_rules() if rule.name not in found.done)
    fitting, key, described = [rule for rule in rules if rule.fits(found.bucket, found.key)], found.key, None
    if not fitting and (described := sidecar_of(found.key)) is not None:
        fitting, key = [rule for rule in rules if rule.fits(found.bucket, described)], described
    if _is_in_a_tasks_folder(found):
        return [ignored(found, reasons.OWN_RESULT)]
    if not fitting:
        return _look_as_data(found, rules)
    upload, content = look_at(found, key)
    if upload is None:
        return [ignored(found, reasons.GONE if described is None else reasons.NO_MODEL_YET(path=found.path))]
    if upload.model.mark is not None:
        return [ignored(found, reasons.OWN_RESULT)]
    if found.provider == "local" and described is None and found.etag not in (None, upload.model.etag):
        return [ignored(found, reasons.CHANGING, later=True)]
    try:
        data = find_companions(upload.model, get_files(), settings, content, patient=found.patient)
    except Replaced:
        return [ignored(found, reasons.CHANGING, later=True)]
    except NotRead:
        return [ignored(found, reasons.NOT_READ, later=True)]
    if data.missing:
        return [ignored(found, reasons.WAITS_FOR_DATA(paths=", ".join(data.missing[:5])))]
    return [Wanted(found, rule, upload, task_key(rule, upload, data)) for rule in fitting]


def _is_in_a_tasks_folder(found: StoredObject) -> bool:
    """Whether it lies where results go whose tasks name no output. Results elsewhere carry a mark."""
    return found.bucket == get_settings().results_bucket and bool(
        TASK_ID.fullmatch(split_tenant(found.key)[1].partition("/")[0]))


def _look_as_data(found: StoredObject, rules: tuple[Rule, ...]) -> list[Taken | Wanted]:
    if not any(rule.covers(found.bucket, found.key) for rule in rules):
        return [ignored(found, reasons.OUTSIDE)]
    parts: list[Taken | Wanted] = []
    for model in models_with(get_files(), get_settings(), found.path):
        bucket, _, key = model.partition("/")
        if not any(rule.fits(bucket, key) for rule in rules):  # it did once. Models may name each other as their data
            continue
        parts += [replace(one, object=found) for one in _look_by_rules(StoredObject(
            bucket, key, provider=found.provider, done=found.done, patient=found.patient))]
    return parts or [ignored(found, reasons.OUTSIDE)]


def look_at(found: StoredObject, key: str) -> tuple[Upload | None, bytes | None]:
    """The model with its sidecar, by looks at all of them at once; and the model's content, if the look brought it."""
    path, files = f"{found.bucket}/{key}", get_files()
    is_itself = key == found.key  # what the door tells is told of the model, not of its sidecar
    is_small = is_itself and found.size_bytes is not None and found.size_bytes <= WHOLE_BYTES
    suffixes = () if is_itself and found.bare else SIDECARS
    beside = [_looks().pool.submit(files.stat, path + suffix) for suffix in suffixes]
    try:
        model, content = (files.peek(path, WHOLE_BYTES) or (None, None)) if is_small else (files.stat(path), None)
        sidecars = [one.result() for one in beside]
    except InvalidRequest:  # a name that the local adapter keeps for itself
        return None, None
    if model is None:
        return None, None
    return Upload(model, next(filter(None, sidecars), None)), content
