"""A few of onnx's own node tests; all of them: python -m tests.backend_nodes --target qualcomm."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.operators.probe import Hosts, tool_hosts
from tests.backend_nodes.cases import collect
from tests.backend_nodes.outcome import run_case
from tests.fixtures.toolhosts import installed


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    installed("qualcomm")
    with tool_hosts("qualcomm") as (hosts, _):
        yield hosts


@pytest.mark.parametrize(("name", "said", "happened"), [
    ("test_add", "valid", "right"), ("test_add_uint8", "unsupported_operator", "unsupported_operator"),
    ("test_slice", "unsupported_operator", "unsupported_operator"), ("test_stft", "uncertain", "compile_failed"),
    ("test_shape", "unsupported_operator", "unsupported_operator"),  # a constant: nothing is left to compute
    # Forms that the compiler does not take, or computes something else of, and that `prepare` writes in another.
    *((f"test_{name}", "valid", "right") for name in (
        "gemm_all_attributes", "gemm_beta", "max_one_input", "mean_one_input", "pow_types_float32_int64",
        "gather_elements_negative_indices", "scatter_elements_with_negative_indices", "lstm_batchwise",
        "gru_batchwise", "averagepool_2d_pads", "averagepool_2d_same_upper", "averagepool_2d_dilations")),
    ("test_softmax_large_number", "valid", "right"), ("test_cast_FLOAT_to_FLOAT16", "valid", "right but for NaN"),
    ("test_isnan", "unsupported_operator", "unsupported_operator"),  # an infinity is a NaN to it
    # Values beside edges.
    *((f"test_{name}", "valid", "right") for name in (
        "tan", "gridsample_nearest", "gridsample_nearest_align_corners_1_additional_1",
        "attention_23_boolmask_fullymasked_row_nan_robustness_expanded")),
    ("test_layer_normalization_3d_axis2_epsilon", "unsupported_operator", "unsupported_operator"),  # two more outputs
    ("test_lppool_2d_same_upper", "uncertain", "verify_failed"),  # the simulator's process dies
])
def test_a_node_comes_out_right_or_is_refused_as_the_pre_flight_said(hosts: Hosts, name: str, said: str, happened: str
                                                                    ) -> None:
    outcome = run_case(hosts, "qualcomm", next(case for case in collect(pattern=name) if case.name == name))
    assert (outcome.said, outcome.happened, outcome.fault) == (said, happened, ""), outcome.why
