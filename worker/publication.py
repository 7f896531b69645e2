"""What one claim of a task writes to the task's output, and takes back where the task does not complete.

Each write is conditional on what the claim saw at the output when it began; or, in the task's own folder, on this being
the newest claim. So a worker that slept through its lease cannot overwrite its successor's result.
"""
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shared.documents import Task
from shared.errors import ConversionFailed, PreconditionFailed
from shared.files import Condition, Files, IfAbsent, IfMatch
from shared.outputs import artefact_paths, own_folder, paths_beside
from worker import reasons


class Publication:
    """Of one claim. `is_ours` asks the store whether the claim still holds."""

    def __init__(self, files: Files, task: Task, is_ours: Callable[[], bool]) -> None:
        self._files, self._task, self._is_ours = files, task, is_ours
        self._claimed_etags: dict[str, str | None] | None = None  # the output's objects as this claim first saw them
        self._published: dict[str, str] = {}  # {path: etag} of what this claim wrote

    @property
    def paths(self) -> list[str]:
        """What this claim has written and not taken back."""
        return list(self._published)

    def look(self) -> bool:
        """See what lies at the output now; False where this claim has looked already.

        What an earlier claim has left in the task's own folder is written over.
        """
        if self._claimed_etags is not None:
            return False
        everything = [*artefact_paths(self._task), *paths_beside(self._task).values()]
        if own_folder(self._task):
            self._claimed_etags = dict.fromkeys(everything)
            return True
        with ThreadPoolExecutor(len(everything)) as pool:  # their round trips side by side
            infos = list(pool.map(self._files.stat, everything))
        self._claimed_etags = {path: info.etag if info else None for path, info in zip(everything, infos, strict=True)}
        return True

    def put(self, source: Path, path: str) -> None:
        """Write one of the output's objects.

        Raises:
            ConversionFailed: `output_conflict`: somebody else wrote there meanwhile.
        """
        etag = self._published.get(path, self._seen[path])
        condition: Condition = IfAbsent() if etag is None else IfMatch(etag)
        try:
            self._published[path] = self._upload(source, path, condition)
        except PreconditionFailed as error:
            raise ConversionFailed(reasons.OUTPUT_CONFLICT(path=path)) from error

    def withdraw(self) -> None:
        """Remove what this claim has written; not what was there before with the same content, nor what somebody else
        has put in its place.

        Raises:
            Unavailable: the objects that are left in `paths` may still be there.
        """
        for path, etag in list(self._published.items()):
            info = self._files.stat(path)
            if info is not None and info.etag == etag != self._seen[path]:
                self._files.delete(path)
                info = None
            self._seen[path] = info.etag if info else None
            del self._published[path]

    @property
    def _seen(self) -> dict[str, str | None]:
        if self._claimed_etags is None:
            raise RuntimeError("nothing is written before the claim has looked at its output")
        return self._claimed_etags

    def _upload(self, source: Path, path: str, condition: Condition) -> str:
        try:
            return self._files.upload(source, path, condition=condition).etag
        except PreconditionFailed:
            # In the task's own folder it is an earlier claim's object, whose worker may be slow. This look comes before
            # the question whether the claim still holds, so that what a later claim writes after the look stays.
            there = self._files.stat(path)
            if own_folder(self._task) is None or not self._is_ours():
                raise
            return self._files.upload(source, path, condition=IfMatch(there.etag) if there else IfAbsent()).etag
