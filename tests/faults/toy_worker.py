"""`python -m tests.faults.toy_worker`: the real worker with the toy plan, its stages run by this interpreter.

With FAULTS_CLOCK_SHIFT_S the worker's wall clock is wrong by so many seconds. An attempt to announce an end is its own
for a short while only, so that tests need not wait a minute for others to go on.
"""
from __future__ import annotations

import os
import sys
import time

from tests.faults.toy_plan import PLAN
from tests.fixtures.toolchains import own_toolchains
from worker import calls, main

CALL_LEASE_S = 6.0


def shift_clock(seconds: float) -> None:
    right = time.time
    time.time = lambda: right() + seconds


if __name__ == "__main__":
    shift_clock(float(os.environ.get("FAULTS_CLOCK_SHIFT_S", "0")))
    calls.LEASE_S = CALL_LEASE_S
    main.served_plans = lambda settings: ({PLAN.platform: PLAN}, own_toolchains(PLAN, main.ONNX))
    sys.exit(main.main())
