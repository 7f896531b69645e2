"""Models as people send them, through the real toolchain."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.awkward import ALL
from tests.fixtures.toolhosts import HostedConversion, tool_host
from worker.process import ToolHost


@pytest.fixture(scope="module")
def host() -> Iterator[ToolHost]:
    with tool_host("intel") as host:
        yield host


@pytest.mark.parametrize("name", ALL)
def test_it_comes_out_right(host: ToolHost, tmp_path: Path, name: str) -> None:
    case = ALL[name]
    conversion = HostedConversion(host, "intel", tmp_path, case.make(),
                                  **{"verify": {"samples": 1}, **case.parameters})
    facts = conversion.run("verify")
    assert facts["passed"] and [entry["name"] for entry in facts["outputs"]] == list(case.outputs)
    bound = 0.99 if "precision" in case.parameters else 0.9999
    assert min(entry["cosine"] for entry in facts["outputs"]) > bound
    assert [entry["name"] for entry in conversion.facts["optimize"]["inputs"]] == list(case.inputs)
