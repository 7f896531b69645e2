"""`python -m tests.bench.toy_gateway …`: the real gateway, whose create_task takes the toy target's scripts."""
from __future__ import annotations

import sys

from infra.gateway import main
from tests.faults.toy_plan import accept_scripts

if __name__ == "__main__":
    accept_scripts()
    main(sys.argv[1:])
