"""What every row gets: where to work, the servers, and how much to measure."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.servers import Servers


@dataclass(frozen=True)
class Sizes:
    """How much is measured. The default is what the bounds are about; `SMALL` only shows that the bench itself works.

    The whole run stays below forty minutes on two cores, a row below six.
    """

    http_rounds: int = 5
    http_seconds: float = 3.0
    latency_tries: int = 60
    batch_rounds: int = 3
    batch_tasks: int = 20
    target_rounds: int = 2
    group_rounds: int = 3
    few_tasks: int = 1_000
    many_tasks: int = 100_000
    scale_rounds: int = 5
    control_tries: int = 100
    attack_s: float = 30.0
    start_rounds: int = 15
    uploads: int = 10_000


SMALL = Sizes(http_rounds=2, http_seconds=1.0, latency_tries=10, batch_rounds=1, batch_tasks=4,
              target_rounds=1, group_rounds=1, few_tasks=600, many_tasks=2_000, scale_rounds=3, control_tries=5,
              attack_s=5.0, start_rounds=2, uploads=300)


@dataclass(frozen=True)
class Bench:
    """`folder` is removed at the end. `tell` says to people what is being done."""

    folder: Path
    servers: Servers
    sizes: Sizes
    tell: Callable[[str], None]
