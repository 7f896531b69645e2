"""Vendors' messages on their way to a client."""
from __future__ import annotations

import pytest

from worker.stages.messages import raise_if_out_of_memory, tidy

JOB = {"output_dir": "/srv/work/task/run/out", "inputs": {"fetch": {"dir": "/srv/work/task/in/fetch", "facts": {}}}}


def test_the_tasks_own_folders_are_not_told():
    error = RuntimeError("Load model from /srv/work/task/in/fetch/model.onnx failed; see /srv/work/task/run/out")
    assert tidy(error, JOB) == "Load model from model.onnx failed; see"


def test_a_vendors_source_folders_are_shortened_to_the_file():
    assert tidy(RuntimeError("at /onnxruntime_src/core/graph/model.cc:245 Model"), JOB) == "at model.cc:245 Model"


def test_a_long_message_is_cut():
    assert len(tidy(RuntimeError("x" * 5000), JOB)) < 610


@pytest.mark.parametrize("text", ["std::bad_alloc", "bad allocation", "Failed to allocate memory for requested buffer"])
def test_a_failed_allocation_is_told_from_a_bad_model(text):
    with pytest.raises(MemoryError, match=text):
        raise_if_out_of_memory(RuntimeError(text))
    raise_if_out_of_memory(RuntimeError("Invalid rank for input"))
