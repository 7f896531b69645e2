"""No log of a process that we start grows for ever."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from infra.processes import Processes
from infra.servers.base import LOG_BYTES, spawn


def as_supervisor_reads_it(folder: Path, *, foreground: bool) -> ServerOptions:
    command = Processes(folder, "127.0.0.1", 8000, 3).command(foreground=foreground)
    options = ServerOptions()
    options.realize(["-c", command[command.index("-c") + 1]])
    return options


def test_in_the_background_each_process_has_a_log_of_its_own_that_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "100% ours"
    options = as_supervisor_reads_it(folder, foreground=False)
    processes = [process for group in options.process_group_configs for process in group.process_configs]
    logs = [process.stdout_logfile for process in processes]
    assert {Path(log).name for log in logs} == {"gateway.log", "worker-0.log", "worker-1.log", "worker-2.log"}
    assert {Path(log).parent for log in logs} == {folder}
    bounds = {(process.stdout_logfile_maxbytes, process.stdout_logfile_backups) for process in processes}
    assert bounds == {(20 << 20, 3)} == {(options.logfile_maxbytes, options.logfile_backups)}


def test_in_the_foreground_all_write_to_our_output(tmp_path: Path) -> None:
    options = as_supervisor_reads_it(tmp_path, foreground=True)
    assert {process.stdout_logfile for group in options.process_group_configs
            for process in group.process_configs} == {"/dev/fd/1"}


@pytest.mark.parametrize("size", [LOG_BYTES, LOG_BYTES + 1])
def test_a_servers_long_log_is_set_aside_at_its_next_start(tmp_path: Path, size: int) -> None:
    log = tmp_path / "server.log"
    with log.open("wb") as file:
        file.truncate(size)
    spawn([sys.executable, "-c", "print('started')"], log).wait(60)
    assert log.read_bytes()[-8:] == b"started\n"
    assert (tmp_path / "server.log.old").exists() == (log.stat().st_size == 8) == (size > LOG_BYTES)
