"""Randomised faults: `python -m tests.chaos --runs 100 --seed 1 [--profile embedded|service|both] [--mutant NAME]`.

Run number n has seed S + n, which decides what happens in it. What breaks an invariant is told with its seed and the
task's whole history; the exit code is then 1. A mutant is a deliberate mistake, and the first violation ends the runs.
"""
from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from tests.chaos.checker import Violation, check
from tests.chaos.history import History
from tests.chaos.mutants import MUTANTS
from tests.chaos.run import run
from tests.chaos.scenario import PROFILES, draw
from tests.chaos.servers import Servers

INTERRUPTED = 130  # the exit code of what Ctrl-C ended
SHOWN = 3  # violations of a run that are told with their history


def main(argv: list[str] | None = None) -> int:
    cli = argparse.ArgumentParser(prog="python -m tests.chaos", description="randomised faults")
    cli.add_argument("--runs", type=int, default=10)
    cli.add_argument("--seed", type=int, default=1)
    cli.add_argument("--profile", choices=(*PROFILES, "both"), default="both")
    cli.add_argument("--mutant", choices=sorted(MUTANTS))
    args = cli.parse_args(argv)
    plan = [(seed, profile_of(seed) if args.profile == "both" else args.profile)
            for seed in range(args.seed, args.seed + args.runs)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: nothing is left running
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    broken, interrupted = 0, False
    try:
        with Servers(folder / "servers") if any(p == "service" for _, p in plan) else nullcontext() as servers:
            for seed, profile in plan:
                broken += _run_one(seed, profile, folder, servers, args.mutant)
                if broken and args.mutant:
                    print(f"{args.mutant} is caught by seed {seed}")
                    break
    except KeyboardInterrupt:
        print("interrupted")
        interrupted = True
    if broken:
        print(f"{broken} runs with violations; their logs are below {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return INTERRUPTED if interrupted else 0


def profile_of(seed: int) -> str:
    """Three of ten seeds use the real servers."""
    return "service" if seed % 10 in (3, 6, 9) else "embedded"


def _run_one(seed: int, profile: str, folder: Path, servers: Servers | None, mutant: str | None) -> bool:
    """Whether an invariant was broken; the run's folder is kept only then."""
    began = time.monotonic()
    own = folder / f"{profile}-{seed}"
    history = run(draw(seed, profile, mutant), own, servers if profile == "service" else None, mutant)
    found = check(history)
    print(f"seed {seed} {profile}: {len(history.documents)} tasks, {len(history.calls)} calls, "
          f"{len(history.faults) // 2} faults, {len(history.counter) // 2} stages run, "
          f"{time.monotonic() - began:.1f} s: {'ok' if not found else f'{len(found)} violations'}", flush=True)
    for number, violation in enumerate(found):
        _tell(seed, profile, history, violation, whole=number < SHOWN)
    if not found:
        shutil.rmtree(own, ignore_errors=True)
    return bool(found)


def _tell(seed: int, profile: str, history: History, violation: Violation, *, whole: bool) -> None:
    print(f"  VIOLATION (seed {seed}, {profile}): {violation.invariant}: {violation.task or ''} {violation.text}")
    if whole and violation.task:
        for line in history.timeline(violation.task):
            print(f"    {line}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
