"""One `Files` for both kinds of path: absolute ones from the file system, all others from the object store."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from shared.errors import InvalidRequest
from shared.files import Condition, FileInfo, Files, Watch
from shared.files.local import LocalFiles


class RoutedFiles:
    """`Files` over `store`, and over the folders `roots` for paths that start with `/`."""

    def __init__(self, store: Files, roots: Sequence[Path]) -> None:
        self._store = store
        resolved = {root.resolve() for root in roots}
        outermost = [root for root in resolved if resolved.isdisjoint(root.parents)]
        self._roots = [(root, LocalFiles(root, absolute=True)) for root in outermost]

    def _files(self, path: str) -> Files:
        if not path.startswith("/"):
            return self._store
        for root, files in self._roots:
            if Path(path).is_relative_to(root):
                return files
        raise InvalidRequest("该绝对路径不在允许的目录之下", "this absolute path is not below an allowed directory")

    def stat(self, path: str) -> FileInfo | None:
        return self._files(path).stat(path)

    def download(self, path: str, target: Path, *, max_bytes: int, etag: str | None = None,
                 watch: Watch | None = None) -> FileInfo:
        return self._files(path).download(path, target, max_bytes=max_bytes, etag=etag, watch=watch)

    def read_range(self, path: str, start: int, length: int) -> tuple[FileInfo, bytes]:
        return self._files(path).read_range(path, start, length)

    def peek(self, path: str, length: int) -> tuple[FileInfo, bytes] | None:
        return self._files(path).peek(path, length)

    def read_url(self, path: str, life_s: float, headers: Mapping[str, str], public_url: str = "") -> str | None:
        return self._files(path).read_url(path, life_s, headers, public_url)

    def upload(self, source: Path, path: str, *, condition: Condition = None, immutable: bool = False,
               mark: str | None = None, sha256: str | None = None, watch: Watch | None = None) -> FileInfo:
        return self._files(path).upload(source, path, condition=condition, immutable=immutable, mark=mark,
                                        sha256=sha256, watch=watch)

    def touch(self, path: str) -> bool:
        return self._files(path).touch(path)

    def tag(self, path: str, tags: Mapping[str, str]) -> None:
        self._files(path).tag(path, tags)

    def delete(self, path: str, *, seen: FileInfo | None = None) -> None:
        self._files(path).delete(path, seen=seen)

    def find(self, prefix: str) -> Iterator[FileInfo]:
        return self._files(prefix).find(prefix)

    def ping(self) -> None:
        """The store only: a folder that is away concerns nobody but who names it."""
        self._store.ping()

    def close(self) -> None:
        self._store.close()
