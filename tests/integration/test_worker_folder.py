"""A worker's own folder: locked as long as it lives, and removed by the next when it is dead."""
from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from worker.main import remove_dead, work_folder
from worker.toolchains import ROOT


def test_a_lock_taken_for_a_dead_workers_while_it_is_made_is_made_again(tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    flock, removed = fcntl.flock, []

    def another_worker_is_quicker(file: Any, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not removed:
            removed.append(file.name)
            os.unlink(file.name)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", another_worker_is_quicker)
    with work_folder(tmp_path, "host.example-1") as folder:
        assert removed == [str(tmp_path / "host.example-1.lock")]
        monkeypatch.undo()
        remove_dead(tmp_path)
        assert folder.is_dir()
    assert not folder.exists()


def test_the_work_folder_of_a_dead_worker_is_removed_by_the_next(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os, sys; from pathlib import Path; from worker.main import "
                            "work_folder; folder = work_folder(Path(sys.argv[1]), 'dead'); folder.__enter__(); "
                            "os._exit(9)", tmp_path], check=False, cwd=ROOT)
    assert ended.returncode == 9 and (tmp_path / "dead").is_dir()
    with work_folder(tmp_path, "next"):
        assert not (tmp_path / "dead").exists() and not (tmp_path / "dead.lock").exists()
