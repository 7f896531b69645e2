"""`python -m tests.faults.toy_worker`: the real worker with the toy plan, its stages run by this interpreter.

With FAULTS_CLOCK_SHIFT_S the worker's wall clock is wrong by so many seconds.
"""
from __future__ import annotations

import os
import sys
import time

from tests.faults.toy_plan import PLAN
from tests.fixtures.toolchains import own_toolchains
from worker import main


def shift_clock(seconds: float) -> None:
    right = time.time
    time.time = lambda: right() + seconds


if __name__ == "__main__":
    shift_clock(float(os.environ.get("FAULTS_CLOCK_SHIFT_S", "0")))
    main.served_plans = lambda settings: ({PLAN.platform: PLAN}, own_toolchains(PLAN, main.ONNX))
    sys.exit(main.main())
