"""The probe that makes `NAME.operators.json`, on the toolchain that is always installed."""
from __future__ import annotations

from infra.operators.cases import collect
from infra.operators.probe import tool_hosts, verdicts
from shared.platforms import get_platforms
from tests.fixtures.toolhosts import installed


def test_an_operator_is_judged_by_what_becomes_of_its_models_in_the_targets_own_stages() -> None:
    installed("intel")
    cases, example = collect(), {"precision": "fp16"}
    operators = get_platforms()["intel"].operators
    with tool_hosts("intel") as (hosts, versions):
        found = {name: list(verdicts(hosts, "intel", name, cases[name][:2], example)) for name in ("Softmax", "Det")}
    assert found == {"Softmax": ["taken"], "Det": ["refused", "refused"]}
    assert "Softmax" in operators.known and "Det" in operators.refused
    assert operators.source.startswith(f"openvino {versions['openvino']}, ")
