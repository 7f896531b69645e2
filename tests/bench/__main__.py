"""`python -m tests.bench [ROW…] [--small]`: side-by-side figures; all rows without a name. See each row's module.

Both sides of a row are measured in this run, in turn. Exits with 0 whatever the figures are, with 1 where something
could not be measured.
"""
from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from infra.toolchains import environments, install
from shared.settings import get_settings
from tests.bench import (
    batch,
    cold_start,
    control,
    group,
    http_rates,
    memory,
    start_latency,
    store_scale,
    under_attack,
    uploads,
)
from tests.bench.context import SMALL, Bench, Sizes
from tests.bench.figures import Line
from tests.bench.report import describe_machine, print_table, write_file
from tests.bench.servers import Servers

EXPLAINED = """rows:
  a  requests a second, against a bare pair of web framework and driver, and against FastAPI with pymongo and Celery
  b  how soon a task starts after its creation, against FastAPI with Celery
  c  twenty conversions for OpenVINO, against a loop of scripts and against forks of a warm toolchain
  d  the same twenty conversions again, from the cache
  e  the store with many tasks
  f  memory of an idle worker
  g  how soon pause, resume and cancel take effect: p50 and p99 of 100 tries
  h  twenty conversions for an rk3588, against the same two
  i  twenty conversions for an SM8650, against the same two
  j  one model to four targets in one request, against four runs
  k  /health, conversions and memory beside an attack
  l  cold start of a function alone
  m  how soon a task starts after an upload that an event tells of, and how long the sweep takes over 10,000 uploads"""
ROWS: dict[str, Callable[[Bench], list[Line]]] = {
    "a": http_rates.run, "b": start_latency.run, "c": batch.run_intel, "d": batch.run_intel, "e": store_scale.run,
    "f": memory.run, "g": control.run, "h": batch.run_rockchip, "i": batch.run_qualcomm, "j": group.run,
    "k": under_attack.run, "l": cold_start.run,
    "m": uploads.run}

WIDTH = 180  # of the table in a log file


def main(arguments: Sequence[str]) -> int:
    cli = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    cli.formatter_class, cli.epilog = argparse.RawDescriptionHelpFormatter, EXPLAINED
    cli.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    cli.add_argument("--small", action="store_true", help="a minute, to see that the bench itself works")
    options = cli.parse_args(arguments)
    if unknown := set(options.rows) - set(ROWS):
        cli.error(f"no such row: {', '.join(sorted(unknown))}")
    rows = options.rows or list(ROWS)
    console = Console()
    if console.width < WIDTH and not console.is_terminal:
        console.width = WIDTH
    about = describe_machine() | {"small": options.small}

    def tell(text: str) -> None:
        console.print(f"{time.monotonic() - begun:6.0f} s  {text}", markup=False, soft_wrap=True)

    lines: list[Line] = []
    failed: dict[str, str] = {}
    begun = time.monotonic()
    for environment in environments().values():
        if environment.bundled:
            install(environment, get_settings().toolchains_dir)
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        servers = Servers(Path(folder), tell)
        bench = Bench(Path(folder), servers, SMALL if options.small else Sizes(), tell)
        try:
            for run in dict.fromkeys(ROWS[row] for row in rows):  # c and d are one run
                try:
                    lines += [line for line in run(bench) if line.row in rows]
                except Exception:
                    name = f"{run.__module__}.{run.__name__}"
                    failed[name] = traceback.format_exc()
                    console.print(failed[name], markup=False)
        finally:
            servers.stop()
    about |= {"seconds": round(time.monotonic() - begun), "failed": failed,
              "servers": {server.name: server.how for server in servers.started}}
    print_table(lines, console)
    console.print(f"{about['seconds']} s in all; written to {write_file(lines, rows, about)}")
    if failed:
        console.print(f"[red]not measured:[/red] {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
