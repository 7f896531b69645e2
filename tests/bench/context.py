"""What every row gets: where to work, the servers, and how much to measure."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.servers import Servers


@dataclass(frozen=True)
class Sizes:
    """How much is measured. The default is what the bounds are about; `SMALL` only shows that the bench itself works.

    The whole run stays below a quarter of an hour on two cores.
    """

    http_rounds: int = 5
    http_seconds: float = 3.0
    latency_tries: int = 60
    batch_rounds: int = 3
    batch_tasks: int = 20
    few_tasks: int = 1_000
    many_tasks: int = 100_000
    scale_rounds: int = 5


SMALL = Sizes(http_rounds=2, http_seconds=1.0, latency_tries=10, batch_rounds=1, batch_tasks=4, few_tasks=600,
              many_tasks=2_000, scale_rounds=3)


@dataclass(frozen=True)
class Bench:
    """`folder` is removed at the end. `tell` says to people what is being done."""

    folder: Path
    servers: Servers
    sizes: Sizes
    tell: Callable[[str], None]
