"""Uploads that no task names: nothing of them was written for long, and they are gone in two steps (`leaving`)."""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from shared.cached.clock import read_clock
from shared.files import FileInfo, Files
from shared.lifetimes.leaving import BOUNDARY_S, find_leaving, forget_leaving
from shared.settings import Settings
from shared.store import Store
from shared.uploads.records import RECORD, UPLOAD_ID, upload_of

STEP = 100  # objects between two pauses


@dataclass(frozen=True)
class UnusedUpload:
    """`noted`: it is known that it is to go. `may_go`: for so long that no request can name it any more."""

    id: str
    objects: tuple[FileInfo, ...]
    noted: bool
    may_go: bool

    @property
    def size_bytes(self) -> int:
        return sum(info.size_bytes for info in self.objects)


def find_unused(files: Files, store: Store, settings: Settings, life_s: float, pause: Callable[[], None]
                ) -> list[UnusedUpload]:
    """Uploads that no task names, and of which nothing was written for so long.

    The order counts: the notes are read before the tasks, so that a task that was stored before a note's time was over
    is among them.

    Raises:
        Unavailable.
    """
    now = read_clock(files, settings.cache_bucket)
    notes = find_leaving(files, settings)
    old = {upload_id: objects for upload_id, objects in _find(files, settings, pause).items()
           if all(now - (info.modified_at or now) > life_s for info in objects)}
    named = store.named(f"{settings.uploads_bucket}/", _pattern(settings)) if old else set()
    return [UnusedUpload(upload_id, tuple(objects), upload_id in notes,
                         upload_id in notes and now - (notes[upload_id].modified_at or now) > BOUNDARY_S)
            for upload_id, objects in old.items() if upload_id not in named]


def forget_others(files: Files, settings: Settings, unused: list[UnusedUpload]) -> None:
    """Remove the notes of uploads that are not to go any more: named after all, written to, or gone.

    Raises:
        Unavailable.
    """
    for upload_id in find_leaving(files, settings).keys() - {upload.id for upload in unused}:
        forget_leaving(files, settings, upload_id)


def remove_unused(files: Files, settings: Settings, upload: UnusedUpload) -> None:
    """The record goes last, so that an upload that is half gone is known as one. Raises Unavailable."""
    for info in sorted(upload.objects, key=lambda info: info.path.endswith(f"/{RECORD}")):
        files.delete(info.path)
    forget_leaving(files, settings, upload.id)


def _find(files: Files, settings: Settings, pause: Callable[[], None]) -> dict[str, list[FileInfo]]:
    """`{upload id: its objects}`. Others may have put something into the bucket; that is left alone."""
    found: dict[str, list[FileInfo]] = defaultdict(list)
    for number, info in enumerate(files.find(f"{settings.uploads_bucket}/")):
        upload = upload_of(info.path)
        if upload is not None:
            found[upload[1]].append(info)
        if number % STEP == 0:
            pause()
    return found


def _pattern(settings: Settings) -> re.Pattern[str]:
    return re.compile(re.escape(settings.uploads_bucket) + f"/(?:tenant-[a-z0-9-]+/)?({UPLOAD_ID.pattern})")
