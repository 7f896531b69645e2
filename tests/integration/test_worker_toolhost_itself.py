"""The toolhost itself: it is killed, it hangs, it is closed, it cannot start."""
from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from shared.errors import ConversionFailed
from tests.integration.toolhost_kit import Background, fail, family, run
from tests.integration.worker_kit import COVERAGE, WAIT_S, alive, wait_until
from worker.process import ToolHost, clean_environment


@pytest.fixture
def own_host() -> Iterator[ToolHost]:
    host = ToolHost("own", Path(sys.executable), (), clean_environment(COVERAGE))
    yield host
    host.close()


def test_a_killed_host_takes_its_stages_with_it_and_the_next_stage_gets_a_new_one(own_host: ToolHost,
                                                                                  tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = Background(own_host, "stay_with_family", tmp_path / "a")
    pids = family(tmp_path / "a")
    before = own_host.pid
    os.kill(before, signal.SIGKILL)
    error = first.error()
    assert isinstance(error, ConversionFailed)
    assert error.code == "killed"
    assert not alive(pids)
    assert run(own_host, "succeed", tmp_path / "b").facts["threads"] == 1
    assert own_host.pid != before


def test_an_idle_host_that_died_is_replaced_without_a_word(own_host: ToolHost, tmp_path: Path) -> None:
    for _ in range(5):
        run(own_host, "succeed", tmp_path)
        pid = own_host.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not alive([pid]))
    assert run(own_host, "succeed", tmp_path).facts["threads"] == 1


def test_a_killed_hosts_end_is_not_mistaken_for_that_of_stages_on_the_new_one(own_host: ToolHost,
                                                                              tmp_path: Path) -> None:
    stop, codes = threading.Event(), []

    def convert(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        while not stop.is_set():
            try:
                run(own_host, "succeed", folder)
                codes.append("ok")
            except ConversionFailed as error:
                codes.append(error.code)

    def wait_for_a_success() -> None:
        """The host is up: killed while it starts, it counts as broken."""
        before = codes.count("ok")
        wait_until(lambda: codes.count("ok") > before)

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(convert, number) for number in range(3)]
        try:
            for _ in range(6):
                wait_for_a_success()
                with suppress(ProcessLookupError):  # it has not been replaced yet
                    os.kill(own_host.pid, signal.SIGKILL)
            wait_for_a_success()
        finally:
            stop.set()
        for future in futures:
            future.result(WAIT_S)
    assert set(codes) <= {"ok", "killed"}
    assert codes.count("killed") <= 3 * 6
    assert "ok" in codes


def test_closing_ends_the_host_and_whatever_it_runs(tmp_path: Path) -> None:
    host = ToolHost("own", Path(sys.executable), (), clean_environment(COVERAGE))
    stage = Background(host, "stay_with_family", tmp_path)
    pids = [*family(tmp_path), host.pid]
    host.close()
    assert isinstance(stage.error(), ConversionFailed)
    assert not alive(pids)


def test_a_toolchain_that_cannot_be_imported_is_told_as_broken(tmp_path: Path) -> None:
    host = ToolHost("broken", Path(sys.executable), ("no_such_module",), clean_environment(COVERAGE))
    error = fail(host, "succeed", tmp_path)
    assert (error.code, "broken" in str(error)) == ("toolchain_broken", True)
    host.close()


def test_an_interpreter_that_is_not_there_is_told_as_broken(tmp_path: Path) -> None:
    host = ToolHost("absent", tmp_path / "python", (), {})
    assert fail(host, "succeed", tmp_path).code == "toolchain_broken"


def test_a_host_that_hangs_instead_of_forking_is_replaced(own_host: ToolHost, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    run(own_host, "succeed", tmp_path)
    os.kill(own_host.pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr("worker.watch.STARTED_WITHIN_S", 0.5)
        assert fail(own_host, "succeed", tmp_path).code == "killed"
    assert run(own_host, "succeed", tmp_path).facts["threads"] == 1
