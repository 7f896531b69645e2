"""A few of onnx's own node tests; all of them: python -m tests.backend_nodes --target intel."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.operators.probe import Hosts, tool_hosts
from tests.backend_nodes.cases import collect
from tests.backend_nodes.outcome import run_case
from tests.fixtures.toolhosts import installed


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    installed("intel")
    with tool_hosts("intel") as (hosts, _):
        yield hosts


@pytest.mark.parametrize(("name", "said", "happened"), [
    ("test_add", "valid", "right"), ("test_nonmaxsuppression_identical_boxes", "valid", "right"),
    ("test_det_2d", "unsupported_operator", "unsupported_operator"),
    ("test_string_concat", "unsupported_type", "unsupported_type"),
    ("test_linear_attention_delta", "valid", "right"), ("test_col2im", "unsupported_operator", "compile_failed"),
    ("test_dft_axis", "unsupported_operator", "unsupported_operator"),  # the axis is an input
    ("test_tile", "unsupported_operator", "unsupported_operator"),  # and so are the repeats
    *((f"test_resize_{name}", "unsupported_operator", "unsupported_operator") for name in (
        "downsample_sizes_linear_antialias", "downsample_sizes_nearest_not_larger")),
    ("test_nonmaxsuppression_iou_threshold_boundary", "valid", "right"),
    *((f"test_bitshift_{name}", "valid", "right") for name in (
        "left_int8_overflow", "left_int32_shift_ge_width", "right_int32_negative_input", "right_int8_negative_shift")),
    ("test_attention_24_fullymasked_qk_matmul_output_mode3_zero_expanded", "valid", "right"),
    *((f"test_{name}", "valid", "right") for name in ("gru_batchwise", "lstm_batchwise", "simple_rnn_batchwise")),
])
def test_a_node_comes_out_right_or_is_refused_as_the_pre_flight_said(hosts: Hosts, name: str, said: str, happened: str
                                                                    ) -> None:
    outcome = run_case(hosts, "intel", next(case for case in collect(pattern=name) if case.name == name))
    assert (outcome.said, outcome.happened, outcome.fault) == (said, happened, ""), outcome.why
