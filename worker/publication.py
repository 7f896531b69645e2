"""What one claim of a task writes to the task's output, and takes back where the task does not complete.

docs/protocol.md has the rules under "Publishing", and `shared.marks` has them as code. Each object carries the mark of
the claim that wrote it. Each write is conditional on what the claim saw at the output when it began; or, where an
earlier claim of the same task has written meanwhile, on this being the newest claim. So a worker that slept through its
lease cannot overwrite its successor's result.
"""
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shared import reasons as common
from shared.documents import Task
from shared.errors import ConversionFailed, PreconditionFailed
from shared.files import Condition, FileInfo, Files, IfAbsent, IfMatch, Watch
from shared.marks import (
    is_outdated,
    is_superseded,
    is_unsettled,
    mark_of,
    may_replace,
    may_withdraw,
    read_mark,
    write_mark,
)
from shared.outputs import MANIFEST, own_folder, paths_beside, written_paths
from shared.rules.refusal import Refusal
from worker import reasons
from worker.stages.common import PUBLISH


class Publication:
    """Of one claim. `is_ours` asks the store whether the claim still holds, `is_live` whether another task has not
    ended. `may_tell_of`: whether the client may hear of another task."""

    def __init__(self, files: Files, task: Task, is_ours: Callable[[], bool], is_live: Callable[[str], bool],
                 may_tell_of: Callable[[str], bool] = lambda task_id: True) -> None:
        self._files, self._task, self._is_ours, self._is_live = files, task, is_ours, is_live
        self._may_tell_of = may_tell_of
        self._mark = mark_of(task)
        self._seen: dict[str, FileInfo | None] | None = None  # the output's objects, as this claim found them
        self._published: dict[str, FileInfo] = {}  # what this claim wrote

    @property
    def paths(self) -> list[str]:
        """What this claim has written and not taken back."""
        return list(self._published)

    def look(self) -> bool:
        """See what lies at the output now; False where this claim has looked already.

        The object that decides is looked at first. If its task has ended then, the others are that task's last too.
        What an earlier claim has left in the task's own folder is met when it is in the way.

        Raises:
            ConversionFailed: `output_conflict`, something lies there that the task may not replace.
        """
        if self._seen is not None:
            return False
        paths = written_paths(self._task)
        if own_folder(self._task):
            self._seen = dict.fromkeys(paths)
            return True
        first = paths_beside(self._task)[MANIFEST]
        others = [path for path in paths if path != first]
        seen = {first: self._look_at(first)}
        with ThreadPoolExecutor(len(others)) as pool:  # their round trips side by side
            self._seen = seen | dict(zip(others, pool.map(self._look_at, others), strict=True))
        return True

    def put_all(self, uploads: dict[str, Path], digests: dict[str, str], watch: Callable[[str, int], None]) -> None:
        """Write the output's objects, `{path: file}`, which have these SHA-256, `{path: digest}`. The manifest goes
        first and alone: of two claims that want to write the same objects one writes it, and the other has written
        nothing. The file at `output_path` goes last.
        `watch` hears how many bytes have gone to which of them, from several threads; what it raises ends it all.

        Raises:
            ConversionFailed: `output_conflict`, somebody else wrote there meanwhile.
            Damaged: a file is not what its digest says.
        """
        first, last = paths_beside(self._task)[MANIFEST], self._task.output_path

        def put(path: str) -> None:
            watch(path, 0)
            self._put(uploads[path], path, digests[path], lambda size_bytes: watch(path, size_bytes))

        put(first)
        others = [path for path in uploads if path not in (first, last)]
        with ThreadPoolExecutor(max(1, len(others))) as pool:  # their round trips side by side
            for done in [pool.submit(put, path) for path in others]:
                done.result()
        put(last)

    def written(self, path: str) -> FileInfo:
        """The object that this claim has written there."""
        return self._published[path]

    def withdraw(self) -> None:
        """Remove what this claim has written; not what was there before with the same content, nor what a later claim
        or somebody else has put in its place. A claim that goes on after this looks anew.

        Raises:
            Unavailable: the objects that are left in `paths` may still be there.
        """
        for path, info in list(self._published.items()):
            there, before = self._files.stat(path), self._seen_at(path)
            if there is not None and there.etag == info.etag != (before.etag if before else None) and (
                    may_withdraw(read_mark(there), self._task)):
                self._files.delete(path, seen=there)
            del self._published[path]
        self._seen = None

    def _look_at(self, path: str) -> FileInfo | None:
        info = self._files.stat(path)
        mark = read_mark(info) if info else None
        if info is None or (mark and mark.task_id == self._task.id and not is_superseded(mark, self._task)):
            return info
        if not may_replace(mark, self._task) or is_superseded(mark, self._task):
            raise _conflict(common.OUTPUT_TAKEN(path=path))
        if mark is not None and is_unsettled(mark, self._task, self._is_live(mark.task_id)):
            raise _conflict(common.OUTPUT_UNSETTLED(path=path, task_id=mark.task_id)
                            if self._may_tell_of(mark.task_id) else common.OUTPUT_NOT_FREE(path=path))
        return info

    def _put(self, source: Path, path: str, sha256: str, watch: Watch) -> None:
        seen = self._published.get(path, self._seen_at(path))
        condition: Condition = IfAbsent() if seen is None else IfMatch(seen.etag)
        try:
            self._published[path] = self._upload(source, path, condition, sha256, watch)
        except PreconditionFailed as error:
            raise _conflict(reasons.OUTPUT_CONFLICT(path=path)) from error

    def _seen_at(self, path: str) -> FileInfo | None:
        if self._seen is None:
            raise RuntimeError("nothing is written before the claim has looked at its output")
        return self._seen[path]

    def _upload(self, source: Path, path: str, condition: Condition, sha256: str, watch: Watch) -> FileInfo:
        mark = write_mark(self._mark, path)
        try:
            return self._files.upload(source, path, condition=condition, mark=mark, sha256=sha256, watch=watch)
        except PreconditionFailed:
            # It may be an earlier claim's object, whose worker is slow. This look comes before the question whether the
            # claim still holds, so that what a later claim writes after the look stays.
            there = self._files.stat(path)
            if (there is not None and not is_outdated(read_mark(there), self._task)) or not self._is_ours():
                raise
            condition = IfMatch(there.etag) if there else IfAbsent()
            return self._files.upload(source, path, condition=condition, mark=mark, sha256=sha256, watch=watch)


def _conflict(refusal: Refusal) -> ConversionFailed:
    return ConversionFailed(refusal, stage=PUBLISH.name)
