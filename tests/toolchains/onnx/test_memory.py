"""The reference stage in its own interpreter, with too little memory."""
from __future__ import annotations

from pathlib import Path

import pytest

from tests import models
from tests.fixtures.stages import Conversion
from worker.stage_api import StageError


def test_memory_that_cannot_be_had_is_no_fault_of_the_model(tmp_path: Path) -> None:
    rows = 1 << 14
    conversion = Conversion(tmp_path, models.filled(rows, rows), own_interpreter=True, memory_bytes=1 << 30)
    with pytest.raises(StageError) as caught:
        conversion.run("reference")
    assert caught.value.code == "out_of_memory"
