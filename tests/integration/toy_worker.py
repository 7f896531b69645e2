"""`python -m tests.integration.toy_worker`: the real worker with the toy plan, its stages run by this interpreter."""
from __future__ import annotations

import sys
from pathlib import Path

from tests.integration.worker_kit import PLAN
from worker import main

main.served_plans = lambda settings: {PLAN.platform: PLAN}
main.find_interpreter = lambda environment, toolchains_dir: Path(sys.executable)

if __name__ == "__main__":
    sys.exit(main.main())
