"""Every command tells a setting that is wrong by a sentence that names its variable."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.worker_kit import ROOT

COMMANDS = [["infra.gc"], ["infra.gc", "--dry-run"], ["infra.triggers", "check", "-", "models-in/intel/a.onnx"],
            ["infra.bucket_events"], ["infra.toolchains", "onnx"], ["infra.gateway"], ["infra.serve"], ["worker"],
            ["worker.reproduce", "manifest.json", "a.onnx", "out"]]


def run(folder: Path, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_CONVERT_")}
    (folder / "manifest.json").write_text('{"stages": []}')
    return subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=120,
                          env=kept | {f"MODEL_CONVERT_{name}": value for name, value in settings.items()}
                          | {"PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_wrong_setting_is_told_by_a_sentence(tmp_path: Path, command: list[str]) -> None:
    done = run(tmp_path, *command, TASK_LIFE_S="a week")
    assert done.returncode != 0 and "MODEL_CONVERT_TASK_LIFE_S: " in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_a_lifetime_below_zero_or_a_place_of_an_unknown_kind_stops_the_cleaning(tmp_path: Path) -> None:
    done = run(tmp_path, "infra.gc", TASK_LIFE_S="-1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "greater than 0" in done.stderr
    done = run(tmp_path, "infra.gc", FILES_URL="ftp://x", STORE_URL=f"sqlite:{tmp_path}/tasks.db")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "unknown files scheme: ftp" in done.stderr
