"""A few of onnx's own node tests; all of them: python -m tests.backend_nodes --target rockchip."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.operators.probe import Hosts, tool_hosts
from tests.backend_nodes.cases import collect
from tests.backend_nodes.outcome import run_case
from tests.fixtures.toolhosts import installed


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    installed("rockchip")
    with tool_hosts("rockchip") as (hosts, _):
        yield hosts


@pytest.mark.parametrize(("name", "said", "happened"), [
    ("test_add", "valid", "right"), ("test_add_uint8", "unsupported_type", "unsupported_type"),
    ("test_tfidfvectorizer_tf_only_bigrams_skip0", "unsupported_operator", "unsupported_operator"),
    ("test_mvn", "unsupported_operator", "unsupported_operator"),
    ("test_shape", "unsupported_operator", "unsupported_operator"),  # a constant: nothing is left to compute
    # Forms that the tool breaks on, and that `prepare` writes in another.
    *((f"test_{name}", "valid", "right") for name in (
        "gridsample", "gridsample_bicubic", "gridsample_zeros_padding", "einsum_batch_matmul", "einsum_inner_prod",
        "max_one_input")),
    # A row that is masked whole.
    ("test_attention_23_boolmask_fullymasked_row_nan_robustness", "uncertain", "right"),
])
def test_a_node_comes_out_right_or_is_refused_as_the_pre_flight_said(hosts: Hosts, name: str, said: str, happened: str
                                                                    ) -> None:
    outcome = run_case(hosts, "rockchip", next(case for case in collect(pattern=name) if case.name == name))
    assert (outcome.said, outcome.happened, outcome.fault) == (said, happened, ""), outcome.why
