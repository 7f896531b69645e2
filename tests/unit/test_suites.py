"""Which toolchains' tests a change asks for."""
from __future__ import annotations

import pytest

from shared.platforms import get_platforms
from tests.suites import select_targets

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
    ("tests/fixtures/stages.py", ALL),
])
def test_a_change_asks_for_the_targets_that_it_can_touch(changed: str, targets: set[str]) -> None:
    assert select_targets([changed]).keys() == targets


def test_a_selected_target_names_the_file_that_asks_for_it() -> None:
    path = "worker/platforms/intel/plan.py"
    assert select_targets(["README.md", path]) == {"intel": path}
