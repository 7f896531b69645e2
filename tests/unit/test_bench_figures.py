"""What the bench makes of its samples."""
from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.bench.figures import Bound, Line, Series

ROOT = Path(__file__).resolve().parents[2]


def test_rounds_are_compared_pair_by_pair_and_tries_by_their_quantiles() -> None:
    ours, other = (10.0, 100.0, 30.0), (5.0, 100.0, 10.0)
    assert Line("a", "rate", "req/s", Series(ours), "peer", Series(other)).ratio == 2.0
    assert Line("b", "p50", "ms", Series(ours), "peer", Series(other), paired=False).ratio == 3.0
    tail = Line("b", "p99", "ms", Series((1.0, 9.0), 1.0), "peer", Series((3.0, 2.0), 1.0), Bound(2.0), paired=False)
    assert tail.ratio == 3.0 and tail.is_missed


def test_the_peers_lock_has_its_packages_with_digests_and_the_versions_of_the_others() -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["bench"]
    locks = {name: (ROOT / f"requirements{name}.lock").read_text() for name in ("", "-dev", "-bench")}
    versions = {name: dict(re.findall(r"^(\S+)==(\S+)", text, re.MULTILINE)) for name, text in locks.items()}
    assert {re.split(r"\W", package)[0] for package in group} <= versions["-bench"].keys()
    assert len(re.findall("--hash=sha256:", locks["-bench"])) >= len(versions["-bench"])
    for name in ("", "-dev"):
        assert all(versions["-bench"].get(package, version) == version for package, version in versions[name].items())


@pytest.mark.parametrize("path", sorted((ROOT / "tests/bench/peer").glob("*.py")), ids=lambda path: path.stem)
def test_the_peer_uses_nothing_of_ours(path: Path) -> None:
    imported = re.findall(r"^\s*(?:from|import) (\S+)", path.read_text(), re.MULTILINE)
    assert not [name for name in imported if name.startswith(("shared", "worker", "infra", "functions"))]
    assert all(name.startswith("tests.bench.peer") for name in imported if name.startswith("tests"))
