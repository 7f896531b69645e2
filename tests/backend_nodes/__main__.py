"""onnx's backend node tests: `python -m tests.backend_nodes [--target intel rockchip qualcomm] [--limit N]`.

Each of them (about 1,500) goes through the real stages of each target. A completed one is judged anew: what its
artefact answers to the test's own input is compared with what the test expects. The tables tell how many ended how, and
how far the pre-flight's verdict agrees with that. The exit code is 1 where a client would have read of a fault of ours.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from infra.operators.probe import tool_hosts
from tests.backend_nodes.cases import collect
from tests.backend_nodes.outcome import Outcome, run_case
from tests.backend_nodes.tables import agreement, counts

TARGETS = ("intel", "rockchip", "qualcomm")


def main(argv: list[str] | None = None) -> int:
    cli = argparse.ArgumentParser(prog="python -m tests.backend_nodes", description="onnx's backend node tests")
    cli.add_argument("--target", nargs="+", choices=TARGETS, default=TARGETS)
    cli.add_argument("--limit", type=int, help="tests, spread over the operators; all where left out")
    cli.add_argument("--only", default="", help="tests whose name has this text, or an operator's exact name")
    cli.add_argument("--out", type=Path, help="a file of JSON lines, one an outcome, that is added to")
    args = cli.parse_args(argv)
    cases, outcomes = collect(args.limit, args.only), []
    for target in args.target:
        with tool_hosts(target) as (hosts, _):
            for case in cases:
                outcomes.append(run_case(hosts, target, case))
                _tell(outcomes[-1], args.out)
    print(counts(outcomes), agreement(outcomes), sep="\n\n")
    faults = [outcome for outcome in outcomes if outcome.fault]
    for outcome in faults:
        print(f"a fault of ours: {outcome.target} {outcome.case}: {outcome.fault}: {outcome.why}")
    return 1 if faults else 0


def _tell(outcome: Outcome, out: Path | None) -> None:
    mark = " " if outcome.agrees else "≠"
    print(f"{mark} {outcome.target} {outcome.case}: said {outcome.said}, {outcome.happened} {outcome.why[:150]!r} "
          f"({outcome.seconds:.1f} s)", file=sys.stderr, flush=True)
    if out is not None:
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(vars(outcome), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
