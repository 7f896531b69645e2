"""Objects as files of one folder: `bucket/key` lies at `root/bucket/key`."""
from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from shared.errors import Damaged, InvalidRequest, NotFound, PreconditionFailed, StorageRefused, Unavailable
from shared.files import Condition, FileInfo, IfMatch, Watch
from shared.files.local_tree import Entry, Parts, Tree, entry_of
from shared.files.paths import PRIVATE_DIR
from shared.files.transfer import check_size, copy_content, copy_digested, write_whole
from shared.tls import Tls

REFUSED = (errno.EPERM, errno.EACCES, errno.EROFS, errno.ENAMETOOLONG)
NAME_TAKEN = (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOTEMPTY, errno.EEXIST)


class LocalFiles:
    """`Files` over a folder, safe between processes that share it.

    With `absolute` a path is the file system's own, `root` included, and folders are the user's: they stay when they
    become empty.
    """

    def __init__(self, root: Path, *, absolute: bool = False, lock_timeout_s: float = 10.0) -> None:
        self._root = root.resolve()
        self._tree = Tree(self._root, lock_timeout_s)
        self._absolute = absolute

    def stat(self, path: str) -> FileInfo | None:
        with _reported(path):
            found = self._tree.find(self._parts(path))
            while found is not None and (mark := self._tree.mark_of(found)) is None:
                again = self._tree.find(found.parts)
                if again == found:
                    break
                found = again  # it was replaced, and its mark removed, between the two looks
        return replace(self._info(found), mark=mark) if found else None

    def download(self, path: str, target: Path, *, max_bytes: int, etag: str | None = None,
                 watch: Watch | None = None) -> FileInfo:
        with _reported(path), self._opened(path) as (source, entry):
            if etag not in (None, entry.etag):
                raise PreconditionFailed(path)
            check_size(path, entry.size_bytes, max_bytes)
            with write_whole(target) as file:
                sha256 = copy_digested(source, file.fileno(), watch)
                self._check_unchanged(source, entry)
        return replace(self._info(entry), sha256=sha256)

    def read_range(self, path: str, start: int, length: int) -> tuple[FileInfo, bytes]:
        with _reported(path), self._opened(path) as (source, entry):
            content = os.pread(source, length, start)
            self._check_unchanged(source, entry)
        return self._info(entry), content

    def peek(self, path: str, length: int) -> tuple[FileInfo, bytes] | None:
        while (info := self.stat(path)) is not None:
            try:
                read, content = self.read_range(path, 0, length)
            except NotFound:
                return None
            if read == info:
                return info, content
        return None

    def read_url(self, path: str, life_s: float, headers: Mapping[str, str], public_url: str = "") -> str | None:
        return None

    def upload(self, source: Path, path: str, *, condition: Condition = None, immutable: bool = False,
               mark: str | None = None, sha256: str | None = None, watch: Watch | None = None) -> FileInfo:
        parts = self._parts(path)
        with source.open("rb") as file, _reported(path):
            self._check(condition, parts, path)
            if immutable:
                with suppress(OSError), self._tree.locked():  # else as any other
                    self._check(condition, parts, path)
                    return self._info(self._tree.link(source, parts))
            with self._tree.unfinished() as (fd, name):
                if sha256 is None:
                    copy_content(file.fileno(), fd, watch)
                elif copy_digested(file.fileno(), fd, watch) != sha256:
                    raise Damaged(path)
                entry = self._tree.finish(fd, parts)
                with self._tree.marked(entry, mark), self._tree.locked():
                    self._check(condition, parts, path)
                    self._tree.place(name, entry)
            return self._info(entry)

    def touch(self, path: str) -> bool:
        with _reported(path), self._tree.locked():
            return self._tree.touch(self._parts(path))

    def tag(self, path: str, tags: Mapping[str, str]) -> None:
        """Files have none."""

    def delete(self, path: str, *, seen: FileInfo | None = None) -> None:
        parts = self._parts(path)
        with _reported(path), self._tree.locked():
            found = self._tree.find(parts)
            if found is not None and (seen is None or found.etag == seen.etag):
                self._tree.remove(found, prune=not self._absolute)

    def find(self, prefix: str) -> Iterator[FileInfo]:
        if self._absolute:
            *base, name_start = prefix.removeprefix(str(self._root)).removeprefix("/").split("/")
        else:
            bucket, _, rest = prefix.partition("/")
            *below, name_start = rest.split("/")
            base = [bucket, *below]
        with _reported(prefix):
            for entry in self._tree.walk(self._checked(tuple(base)), name_start):
                yield self._info(entry)

    def ping(self) -> None:
        with _reported(""), self._tree.folder((), make=True) as folder:
            os.scandir(folder).close()

    def close(self) -> None:
        """Nothing is held open."""

    @contextmanager
    def _opened(self, path: str) -> Iterator[tuple[int, Entry]]:
        """The object's descriptor, and what is known of it."""
        parts = self._parts(path)
        source = self._tree.open(parts)
        if source is None:
            raise NotFound(f"对象不存在: {path}", f"no such object: {path}")
        try:
            yield source, entry_of(parts, os.fstat(source))
        finally:
            os.close(source)

    def _check_unchanged(self, source: int, entry: Entry) -> None:
        """Writers of ours never touch a file in place, but somebody's `cp` into the folder does."""
        if entry_of(entry.parts, os.fstat(source)) != entry:
            raise Unavailable("files", "changed while it was read")

    def _check(self, condition: Condition, parts: Parts, path: str) -> None:
        if condition is None:
            return
        found = self._tree.find(parts)
        wanted = condition.etag if isinstance(condition, IfMatch) else None
        if (found.etag if found else None) != wanted:
            raise PreconditionFailed(path)

    def _parts(self, path: str) -> Parts:
        return self._checked(tuple((path.removeprefix(f"{self._root}/") if self._absolute else path).split("/")))

    def _checked(self, parts: Parts) -> Parts:
        """What came here unchecked must not climb out of the root either."""
        if any(part in ("", ".", "..") or "\0" in part for part in parts) or parts[:1] == (PRIVATE_DIR,):
            path = "/".join(parts)
            raise InvalidRequest(f"路径不合法: {path!r}", f"not a valid path: {path!r}")
        return parts

    def _info(self, entry: Entry) -> FileInfo:
        path = "/".join(entry.parts)
        return FileInfo(f"{self._root}/{path}" if self._absolute else path, entry.size_bytes, entry.etag,
                        entry.changed_at)


@contextmanager
def _reported(path: str) -> Iterator[None]:
    """The file system's errors in the service's own terms, without the server's paths."""
    try:
        yield
    except OSError as error:
        if error.errno in NAME_TAKEN:
            raise InvalidRequest(f"路径与已有的对象冲突: {path}",
                                 f"the path runs into another object: {path}") from error
        if error.errno in REFUSED:
            raise StorageRefused(path, os.strerror(error.errno)) from error
        raise Unavailable("files", os.strerror(error.errno) if error.errno else type(error).__name__) from error


def open_local(url: str, timeout_s: float, tls: Tls) -> LocalFiles:
    return LocalFiles(Path(url.removeprefix("file:")))
