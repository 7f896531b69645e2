"""Which toolchains' tests a change asks for."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shared.platforms import get_platforms
from tests.suites import changed_files, select_targets

ALL = {*get_platforms(), "onnx"}


@pytest.mark.parametrize(("changed", "targets"), [
    ("README.md", set()),
    ("shared/store/mongo.py", set()),
    ("functions/create_task/main.py", set()),
    ("worker/platforms/rockchip/compile.py", {"rockchip"}),
    ("worker/platforms/intel/requirements.lock", {"intel"}),
    ("shared/platforms/qualcomm_chips.py", {"qualcomm"}),
    ("tests/toolchains/huawei/test_service.py", {"huawei"}),
    ("tests/toolchains/onnx/test_memory.py", {"onnx"}),
    ("worker/runner.py", ALL),
    ("worker/stages/fetch.py", ALL),
    ("shared/rules/models.py", ALL),
    ("shared/platforms/base.py", ALL),
    ("shared/platforms/__init__.py", ALL),
    ("infra/toolchains.py", ALL),
    ("tests/fixtures/stages.py", ALL),
    ("tests/standins/atc/stages.py", ALL),
])
def test_a_change_asks_for_the_targets_that_it_can_touch(changed: str, targets: set[str]) -> None:
    assert select_targets([changed]).keys() == targets


def test_a_selected_target_names_the_file_that_asks_for_it() -> None:
    path = "worker/platforms/intel/plan.py"
    assert select_targets(["README.md", path]) == {"intel": path}


def test_what_differs_from_the_commit_where_the_branch_left_main_has_changed(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments], cwd=tmp_path,
                       check=True, capture_output=True)

    def commit(name: str) -> None:
        (tmp_path / name).write_text(name)
        git("add", name)
        git("commit", "-m", name)

    git("init", "-b", "main")
    commit("old")
    assert changed_files(tmp_path).count("old") == 1, "main is not known: every file counts"
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    assert changed_files(tmp_path) == []
    commit("committed")
    (tmp_path / "old").write_text("edited")
    (tmp_path / "new").write_text("new")
    assert sorted(changed_files(tmp_path)) == ["committed", "new", "old"]
