"""Uploads that are about to go. A note in the cache bucket says so, `BOUNDARY_S` before the first object is removed.

A request that names such an upload is refused. One that came before the note has stored its task when the time is over,
for it takes no longer; then the upload is named, and stays. So no upload goes under the hands of a new task. Only a
process that stood still between its look and its write for all that time may still name what is gone; its task fails at
once and says that its input is not there.
"""
from __future__ import annotations

from shared.cached.notices import put_json
from shared.files import FileInfo, Files
from shared.settings import Settings

BOUNDARY_S = 60.0  # longer than any request takes


def is_leaving(files: Files, settings: Settings, upload_id: str) -> bool:
    """Raises Unavailable."""
    return files.stat(_path(settings, upload_id)) is not None


def find_leaving(files: Files, settings: Settings) -> dict[str, FileInfo]:
    """`{upload id: the note, as it lies there}`. Raises Unavailable."""
    folder = _folder(settings)
    return {info.path.removeprefix(folder).removesuffix(".json"): info for info in files.find(folder)}


def note_leaving(files: Files, settings: Settings, upload_id: str) -> None:
    """Raises Unavailable."""
    put_json(files, _path(settings, upload_id), {"upload_id": upload_id})


def forget_leaving(files: Files, settings: Settings, upload_id: str) -> None:
    """Raises Unavailable."""
    files.delete(_path(settings, upload_id))


def _folder(settings: Settings) -> str:
    return f"{settings.cache_bucket}/leaving/"


def _path(settings: Settings, upload_id: str) -> str:
    return f"{_folder(settings)}{upload_id}.json"
