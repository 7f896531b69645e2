"""Stages' logs in the object store: while they run, at their end, and when the task is gone."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.task_logs import log_path
from tests.integration.worker_kit import Bench, Running, wait_until


def read_log(bench: Bench, task_id: str, stage: str) -> bytes:
    path = log_path(bench.settings, task_id, stage)
    return bench.files.read_range(path, 0, 1 << 20)[1] if bench.files.stat(path) else b""


def test_a_log_can_be_read_while_its_stage_runs_and_whole_at_its_end(bench: Bench) -> None:
    parameters, gate = bench.gated("compile")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("compile")
    wait_until(lambda: b"waits at the gate" in read_log(bench, running.task.id, "compile"))
    assert b"through the gate" not in read_log(bench, running.task.id, "compile")
    gate.touch()
    running.end()
    wait_until(lambda: b"through the gate" in read_log(bench, running.task.id, "compile"))


def test_the_logs_of_a_deleted_task_are_removed_by_its_owner_after_its_last_words(bench: Bench) -> None:
    parameters, _ = bench.gated("compile")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("compile")
    wait_until(lambda: read_log(bench, running.task.id, "compile"))
    bench.store.delete(running.task.id)
    running.lease.beat()
    running.end()
    bench.tools.logs.close()
    assert not list(bench.files.find(f"{bench.settings.cache_bucket}/logs/{running.task.id}/"))


@pytest.mark.parametrize("make", [lambda path: path.symlink_to(path.with_name("secret")), os.mkfifo, os.mkdir])
def test_a_log_that_a_tool_has_made_something_else_of_is_not_read(bench: Bench, tmp_path: Path, make) -> None:
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / "log.txt"
    with bench.tools.logs.following("task_1", "compile", path):
        make(path)
    bench.tools.logs.close()
    assert not list(bench.files.find(f"{bench.settings.cache_bucket}/logs/task_1/"))
