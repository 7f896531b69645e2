"""A process of a chaos run: `python -m tests.chaos.process worker|gateway [--port N] [--mutant NAME]`.

The real worker or gateway; it keeps a journal, a worker has the runs' plan, and a mutant its mistake.
"""
from __future__ import annotations

import argparse
import sys

from tests.chaos import journal
from tests.chaos.mutants import MUTANTS
from tests.chaos.plan import PLAN
from tests.fixtures.toolchains import own_toolchains


def main() -> int:
    cli = argparse.ArgumentParser()
    cli.add_argument("role", choices=("worker", "gateway"))
    cli.add_argument("--port")
    cli.add_argument("--mutant", choices=sorted(MUTANTS))
    args = cli.parse_args()
    journal.install()
    if args.mutant:
        MUTANTS[args.mutant]()
    if args.role == "gateway":
        from infra import gateway
        gateway.main(["--port", args.port, "--processes", "1", "--threads", "24"])
        return 0
    return run_worker()


def run_worker() -> int:
    from dataclasses import replace

    from worker import main as worker
    worker.ONNX = replace(worker.ONNX, preload=())
    worker.served_plans = lambda settings: ({PLAN.platform: PLAN}, own_toolchains(PLAN, worker.ONNX))
    sys.argv[1:] = []  # it reads its own arguments
    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
