"""Stages' logs in the object store: while they run, at their end, and when the task is gone."""
from __future__ import annotations

import os
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from shared.errors import ConversionFailed, Unavailable
from shared.task_logs import MAX_LOG_BYTES, log_path
from tests.integration.worker_kit import COVERAGE, LIMITS, Bench, Running, make_task, wait_until
from worker.control import TaskControl
from worker.log_sharer import LogSharer
from worker.process import ToolHost, clean_environment


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


def test_what_is_stored_is_clean_and_only_grows(bench: Bench, tmp_path: Path) -> None:
    """Who reads on by byte ranges while the stage runs reads each byte once."""
    path, said = tmp_path / "log.txt", [
        b"\x1b[32mbegun\x1b[0m in " + os.fsencode(tmp_path) + b"/out/x\nhalf a ", b"line\r\n 10%\r 50%\r", b"100%\n",
        b"Traceback (most recent call last):\n  File \"" + os.fsencode(sys.prefix) + b"/x.py\", line 1, in y\n",
        b"    z\nValueError: <a.B object at 0x7f12a4b5c6d7>\n", b"no end"]
    stored = [b""]
    with bench.tools.logs.following("task_1", "compile", path):
        for piece in said[:-1]:
            with path.open("ab") as file:
                file.write(piece)
            if b"Traceback" not in piece:
                wait_until(lambda: len(read_log(bench, "task_1", "compile")) > len(stored[-1]))
                stored.append(read_log(bench, "task_1", "compile"))
        with path.open("ab") as file:
            file.write(said[-1])
    bench.tools.logs.close()
    stored.append(read_log(bench, "task_1", "compile"))
    assert all(later.startswith(earlier) and later != earlier for earlier, later in pairwise(stored))
    assert stored[-1].decode() == ("begun in out/x\nhalf a line\n 10%\n 50%\n100%\nValueError: <a.B object>\nno end")


def test_a_log_that_could_not_be_stored_leaves_no_file_in_the_workers_folder(watched: Bench, tmp_path: Path) -> None:
    tried: list[str] = []

    def away(path: str) -> None:
        tried.append(path)
        raise Unavailable("files", "told to")

    watched.files.on_upload = away
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    logs = LogSharer(watched.files, watched.settings, scratch)
    path = tmp_path / "log.txt"
    with logs.following("task_1", "compile", path):
        path.write_text("a line\n")
    logs.close()
    assert tried and not list(scratch.iterdir())


def test_a_log_that_becomes_too_long_loses_its_older_half(bench: Bench, tmp_path: Path) -> None:
    """Not a little of it each second: who reads on sees that it is shorter than what was read."""
    path = tmp_path / "log.txt"
    lines = [b"line %06d\n" % number for number in range(2 * MAX_LOG_BYTES // 12)]
    sizes = []
    with bench.tools.logs.following("task_1", "compile", path):
        for part in (lines[:80_000], lines[80_000:100_000], lines[100_000:110_000]):
            with path.open("ab") as file:
                file.write(b"".join(part))
            wait_until(lambda last=part[-1]: read_log(bench, "task_1", "compile").endswith(last))
            sizes.append(len(read_log(bench, "task_1", "compile")))
    bench.tools.logs.close()
    first, *rest = read_log(bench, "task_1", "compile").splitlines(keepends=True)
    assert first == "…\n".encode() and rest == lines[110_000 - len(rest):110_000]
    assert sizes[0] == 960_000 and MAX_LOG_BYTES // 3 < sizes[1] < sizes[0] and sizes[1] < sizes[2] < MAX_LOG_BYTES


def test_what_a_stages_exception_says_is_cleaned_too(tmp_path: Path) -> None:
    host = ToolHost("toy", Path(sys.executable), ("json",), clean_environment(COVERAGE))
    try:
        with pytest.raises(ConversionFailed) as caught:
            host.run("tests.integration.toy_stages:fall_over_loudly", tmp_path, {}, LIMITS, TaskControl(make_task()))
    finally:
        host.close()
    assert str(caught.value) == caught.value.zh == "RuntimeError: no …/x.bin in out\n  see <a.B object>"


def test_an_interpreter_that_is_not_there_is_told_without_its_path(tmp_path: Path) -> None:
    host = ToolHost("toy", tmp_path / "no-python", (), clean_environment(()))
    with pytest.raises(ConversionFailed) as caught:
        host.run("any:thing", tmp_path, {}, LIMITS, TaskControl(make_task()))
    assert caught.value.code == "toolchain_broken" and str(tmp_path) not in str(caught.value)
