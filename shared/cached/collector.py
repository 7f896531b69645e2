"""Removes from the cache bucket what nobody needs any more: results by last use and by what a client wants gone, the
blobs that no manifest names, logs whose tasks are gone, old notices.

Times are the object store's own, and are compared with each other only. A result goes in this order: a notice, its
manifest, then the blobs that no other manifest names. What may be needed stays:

- The results that tasks have recorded which are pending, running or paused. The records are read after the manifests
  were listed, and again before every step of removals. A failed task is not among these: its results stay as long as
  others, and a retry that comes later runs again what is gone.
- Whatever was written or touched less than `cache_grace_s` ago, unless a client wants it gone. Workers touch a result
  before they take its files from here, and a blob that they find here before they name it in a manifest. Afterwards
  they look whether it is still there.
- A blob that a manifest names which was written since.

Between the last look at an object and its removal lies one request. A worker that needs it in that moment misses it,
and runs the stage again (`worker.runner.ResultLost`).
"""
from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TypeVar

from shared.cached import MANIFEST_LIMIT_BYTES, blobs, manifests, name_of
from shared.cached.clock import read_clock
from shared.cached.notices import LIFE_S, Notice, read_notice, write_notice
from shared.documents import Status
from shared.errors import NotFound
from shared.files import FileInfo, Files
from shared.settings import Settings
from shared.store import Store
from shared.task_logs import logs, task_of

logger = logging.getLogger(__name__)

LIVE = (Status.PENDING, Status.RUNNING, Status.PAUSED)
PURGED = "purged results"
STEP = 100  # removals between two looks at the tasks
# What is not older than a client's wish by more than this is what the client means: a worker may tell a use just then,
# and where copies of a blob are linked to it, their removal changes its time (`local_tree.Entry`).
PURGE_SLACK_S = 60.0
ROUNDING_S = 1.0  # a HEAD tells times in whole seconds, a list may tell them better

Item = TypeVar("Item")


@dataclass
class Report:
    """What was removed, or would be: `{kind: how many}` and `{kind: bytes}`; what the bucket holds then."""

    counts: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    kept_count: int = 0
    kept_bytes: int = 0

    def add(self, kind: str, info: FileInfo) -> None:
        self.counts[kind] += 1
        self.sizes[kind] += info.size_bytes
        self.kept_count -= 1
        self.kept_bytes -= info.size_bytes


