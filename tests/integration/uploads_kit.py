"""A service's store and object store, with rules of the test's own, and somebody who uploads."""
from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from minio import Minio

from shared.deps import close_all, get_files, get_store
from shared.documents import Task
from shared.files.minio_http import S3Connection
from shared.settings import get_settings
from shared.store import TaskFilter
from shared.triggers.objects import StoredObject, Taken
from shared.triggers.rule_file import get_rules
from shared.triggers.sweep import SETTLE_S, Sweep
from shared.triggers.taking import take

BY_FOLDERS = '[[rule]]\nname = "uploads"\nbucket = "{bucket}"\n'


class Uploads:
    """`bucket` is where the rules look. Where it is local, `root` is the folder of the buckets."""

    def __init__(self, bucket: str, root: Path | None, client: Minio | None) -> None:
        self.bucket, self._root, self._client = bucket, root, client
        self.now = 0.0  # the sweep's clock
        self._sweep: Sweep | None = None

    def put(self, key: str, content: bytes = b"a model", metadata: Mapping[str, str] | None = None) -> str:
        if self._client is not None:
            if not self._client.bucket_exists(self.bucket):
                self._client.make_bucket(self.bucket)
            self._client.put_object(self.bucket, key, io.BytesIO(content), len(content), metadata=dict(metadata or {}))
        else:
            assert self._root is not None and not metadata
            path = self._root / self.bucket / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return key

    def remove(self, key: str) -> None:
        get_files().delete(f"{self.bucket}/{key}")

    def take(self, key: str) -> list[Taken]:
        return take(StoredObject(self.bucket, key, provider="local" if self._client is None else "minio"))

    def take_one(self, key: str) -> Taken:
        (taken,) = self.take(key)
        return taken

    def sweep(self, times: int = 1) -> list[str]:
        """The keys of the objects for which a pass has made tasks. A pass in a folder is two looks, of which the second
        finds that everything stands still."""
        found = []
        for _ in range(times * (2 if self._client is None else 1)):
            found += self.sweep_once()
            self.now += SETTLE_S
        return found

    def sweep_once(self) -> list[str]:
        if self._sweep is None:
            self._sweep = Sweep(get_files(), get_settings(), get_rules(), clock=lambda: self.now)
        return [found.key for found in self._sweep.run()]

    def forget_sweep(self) -> None:
        """Another worker's sweep is the next."""
        self._sweep = None

    def tags(self, path: str) -> dict[str, str]:
        assert self._client is not None
        return dict(self._client.get_object_tags(*path.split("/", 1)) or {})

    @staticmethod
    def tasks() -> list[Task]:
        """The oldest first."""
        return [task for task in reversed(get_store().list_page(TaskFilter(), 1, 10_000)[0]) if isinstance(task, Task)]


@pytest.fixture
def start(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Uploads]]:
    """`start(url, rules)`: a service over this object store."""
    def begin(url: str, rules: str = BY_FOLDERS) -> Uploads:
        for name in [name for name in os.environ if name.startswith("MODEL_CONVERT_") and "_TEST_" not in name]:
            monkeypatch.delenv(name)
        (tmp_path / "rules.toml").write_text("built_in = false\n" + rules.replace("{bucket}", bucket))
        for name, value in {"STORE_URL": f"sqlite:{tmp_path / 'tasks.db'}", "FILES_URL": url,
                            "TRIGGERS": str(tmp_path / "rules.toml"), "CACHE_BUCKET": f"{bucket}-cache",
                            "DEPENDENCY_TIMEOUT_S": "30"}.items():
            monkeypatch.setenv(f"MODEL_CONVERT_{name}", value)
        close_all()
        local = url.startswith("file:")
        return Uploads(bucket, Path(url.removeprefix("file:")) if local else None,
                       None if local else S3Connection(url, 30.0).small)

    yield begin
    close_all()


@pytest.fixture(params=["local", "minio"])
def files_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file:{tmp_path}/buckets" if request.param == "local" else request.getfixturevalue("minio_url")


@pytest.fixture
def uploads(start: Callable[..., Uploads], files_url: str) -> Uploads:
    return start(files_url)


@pytest.fixture
def in_minio(start: Callable[..., Uploads], minio_url: str) -> Uploads:
    return start(minio_url)


@pytest.fixture
def in_folder(start: Callable[..., Uploads], tmp_path: Path) -> Uploads:
    return start(f"file:{tmp_path}/buckets")
