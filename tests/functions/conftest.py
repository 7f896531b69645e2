from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import onnx
import pytest

from infra.servers.base import Server
from shared.deps import close_all, get_files, get_store
from shared.documents import Task, new_task_id
from shared.files import Files
from shared.settings import get_settings
from shared.store import Store, TaskFilter
from tests.functions.service import Caller, call_alone, call_over_http, serve_gateway
from tests.functions.validating import Put


@pytest.fixture(scope="package")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The embedded profile in a folder of its own, for this process and for those it starts."""
    folder = tmp_path_factory.mktemp("service")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MODEL_CONVERT_") and "_TEST_" not in name]:
            patch.delenv(name)
        patch.setenv("MODEL_CONVERT_STORE_URL", f"sqlite:{folder / 'tasks.db'}")
        patch.setenv("MODEL_CONVERT_FILES_URL", f"file:{folder / 'buckets'}")
        patch.setenv("MODEL_CONVERT_DEPENDENCY_TIMEOUT_S", "15")  # what happens after a timeout has tests of its own
        patch.setenv("MODEL_CONVERT_REQUEST_S", "60")
        patch.setenv("MODEL_CONVERT_PREFLIGHT_S", "60")  # else create accepts what it could not look at in time
        close_all()
        yield folder
    close_all()


@pytest.fixture(scope="package")
def gateway(data_dir: Path) -> Iterator[Server]:
    server = serve_gateway(data_dir, dict(os.environ), "--processes", "2")
    yield server
    server.stop()


@pytest.fixture
def serve(data_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a gateway over the same folder, with settings of the test's own."""
    with ExitStack() as started:
        def serve(*options: str, **settings: str) -> Server:
            env = dict(os.environ) | {f"MODEL_CONVERT_{name.upper()}": value for name, value in settings.items()}
            server = serve_gateway(tmp_path, env, *(options or ("--processes", "2", "--threads", "2")))
            started.callback(server.stop)
            return server

        yield serve


@pytest.fixture(scope="package")
def alone(data_dir: Path) -> Caller:
    return call_alone({})


@pytest.fixture(params=["alone", "gateway"])
def call(request: pytest.FixtureRequest, alone: Caller) -> Caller:
    """Each test runs twice: every function alone under functions-framework, and all of them behind the gateway."""
    return alone if request.param == "alone" else call_over_http(request.getfixturevalue("gateway").url)


@pytest.fixture
def store(data_dir: Path) -> Store:
    """The service's store, emptied."""
    store = get_store()
    for task in store.list_page(TaskFilter(), 1, 10_000)[0]:
        store.delete(task.id)
    for worker in store.workers():
        store.remove_worker(worker.id)
    return store


@pytest.fixture
def files(data_dir: Path) -> Files:
    return get_files()


@pytest.fixture
def add(store: Store) -> Callable[..., Task]:
    """Put a task into the store, in whatever state."""
    def add(**fields: object) -> Task:
        task_id = fields.setdefault("id", new_task_id())
        task = Task.model_validate({
            "task_type": "onnx_to_om", "platform": "huawei", "input_path": "models/input.onnx",
            "output_path": f"results/{task_id}/input.om", "queue_order": 0.0, "created_at": 1704110400.0,
            "updated_at": 1704110400.0} | fields)
        store.insert(task)
        return task

    return add


@pytest.fixture(scope="package")
def closed_gateway(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = dict(os.environ) | {"MODEL_CONVERT_AUTH": "keys"}
    server = serve_gateway(tmp_path_factory.mktemp("closed"), env, "--processes", "1")
    yield server
    server.stop()


@pytest.fixture
def closed(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MODEL_CONVERT_AUTH", "keys")
    monkeypatch.setenv("MODEL_CONVERT_PUBLIC_URL", "http://127.0.0.1:1")  # a function alone gives URLs of uploads too
    get_settings.cache_clear()
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture(params=["alone", "gateway"])
def guarded(request: pytest.FixtureRequest, alone: Caller, closed: None) -> Caller:
    """The functions where keys are needed."""
    return alone if request.param == "alone" else call_over_http(request.getfixturevalue("closed_gateway").url)


_number = count()


@pytest.fixture
def put(files: Files, tmp_path: Path) -> Put:
    """Upload bytes or a model; each path is used once, since what was found out is kept."""
    def put(content: onnx.ModelProto | bytes, name: str = "") -> str:
        source = tmp_path / "upload"
        source.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        path = name or f"models/{os.getpid()}-{next(_number)}/m.onnx"
        files.upload(source, path)
        return path

    return put
