"""`python -m tests.integration.second_worker`: the real worker with the toy target that has passes over the model."""
from __future__ import annotations

import sys

from shared.platforms import get_platforms
from tests.fixtures.toolchains import own_toolchains
from tests.integration.second_kit import NAME, PLATFORM, SECOND_PLAN
from tests.integration.worker_kit import PLAN
from worker import main

if __name__ == "__main__":
    get_platforms()[NAME] = PLATFORM
    main.get_plans = lambda: {NAME: SECOND_PLAN}
    main.served_plans = lambda settings: ({NAME: SECOND_PLAN}, own_toolchains(PLAN, main.ONNX))
    sys.exit(main.main())
