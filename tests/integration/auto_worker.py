"""`python -m tests.integration.auto_worker`: the real worker with the toy target that has candidates."""
from __future__ import annotations

import sys

from shared.platforms import get_platforms
from tests.fixtures.toolchains import own_toolchains
from tests.integration.auto_kit import AUTO_PLAN, NAME, PLATFORM
from tests.integration.worker_kit import PLAN
from worker import main

if __name__ == "__main__":
    get_platforms()[NAME] = PLATFORM
    main.get_plans = lambda: {NAME: AUTO_PLAN}
    main.served_plans = lambda settings: ({NAME: AUTO_PLAN}, own_toolchains(PLAN, main.ONNX))
    sys.exit(main.main())
