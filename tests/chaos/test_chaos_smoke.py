"""A few chaos runs of fixed seeds: no invariant is broken while processes die, freeze and lose their servers."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.servers.base import CannotStart
from tests.chaos.checker import check
from tests.chaos.history import History
from tests.chaos.plan import COMPUTED
from tests.chaos.run import run
from tests.chaos.scenario import draw
from tests.chaos.servers import Servers
from tests.fixtures.common import missing


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        try:
            started = stack.enter_context(Servers(tmp_path / "servers"))
        except CannotStart as why:
            missing("a MongoDB, RabbitMQ or MinIO", why)
        yield started


def assert_sound(history: History) -> None:
    """No violation, and enough happened for that to say something."""
    assert check(history) == []
    assert len({call.client for call in history.calls}) >= 8
    assert {line["stage"] for line in history.counter} == set(COMPUTED)
    happened = [event.type for events in history.events.values() for event in events]
    assert {"completed", "paused", "resumed", "cancelled"} <= set(happened)
    assert any("kill" in text for _, text in history.faults)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_embedded_profile_survives(tmp_path: Path, seed: int):
    assert_sound(run(draw(seed, "embedded"), tmp_path / "run", None))


def test_the_service_profile_survives(tmp_path: Path, servers: Servers):
    assert_sound(run(draw(3, "service"), tmp_path / "run", servers))
