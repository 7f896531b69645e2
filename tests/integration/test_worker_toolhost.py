"""The toolhost's children, with real processes: how a stage ends, and that nothing of it is left."""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from shared.errors import ConversionFailed
from tests.integration.toolhost_kit import Background, fail, family, run, wait_until_all_stand_still
from tests.integration.worker_kit import COVERAGE, WAIT_S, alive, wait_until
from worker.process import ToolHost, clean_environment
from worker.watch import Interrupted, StageLimits


@pytest.fixture(scope="module")
def shared_host() -> Iterator[ToolHost]:
    os.environ["MODEL_CONVERT_STORE_URL"] = "mongodb://user:hunter2@example/db"
    try:
        host = ToolHost("toy", Path(sys.executable), ("json",), clean_environment(COVERAGE))
    finally:
        del os.environ["MODEL_CONVERT_STORE_URL"]
    yield host
    host.close()


@pytest.fixture
def host(shared_host: ToolHost) -> Iterator[ToolHost]:
    yield shared_host
    with psutil.Process(shared_host.pid).oneshot():
        assert not [p for p in psutil.Process(shared_host.pid).children(recursive=True)
                    if p.status() != psutil.STATUS_ZOMBIE]


# --- how it ends ------------------------------------------------------------------------------------------------------


