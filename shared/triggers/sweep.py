"""The sweep: finds uploads that no event told of, by listing what the rules cover."""
from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import NamedTuple, TypeVar

from shared.errors import Busy, NotFound, StorageRefused, Unavailable
from shared.files import FileInfo, Files
from shared.settings import Settings
from shared.texts import Text
from shared.triggers import companions, reasons, tombstones
from shared.triggers.companions import digest_of, known_digests
from shared.triggers.objects import StoredObject, Taken
from shared.triggers.rules import Rule
from shared.triggers.seen import Seen, item_of
from shared.triggers.starting import Wanted, refused
from shared.triggers.taking import look, ring_for, take_all
from shared.triggers.wishes import SIDECARS, sidecar_of

SETTLE_S = 1.0  # how long a local file has to stand still
AT_ONCE = 8  # objects that are taken side by side
STEP = 64  # objects that are looked at between two questions whether to go on
LAST_SIDECAR = max(SIDECARS)
KEEP_EVERY = 2000  # new objects; what was dealt with is kept so often, for a pass that is cut off

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


class Found(NamedTuple):
    """An object as it was listed, and as it is handed on."""

    info: FileInfo
    object: StoredObject


class Sweep:
    """Of one worker. `pause` is called between small steps; whatever it raises ends the pass, and the next one goes on.
    """

    def __init__(self, files: Files, settings: Settings, rules: Iterable[Rule], *,
                 pause: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.monotonic) -> None:
        self._files, self._settings, self._rules = files, settings, tuple(rules)
        self._pause, self._clock = pause, clock
        self._local = settings.files_url.get_secret_value().startswith("file:")
        self._seen = {rule.name: Seen(files, settings.cache_bucket, rule.name, existing=rule.existing)
                      for rule in self._rules}
        self._moving: dict[str, tuple[str, float]] = {}  # local files: their version, and since when it is that
        self._told: set[tuple[str, str]] = set()  # what the log has been told of objects that are looked at again

    def run(self) -> list[StoredObject]:
        """One pass; the objects for which it has made tasks, by one rule each.

        Raises:
            Unavailable: store or files do not answer.
        """
        for seen in self._seen.values():
            seen.begin()
        new: list[StoredObject] = []
        whole = False
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                self._pass(pool, new)
            whole = True
        finally:
            for seen in self._seen.values():
                seen.end(whole=whole)
        return new

    def _pass(self, pool: ThreadPoolExecutor, new: list[StoredObject]) -> None:
        self._needed = known_digests(self._files, self._settings)
        others: list[Found] = []  # what no rule takes, and nothing was known to need
        moving, self._moving = self._moving, {}
        fresh = (found for place in self._places() for found in self._find_fresh(place, moving, others))
        self._take_steps(pool, _steps(fresh, STEP), new)
        # A model may have said meanwhile that it needs one of these; it did so before it looked for the file.
        self._needed = known_digests(self._files, self._settings) - self._needed
        late = [found for found in others if self._needed and digest_of(found.info.path) in self._needed]
        self._take_steps(pool, _steps(late, STEP), new)

    def _places(self) -> list[str]:
        """What is listed: the outermost of the rules' prefixes."""
        prefixes = {f"{rule.bucket}/{rule.prefix}" for rule in self._rules}
        return sorted(prefix for prefix in prefixes
                      if not any(prefix != other and prefix.startswith(other) for other in prefixes))

    def _list(self, prefix: str) -> Iterator[FileInfo]:
        for number, info in enumerate(self._files.find(prefix)):
            if number % STEP == 0:
                self._pause()
            yield info

    def _find_fresh(self, place: str, moving: dict[str, tuple[str, float]], others: list[Found]) -> Iterator[Found]:
        """What is to be taken now. An object waits until the listing has passed where its sidecars would be, so that it
        may be known to have none. A sidecar that comes later is found by the next pass."""
        waiting: dict[str, Found] = {}
        last, in_order = "", True
        for info in self._list(place):
            last, in_order = info.path, in_order and last < info.path
            if (described := sidecar_of(info.path)) in waiting:
                yield waiting.pop(described)
            while waiting and ((past := (first := next(iter(waiting))) + LAST_SIDECAR < last) or len(waiting) >= STEP):
                yield _bare(waiting.pop(first), past and in_order)
            found = self._find(info)
            if self._is_fresh(found, moving, others):
                waiting[info.path] = found
        for found in waiting.values():
            yield _bare(found, in_order)

    def _find(self, info: FileInfo) -> Found:
        """The object is noted as seen by the rules that have dealt with it, or leave it alone."""
        bucket, _, key = info.path.partition("/")
        item, done = item_of(info), []
        for rule in self._rules:
            seen, covers = self._seen[rule.name], rule.covers(bucket, key)
            if seen.is_old(info) or (covers and item in seen):
                done.append(rule.name)
                if covers:
                    seen.add(item)
        return Found(info, StoredObject(bucket, key, etag=info.etag, size_bytes=info.size_bytes, done=tuple(done),
                                        patient=True, provider="local" if self._local else "minio"))

    def _is_fresh(self, found: Found, moving: dict[str, tuple[str, float]], others: list[Found]) -> bool:
        """Whether the object is to be taken now. What is none of ours is noted as seen."""
        info, bucket, key = found.info, found.object.bucket, found.object.key
        unseen = [rule for rule in self._rules if rule.covers(bucket, key) and rule.name not in found.object.done]
        if not unseen:
            return False
        described = sidecar_of(key)
        concerns = any(rule.fits(bucket, key) or (described is not None and rule.fits(bucket, described))
                       for rule in unseen)
        if not (concerns or digest_of(info.path) in self._needed):
            self._mark(info)
            others.append(found)
            return False
        return not self._local or self._stands_still(info, moving)

    def _stands_still(self, info: FileInfo, moving: dict[str, tuple[str, float]]) -> bool:
        now = self._clock()
        etag, since = moving.get(info.path, ("", now))
        if etag != info.etag:
            since = now
        self._moving[info.path] = info.etag, since
        return now - since >= SETTLE_S

    def _take_steps(self, pool: ThreadPoolExecutor, steps: Iterable[list[Found]], new: list[StoredObject]) -> None:
        """While the tasks of one step are stored, the objects of the next one are looked at, and workers are told of
        the one before."""
        under_way: deque[tuple[list[Found], Future[list[list[Taken]]]]] = deque()
        ringing: deque[Future[None]] = deque()

        def settle() -> None:
            while under_way:
                step, taking = under_way.popleft()
                answers = taking.result()
                while ringing:
                    ringing.popleft().result()
                ringing.append(ringer.submit(ring_for, [one for taken in answers for one in taken]))
                self._settle(step, answers, new)

        with ThreadPoolExecutor(1) as starter, ThreadPoolExecutor(1) as ringer:
            for number, step in enumerate(steps, start=1):
                self._pause()
                found = [one.object for one in step]
                looked = self._look_at(pool, found)
                settle()
                under_way.append((step, starter.submit(self._take_all, pool, found, looked)))
                if number * STEP % KEEP_EVERY < STEP:
                    for seen in self._seen.values():
                        seen.end(whole=False)
            settle()
            while ringing:
                ringing.popleft().result()

    def _look_at(self, pool: ThreadPoolExecutor, found: list[StoredObject]) -> list[list[Taken | Wanted]] | None:
        """None where one of them cannot be looked at for a fault of ours."""
        try:
            parts = pool.map(lambda some: [look(one) for one in some], _steps(found, -(-STEP // AT_ONCE)))
            return [one for part in parts for one in part]
        except (Unavailable, Busy):
            raise
        except Exception:
            return None

    def _take_all(self, pool: ThreadPoolExecutor, found: list[StoredObject],
                  looked: list[list[Taken | Wanted]] | None) -> list[list[Taken]]:
        if looked is not None:
            try:
                return take_all(looked, pool)
            except (Unavailable, Busy):
                raise
            except Exception:
                logger.debug("a step failed; each of its objects is taken by itself", exc_info=True)
        return [self._take(pool, one) for one in found]

    def _settle(self, step: list[Found], answers: list[list[Taken]], new: list[StoredObject]) -> None:
        for (info, _), taken in zip(step, answers, strict=True):
            new += [one.object for one in taken if one.is_new]
            if not any(one.later for one in taken):
                self._mark(info)
            for one in taken:
                self._tell(info, one)

    def _take(self, pool: ThreadPoolExecutor, found: StoredObject) -> list[Taken]:
        try:
            return take_all([look(found)], pool)[0]
        except (Unavailable, Busy):
            raise
        except StorageRefused as error:
            return [refused(found, error)]
        except Exception:  # the next pass would meet it again, and what is listed later would wait behind it for ever
            if (found.path, reasons.FAILED.en) not in self._told:
                logger.exception("an upload that was found failed", extra={"object": found.path})
            return [Taken(found, ignored=Text.of(reasons.FAILED), later=True)]

    def _mark(self, info: FileInfo) -> None:
        bucket, _, key = info.path.partition("/")
        for rule in self._rules:
            if rule.covers(bucket, key):
                self._seen[rule.name].add(item_of(info))

    def _tell(self, info: FileInfo, taken: Taken) -> None:
        if taken.is_new:
            logger.info("an upload was found", extra={"object": info.path, "tasks": list(taken.task_ids)})
        if taken.ignored is None:
            return
        told = (info.path, taken.ignored.en)
        if taken.later and told in self._told:
            return
        if taken.later:
            self._told.add(told)
        logger.info("an upload starts nothing: %s", taken.ignored.en, extra={"object": info.path})

    # --- what belongs to nobody ---------------------------------------------------------------------------------------

    def tidy(self) -> int:
        """Remove records of objects that are gone; how many. A look-up for each: for once an hour.

        Raises:
            Unavailable.
        """
        gone = [info for info in self._list(tombstones.folder(self._settings))
                if (stone := tombstones.read_tombstone(self._files, info))
                and ((there := self._stat(stone["path"])) is None or there.etag != stone["etag"])]
        gone += [info for info in self._list(companions.folder(self._settings))
                 if (record := companions.read_record(self._files, info)) and self._stat(record["model"]) is None]
        gone += [info for info in self._list(companions.outlines(self._settings))
                 if (record := companions.read_record(self._files, info))
                 and ((there := self._stat(record["model"])) is None or there.etag != record["etag"])]
        for info in gone:
            self._files.delete(info.path)
        return len(gone)

    def _stat(self, path: str) -> FileInfo | None:
        self._pause()
        try:
            return self._files.stat(path)
        except NotFound:
            return None


def _bare(found: Found, is_bare: bool) -> Found:
    return found._replace(object=replace(found.object, bare=is_bare))


def _steps(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while step := list(islice(iterator, size)):
        yield step
