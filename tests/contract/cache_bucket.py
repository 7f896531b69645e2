"""A cache bucket over a folder and over a real MinIO, as the fixture `here`. Its objects are as old as a test says."""
from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.cached import blob_path, manifest_path
from shared.cached.collector import Collector, Report
from shared.documents import StageRecord, Status
from shared.errors import NotFound
from shared.files import FileInfo, Files, open_files
from shared.settings import Settings
from shared.store import Store, open_store
from tests.contract.store_model import make_task
from worker.cache import StageCache
from worker.results import StageResult, describe_files


class Aged:
    """The real store; to those who look, chosen objects are as old as a test says, until they are written or touched
    again."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.ages: dict[str, float] = {}
        self.on_upload: Callable[[str], None] = lambda path: None
        self.read: list[str] = []

    def _aged(self, info: FileInfo) -> FileInfo:
        return dataclasses.replace(info, modified_at=info.modified_at - self.ages.get(info.path, 0.0))

    def stat(self, path: str) -> FileInfo | None:
        info = self._files.stat(path)
        return self._aged(info) if info else None

    def find(self, prefix: str) -> Iterator[FileInfo]:
        return map(self._aged, list(self._files.find(prefix)))

    def read_range(self, path: str, start: int, length: int) -> tuple[FileInfo, bytes]:
        self.read.append(path)
        return self._files.read_range(path, start, length)

    def upload(self, source: Path, path: str, **options: Any) -> FileInfo:
        self.on_upload(path)
        info = self._files.upload(source, path, **options)
        self.ages.pop(path, None)
        return info

    def touch(self, path: str) -> bool:
        self.ages.pop(path, None)
        return self._files.touch(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)


class Bucket:
    """A cache bucket, a store, and a machine with a local cache."""

    def __init__(self, files: Files, store: Store, bucket: str, folder: Path) -> None:
        self.files, self.store, self.bucket, self.folder = Aged(files), store, bucket, folder
        self.cache = StageCache(folder / "cache", 1 << 40, self.files, bucket)

    def share(self, key: str, age_s: float = 0.0, **contents: bytes) -> StageResult:
        """A result with these files, used so long ago."""
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        for path in out.iterdir():
            path.unlink()
        for name, content in contents.items():
            (out / name).write_bytes(content)
        result = StageResult(key, key, describe_files(out), {}, 1.0)
        kept, hold = self.cache.keep(result, out)
        self.cache.share(kept)
        hold.close()
        self.age(age_s, manifest_path(self.bucket, key),
                 *(blob_path(self.bucket, about["sha256"]) for about in kept.files.values()))
        return kept

    def age(self, age_s: float, *paths: str) -> None:
        self.files.ages.update(dict.fromkeys(paths, age_s))

    def put(self, path: str, content: bytes, age_s: float = 0.0) -> str:
        source = self.folder / "source"
        source.write_bytes(content)
        self.files.upload(source, path)
        self.age(age_s, path)
        return path

    def orphan(self, content: bytes, age_s: float) -> str:
        return self.put(blob_path(self.bucket, hashlib.sha256(content).hexdigest()), content, age_s)

    def task(self, status: Status, *keys: str) -> str:
        task = make_task(status=status, stages=[
            StageRecord(name=key, key=key, output_digest="0" * 64, seconds=1.0, cached=False) for key in keys])
        self.store.insert(task)
        return task.id

    def settings(self, **changes: Any) -> Settings:
        return Settings(cache_bucket=self.bucket, **changes)

    def clean(self, store: Store | None = None, dry_run: bool = False, **changes: Any) -> Report:
        return Collector(self.files, store or self.store, self.settings(**changes), dry_run=dry_run).run()

    def keys(self) -> list[str]:
        return [path.split("/")[2].removesuffix(".json") for path in self.paths("stages/")]

    def paths(self, below: str = "") -> list[str]:
        return [info.path for info in self.files.find(f"{self.bucket}/{below}")]

    def read(self, result: StageResult) -> dict[str, bytes]:
        """As another machine would have it."""
        other = StageCache(self.folder / f"other-{len(list(self.folder.iterdir()))}", 1 << 40, self.files, self.bucket)
        found = other.find(result.key)
        if found is None:
            raise NotFound("没有", "none")
        target = self.folder / "placed" / str(len(list(self.folder.iterdir())))
        other.place(found, target)
        return {path.name: path.read_bytes() for path in target.iterdir()}


@pytest.fixture(params=["local", "minio"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
    url = f"file:{tmp_path}/buckets" if request.param == "local" else request.getfixturevalue("minio_url")
    name = "cache" if request.param == "local" else request.getfixturevalue("bucket")
    files, store = open_files(url, 30.0), open_store(f"sqlite:{tmp_path}/tasks.db", 30.0)
    folder = tmp_path / "machine"
    folder.mkdir()
    yield Bucket(files, store, name, folder)
    files.close()
    store.close()