def test_a_stage_runs_in_its_own_directory_and_answers_its_facts_and_files(host: ToolHost, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    ended = run(host, "succeed", tmp_path, on_progress=lambda *args: told.append(args))
    assert ended.facts == {"threads": 1, "cwd": str(tmp_path), "stdin": ""}
    assert (tmp_path / "out/out.bin").read_bytes() == b"result"
    assert (tmp_path / "log.txt").read_text() == "working\n"
    assert told == [(40.0, "half way")]
    assert ended.peak_memory_bytes > 1 << 20


def test_no_credential_reaches_a_stage(host: ToolHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_CONVERT_FILES_URL", "minio://key:hunter2@example")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    facts = run(host, "show_environment", tmp_path).facts
    assert "hunter2" not in str(facts)
    assert facts["environment"]["HOME"] == facts["environment"]["TMPDIR"] == str(tmp_path)
    assert facts["flags"] == 1  # isolated: nothing of the user's own site or PYTHONPATH


def test_the_environment_is_an_allowlist_that_settings_may_extend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_HOME", "/opt/vendor")
    assert "VENDOR_HOME" not in clean_environment(())
    assert clean_environment(("VENDOR_HOME", "NOT_SET"))["VENDOR_HOME"] == "/opt/vendor"


def test_a_stage_inherits_no_socket_of_the_host_and_no_file_of_the_worker(host: ToolHost, tmp_path: Path) -> None:
    with (tmp_path / "workers-own").open("w"):
        found = run(host, "show_descriptors", tmp_path).facts["open"]
    assert not [name for name in found if "socket" in name or "workers-own" in name]


def test_a_refusal_carries_the_stages_code_message_hint_and_vendor_code(host: ToolHost, tmp_path: Path) -> None:
    error = fail(host, "refuse", tmp_path)
    assert (error.code, str(error), error.hint) == ("unsupported_operator", "no rule for Frobnicate", "remove it")
    assert error.vendor_code == "E10001"
    assert (error.refusal.message_zh, error.refusal.hint_zh) == ("没有 Frobnicate 的规则", "去掉它")


def test_a_refusal_that_no_store_could_hold_is_made_storable(host: ToolHost, tmp_path: Path) -> None:
    error = fail(host, "refuse_strangely", tmp_path)
    assert (error.code, str(error), error.vendor_code) == ("compile_failed", "nul  and surrogate ?", "17")


def test_a_refusal_with_a_code_that_is_not_in_the_table_is_a_crash(host: ToolHost, tmp_path: Path) -> None:
    error = fail(host, "refuse_with_unknown_code", tmp_path)
    assert error.code == "stage_crashed" and "'odd?'" in str(error)


def test_an_exception_is_a_crash_with_the_end_of_the_log(host: ToolHost, tmp_path: Path,
                                                         caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    error = fail(host, "fall_over", tmp_path)
    assert error.code == "stage_crashed"
    assert str(error) == "RuntimeError: boom"
    assert sorted(error.log_tail.splitlines()) == ["RuntimeError: boom", "the last line before the fall"]
    assert "Traceback" in caplog.text and "toy_stages.py" in caplog.text, "the operator sees all of it"


@pytest.mark.parametrize(("entry", "code", "message"), [
    ("segfault", "stage_crashed", "SIGSEGV"),
    ("exit_quietly", "stage_crashed", "code 3"),
    ("allocate_too_much", "out_of_memory", "more memory"),
    ("fail_in_cpp", "out_of_memory", "more memory"),
    ("leave_nan", "stage_crashed", "without a result"),
    ("leave_much", "stage_crashed", "no readable result"),
    ("leave_link", "stage_crashed", "no readable result"),
    ("leave_list", "stage_crashed", "no readable result"),
    ("burn_cpu", "timeout", "CPU time"),
    ("no_such_function", "stage_crashed", "AttributeError"),
])
def test_a_bad_end_has_its_code(host: ToolHost, tmp_path: Path, entry: str, code: str, message: str) -> None:
    error = fail(host, entry, tmp_path, StageLimits(time_s=300, memory_bytes=2 << 30, disk_bytes=64 << 20))
    assert error.code == code
    assert message in str(error)


def test_the_log_tail_is_short_and_starts_with_a_whole_line(host: ToolHost, tmp_path: Path) -> None:
    tail = fail(host, "write_log", tmp_path).log_tail
    assert len(tail) <= 4000
    assert tail.endswith("line 1999\nprogress\n")
    assert tail.splitlines()[0].startswith(("line ", "progress"))


# --- limits -----------------------------------------------------------------------------------------------------------


def test_the_time_limit_ends_a_stage(host: ToolHost, tmp_path: Path) -> None:
    error = fail(host, "sleep_long", tmp_path, StageLimits(time_s=0.5, memory_bytes=4 << 30, disk_bytes=1 << 30))
    assert error.code == "timeout"


def test_the_memory_limit_is_the_whole_groups(host: ToolHost, tmp_path: Path) -> None:
    limits = StageLimits(WAIT_S, memory_bytes=400 << 20, disk_bytes=1 << 30)
    assert fail(host, "feed_grandchildren", tmp_path, limits).code == "out_of_memory"


def test_the_peak_memory_of_a_stage_is_told(host: ToolHost, tmp_path: Path) -> None:
    assert 150 << 20 < run(host, "touch_memory", tmp_path).peak_memory_bytes < 1 << 30


def test_a_file_above_the_limit_is_refused_while_it_is_written(host: ToolHost, tmp_path: Path) -> None:
    error = fail(host, "write_large_file", tmp_path, StageLimits(60, memory_bytes=4 << 30, disk_bytes=1 << 20))
    assert error.code in ("disk_full", "stage_crashed")  # Python turns SIGXFSZ into "File too large"
    assert (tmp_path / "out/large").stat().st_size <= 1 << 20


def test_many_files_together_count_against_the_disk_limit(host: ToolHost, tmp_path: Path) -> None:
    error = fail(host, "write_many_files", tmp_path, StageLimits(60, memory_bytes=4 << 30, disk_bytes=10 << 20))
    assert error.code == "disk_full"


def test_a_stage_that_found_the_disk_full_fails_of_that_though_there_is_room_when_the_worker_looks(
        host: ToolHost, tmp_path: Path) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")  # not even the reason can be written
    before = host.pid
    assert fail(host, "say_much", tmp_path).code == "disk_full"
    assert host.pid == before


def test_nonsense_in_the_progress_pipe_hurts_nobody(host: ToolHost, tmp_path: Path) -> None:
    told: list[float] = []
    before = host.pid
    run(host, "write_nonsense_progress", tmp_path, on_progress=lambda percent, text: told.append(percent))
    assert told == [70.0]
    assert host.pid == before


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["leave_family", "leave_family_and_crash"])
def test_a_stages_grandchildren_and_daemons_end_with_it(host: ToolHost, tmp_path: Path, entry: str) -> None:
    try:
        run(host, entry, tmp_path)
    except ConversionFailed:
        assert entry == "leave_family_and_crash"
    pids = family(tmp_path)
    assert len(pids) == 4
    assert not alive(pids)


def test_stop_kills_the_whole_group(host: ToolHost, tmp_path: Path) -> None:
    stage = Background(host, "stay_with_family", tmp_path)
    pids = family(tmp_path)
    assert alive(pids) == pids
    stage.control.observe(None)
    assert isinstance(stage.error(), Interrupted)
    assert not alive(pids)


def test_a_paused_stage_stands_still_and_goes_on_where_it_stood(host: ToolHost, tmp_path: Path) -> None:
    stage = Background(host, "burn", tmp_path)
    beats = tmp_path / "out/beats"
    wait_until(beats.exists)
    stage.observe("paused")
    wait_until_all_stand_still(host)
    stood = beats.read_text()
    time.sleep(0.3)
    assert beats.read_text() == stood
    stage.observe("running")
    wait_until(lambda: beats.read_text() != stood)
    assert int(beats.read_text()) > int(stood)
    stage.control.observe(None)
    assert isinstance(stage.error(), Interrupted)


def test_a_paused_group_stands_still_as_a_whole(host: ToolHost, tmp_path: Path) -> None:
    stage = Background(host, "stay_with_family", tmp_path)
    pids = family(tmp_path)
    stage.observe("paused")
    wait_until(lambda: all(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in pids))
    stage.control.observe(None)
    assert isinstance(stage.error(), Interrupted)
    assert not alive(pids)


def test_frozen_time_does_not_count_against_the_time_limit(host: ToolHost, tmp_path: Path) -> None:
    stage = Background(host, "burn", tmp_path, StageLimits(4.0, memory_bytes=4 << 30, disk_bytes=1 << 30))
    wait_until((tmp_path / "out/beats").exists)
    stage.observe("paused")
    time.sleep(4.5)
    assert not stage.future.done()
    stage.observe("running")
    error = stage.error()
    assert isinstance(error, ConversionFailed)
    assert error.code == "timeout"


def test_a_stage_paused_for_longer_than_the_hold_time_is_given_up(host: ToolHost, tmp_path: Path) -> None:
    stage = Background(host, "burn", tmp_path, StageLimits(2 * WAIT_S, 4 << 30, 1 << 30, hold_s=0.5))
    wait_until((tmp_path / "out/beats").exists)
    stage.observe("paused")
    assert isinstance(stage.error(), Interrupted)


def test_a_frozen_stage_goes_on_when_the_worker_only_wants_to_drain(host: ToolHost, tmp_path: Path) -> None:
    stage = Background(host, "burn", tmp_path)
    beats = tmp_path / "out/beats"
    wait_until(beats.exists)
    stage.observe("paused")
    wait_until_all_stand_still(host)
    stage.observe("running")
    stage.control.release()
    stood = beats.read_text()
    wait_until(lambda: beats.read_text() != stood)
    stage.control.give_up = True
    assert isinstance(stage.error(), Interrupted)


def test_several_stages_run_at_once_and_a_crash_hurts_only_its_own(host: ToolHost, tmp_path: Path) -> None:
    entries = ["touch_memory", "segfault", "touch_memory", "fall_over", "touch_memory", "leave_family_and_crash"]
    with ThreadPoolExecutor(len(entries)) as pool:
        futures = [pool.submit(run, host, entry, tmp_path / str(number)) for number, entry in enumerate(entries)
                   if (tmp_path / str(number)).mkdir() is None]
        errors = [future.exception(WAIT_S) for future in futures]
    assert [error is None for error in errors] == [entry == "touch_memory" for entry in entries]
