"""`python -m tests.integration.toy_worker`: the real worker with the toy plan, its stages run by this interpreter."""
from __future__ import annotations

import sys

from tests.fixtures.toolchains import own_toolchains
from tests.integration.worker_kit import PLAN
from worker import main

main.served_plans = lambda settings: ({PLAN.platform: PLAN}, own_toolchains(PLAN, main.ONNX))

if __name__ == "__main__":
    sys.exit(main.main())
