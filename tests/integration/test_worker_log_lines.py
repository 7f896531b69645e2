"""What a running stage says: from the tool's log through a real worker into the task and the event stream."""
from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import transitions
from shared.api import event_stream
from shared.deps import close_all
from shared.documents import Status, Task
from tests.integration.toy_models import small_model
from tests.integration.worker_kit import Bench, WorkerProcess, make_settings, wait_until

WAITS = "waits at the gate"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path, {})
    bench.upload("in/model.onnx", small_model())
    return bench


@pytest.fixture
def worker(bench: Bench) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(make_settings(bench.folder, grace_s=60.0)).wait_ready()
    yield worker
    worker.terminate()


def read(bench: Bench, task: Task) -> Task:
    found = bench.store.get(task.id)
    assert found is not None
    return found


def shows(task: Task) -> bool:
    return (task.stage, task.log_lines) == ("compile", [WAITS])


def test_the_last_lines_are_in_the_task_while_its_stage_runs_and_gone_with_it(bench: Bench,
                                                                              worker: WorkerProcess) -> None:
    parameters, gate = bench.gated("compile")
    task = bench.submit(parameters=parameters)
    running = wait_until(lambda: shows(found := read(bench, task)) and found)
    beat = running.beat
    wait_until(lambda: read(bench, task).beat > beat + 3)
    assert read(bench, task).event_count == running.event_count, "a beat is no event"
    assert bench.store.update(task.id, transitions.pause())
    assert read(bench, task).log_lines == [WAITS], "it stands still, and nothing is lost"
    assert bench.store.update(task.id, transitions.resume())
    gate.touch()
    ended = wait_until(lambda: (found := read(bench, task)).status is Status.COMPLETED and found)
    assert ended.log_lines == []


def test_the_event_stream_tells_what_the_stage_says(bench: Bench, worker: WorkerProcess,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MODEL_CONVERT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MODEL_CONVERT_STORE_URL", bench.settings.store_url.get_secret_value())
    close_all()
    parameters, gate = bench.gated("compile")
    task = bench.submit(parameters=parameters)
    follower = event_stream.Follower(task.id, 0)
    told: list[dict[str, Any]] = []

    def hear() -> list[dict[str, Any]]:
        new = follower.look(event_stream.get_store().get(task.id))
        frames = [frame.split(b"\ndata: ") for frame in new.split(b"\n\n") if frame]
        told.extend(json.loads(data) for head, data in frames if head == b"event: progress")
        return told

    try:
        wait_until(lambda: {"stage": "compile", "log_lines": [WAITS]}.items() <= hear()[-1].items())
        assert 0 < told[-1]["percent"] < 100
        gate.touch()
        wait_until(lambda: hear() and follower.ended)
        assert told[-1] == {"stage": "publish", "percent": 100.0, "log_lines": []}
    finally:
        close_all()