class Collector:
    """Remembers what the manifests name that it has read: the next pass reads the new ones only.

    `pause` is called between small steps. Whatever it raises ends the pass; the next one goes on.
    """

    def __init__(self, files: Files, store: Store, settings: Settings, *, dry_run: bool = False,
                 pause: Callable[[], None] = lambda: None) -> None:
        self._files, self._store, self._settings = files, store, settings
        self._bucket = settings.cache_bucket
        self._dry_run, self._pause = dry_run, pause
        self._named: dict[tuple[str, str], tuple[str, ...]] = {}  # {(key, etag): digests}
        self._read: dict[str, Notice | None] = {}  # {path: notice}

    def run(self) -> Report:
        """One pass.

        Raises:
            Unavailable: the object store or the store does not answer.
        """
        report = Report()
        now = read_clock(self._files, self._bucket)
        results = {name_of(info.path): info for info in self._list(manifests(self._bucket), report)}
        contents = {name_of(info.path): info for info in self._list(blobs(self._bucket), report)}
        task_logs = list(self._list(logs(self._settings), report))
        notices = self._notices(now, report)
        users = self._users(results)
        purged = self._purged(notices, results.keys())
        doomed = self._doomed(results, contents, users, purged, now, report.kept_bytes)
        gone = self._remove_results(doomed, results, report)
        wanted_gone = {digest: notice.written_at for notice in notices for digest in notice.blobs}
        wanted_gone |= {digest: now for key in gone & purged.keys() for digest in self._digests(key, results[key])}
        self._remove_contents(results.keys() - gone, contents, users, wanted_gone, now, report)
        self._remove_logs(task_logs, now, report)
        return report

    def _list(self, prefix: str, report: Report) -> Iterator[FileInfo]:
        for number, info in enumerate(self._files.find(prefix)):
            report.kept_count += 1
            report.kept_bytes += info.size_bytes
            if number % STEP == 0:
                self._pause()
            yield info

    # --- what is to go ------------------------------------------------------------------------------------------------

    def _notices(self, now: float, report: Report) -> list[Notice]:
        """Old ones go."""
        known, self._read = self._read, {}
        for info in list(self._list(f"{self._bucket}/notices/", report)):
            if now - _time(info) > LIFE_S:
                self._remove(info, "notices", report)
            else:
                self._read[info.path] = known[info.path] if info.path in known else read_notice(self._files, info)
        return [notice for notice in self._read.values() if notice]

    def _users(self, results: dict[str, FileInfo]) -> dict[str, set[str]]:
        """`{digest: the keys of the results that have it}`."""
        users: dict[str, set[str]] = defaultdict(set)
        named = {}
        for key, info in results.items():
            named[_identity(key, info)] = digests = self._digests(key, info)
            for digest in digests:
                users[digest].add(key)
        self._named = named
        return users

    def _digests(self, key: str, info: FileInfo) -> tuple[str, ...]:
        known = self._named.get(_identity(key, info))
        if known is not None:
            return known
        self._pause()
        try:
            _, data = self._files.read_range(info.path, 0, MANIFEST_LIMIT_BYTES)
            return tuple({str(about["sha256"]) for about in json.loads(data)["files"].values()})
        except NotFound:  # removed meanwhile
            return ()
        except (ValueError, TypeError, KeyError, AttributeError):
            logger.warning("a manifest in the cache cannot be read: %s", key)
            return ()

    def _purged(self, notices: list[Notice], present: Collection[str]) -> dict[str, float]:
        """`{key: when a client wanted it gone}`, without those that a task has recorded. What is made later is another
        conversion's."""
        wanted: dict[str, float] = {}
        for notice in notices:
            for key in notice.keys.intersection(present) if notice.kind == "purge" else ():
                wanted[key] = max(wanted.get(key, 0.0), notice.written_at)
        recorded: set[str] = set()
        for some in _batches(wanted, 1000):
            recorded |= self._store.stage_keys(among=some)
        return {key: at for key, at in wanted.items() if key not in recorded}

    def _doomed(self, results: dict[str, FileInfo], contents: dict[str, FileInfo], users: dict[str, set[str]],
                purged: dict[str, float], now: float, total: int) -> dict[str, tuple[str, FileInfo]]:
        """`{key: (why, manifest)}`, those first that were not used for longest."""
        doomed: dict[str, tuple[str, FileInfo]] = {}
        left = {digest: len(keys) for digest, keys in users.items()}
        by_use = sorted(results.items(), key=lambda item: (item[0] not in purged, _time(item[1])))
        needed = self._store.stage_keys(statuses=LIVE)
        for key, info in by_use:
            if key in needed:
                continue
            if key in purged and _time(info) <= purged[key] + PURGE_SLACK_S:
                why = PURGED
            elif now - _time(info) > self._settings.cache_life_s:
                why = "results that were not used for long"
            elif total > self._settings.cache_bucket_bytes and now - _time(info) > self._settings.cache_grace_s:
                why = "results above the budget"
            else:
                continue
            doomed[key] = why, info
            total -= info.size_bytes
            for digest in self._named[_identity(key, info)]:
                left[digest] -= 1
                if not left[digest] and digest in contents:
                    total -= contents[digest].size_bytes
        return doomed

    # --- removals -----------------------------------------------------------------------------------------------------

    def _remove_results(self, doomed: dict[str, tuple[str, FileInfo]], results: dict[str, FileInfo],
                        report: Report) -> set[str]:
        """The keys of the results that are gone."""
        gone: set[str] = set()
        for some in _batches(doomed, STEP):
            # Again: a task may have found a result here since the first look, and recorded it.
            needed = self._store.stage_keys(statuses=LIVE, among=some)
            going = [key for key in some if key not in needed]
            if going and not self._dry_run:
                purged = [key for key in going if doomed[key][0] == PURGED]
                write_notice(self._files, self._bucket, "removed", going, blobs={
                    digest for key in purged for digest in self._digests(key, results[key])})
            for key in going:
                why, info = doomed[key]
                if self._is_unused(info):
                    self._remove(info, why, report)
                    gone.add(key)
        return gone

    def _is_unused(self, seen: FileInfo, since: float | None = None) -> bool:
        """Whether nobody has written or touched the object since it was listed, or since then."""
        info = self._files.stat(seen.path)
        last = _time(seen) + ROUNDING_S if since is None else since
        return info is not None and info.etag == seen.etag and _time(info) <= last

    def _remove_contents(self, kept: Iterable[str], contents: dict[str, FileInfo], users: dict[str, set[str]],
                         wanted_gone: dict[str, float], now: float, report: Report) -> None:
        """Blobs that no manifest names: those of removed results, and what a killed worker has stored half.

        `wanted_gone` is `{digest: when}`, of results that a client wants gone.
        """
        kept = set(kept)
        free = {digest: info for digest, info in contents.items() if not users.get(digest, set()) & kept}
        until = {digest: wanted_gone[digest] + PURGE_SLACK_S for digest in free if digest in wanted_gone}
        free = {digest: info for digest, info in free.items()
                if now - _time(info) > self._settings.cache_grace_s or _time(info) <= until.get(digest, 0.0)}
        if not free:
            return
        for info in self._files.find(manifests(self._bucket)):  # what was written since
            if (key := name_of(info.path)) in kept and _identity(key, info) in self._named:
                continue
            for digest in self._digests(key, info):
                if self._dry_run and key not in kept:
                    continue  # it would be gone
                free.pop(digest, None)
        for digest, info in free.items():
            if self._is_unused(info, until.get(digest)):
                self._remove(info, "files of results", report)

    def _remove_logs(self, task_logs: list[FileInfo], now: float, report: Report) -> None:
        """Of tasks that are gone; and old ones of tasks that have ended."""
        of_task: dict[str, list[FileInfo]] = defaultdict(list)
        for info in task_logs:
            if now - _time(info) > self._settings.cache_grace_s:
                of_task[task_of(info.path)].append(info)
        for some in _batches(of_task, STEP):
            tasks = self._store.get_many(list(some))
            for info in chain.from_iterable(of_task[task_id] for task_id in some):
                task = tasks.get(task_of(info.path))
                old = now - _time(info) > self._settings.cache_life_s
                if task is None or (old and task.status not in LIVE):
                    self._remove(info, "logs", report)

    def _remove(self, info: FileInfo, kind: str, report: Report) -> None:
        self._pause()
        if not self._dry_run:
            self._files.delete(info.path)
        report.add(kind, info)


def _identity(key: str, info: FileInfo) -> tuple[str, str]:
    return key, info.etag


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    waiting = iter(items)
    while some := list(islice(waiting, size)):
        yield some


def _time(info: FileInfo | None) -> float:
    return info.modified_at or 0.0 if info else 0.0
