"""The objects that a path names: one object, or everything below a prefix."""
from __future__ import annotations

from itertools import islice

from shared.files import FileInfo, Files


def find_named(files: Files, path: str, most: int) -> list[FileInfo]:
    """The object at `path`, else those below it. One more than `most` is enough to see that there are too many.

    Raises:
        Unavailable.
    """
    if found := files.stat(path):
        return [found]
    below = (info for info in files.find(path + "/")
             if not info.path.endswith("/"))  # some tools store an empty object for a folder
    return list(islice(below, most + 1))
