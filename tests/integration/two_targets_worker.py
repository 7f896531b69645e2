"""`python -m tests.integration.two_targets_worker`: the real worker with two toy targets, `FIRST` and `SECOND`."""
from __future__ import annotations

import sys
from dataclasses import replace

from shared.platforms import get_platforms
from tests.fixtures.toolchains import own_toolchains
from tests.integration.worker_kit import PLAN, TARGET
from worker import main

FIRST, SECOND = PLAN.platform, "second"
PLANS = {FIRST: PLAN, SECOND: replace(PLAN, platform=SECOND)}


def second_target() -> dict[str, object]:
    """What `get_platforms` has to know beside the real targets."""
    return {SECOND: replace(TARGET, name=SECOND)}


if __name__ == "__main__":
    get_platforms().update(second_target())
    main.get_plans = lambda: PLANS
    main.served_plans = lambda settings: (PLANS, own_toolchains(PLAN, main.ONNX))
    sys.exit(main.main())
