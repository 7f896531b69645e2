"""What the intake does with one event; and the process that does nothing else."""
from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.deps import close_all, get_files, get_store
from shared.errors import Unavailable
from shared.store import TaskFilter
from tests.fixtures.storage_events import FORMS, load
from tests.models import convolution
from worker.intake import take_event


@pytest.fixture(autouse=True)
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MODEL_CONVERT_STORE_URL", f"sqlite:{tmp_path / 'tasks.db'}")
    monkeypatch.setenv("MODEL_CONVERT_FILES_URL", f"file:{tmp_path / 'buckets'}")
    close_all()
    yield
    close_all()


def event(key: str) -> bytes:
    return json.dumps(FORMS["minio"].body(key)).encode()


def inputs() -> list[str]:
    return [task.input_path for task in get_store().list_page(TaskFilter(), 1, 10)[0]]


def test_an_event_starts_the_conversion_of_its_object_once(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(convolution().SerializeToString())
    get_files().upload(tmp_path / "model", "models-in/intel/a b.onnx")
    for _ in range(2):
        take_event(event("intel/a b.onnx"))
    assert inputs() == ["models-in/intel/a b.onnx"]


@pytest.mark.parametrize("body, told", [
    (b"", "no JSON"), (b"\xff\x00", "no JSON"), (b"[" * 10_000, "no JSON"), (b"{}", "no form of event"),
    (b"x" * (1 << 20) + b"x", "too large"), (json.dumps(load("s3_test")).encode(), "a test message"),
    (event("intel/gone.onnx"), "the object is gone"), (event("../x.onnx"), "is not valid")])
def test_what_starts_nothing_is_told_in_the_log_and_done_with(body: bytes, told: str,
                                                              caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        take_event(body)
    assert told in caplog.text and inputs() == []


def test_a_topics_question_is_none_that_the_broker_can_bring() -> None:
    take_event(json.dumps(load("sns_confirmation")).encode())
    assert inputs() == []


def test_an_event_is_to_come_again_while_the_files_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_CONVERT_FILES_URL", "minio://k:s@127.0.0.1:9")
    monkeypatch.setenv("MODEL_CONVERT_DEPENDENCY_TIMEOUT_S", "0.3")
    close_all()
    with pytest.raises(Unavailable):
        take_event(event("intel/a.onnx"))


def test_an_intake_without_a_broker_says_so() -> None:
    ended = subprocess.run([sys.executable, "-m", "worker", "--intake"], capture_output=True, text=True, timeout=120,
                           env=os.environ | {"MODEL_CONVERT_QUEUE_URL": "poll:"})
    assert ended.returncode == 1 and "MODEL_CONVERT_QUEUE_URL should be amqp://" in ended.stderr
