"""`python -m tests.faults.toy_gateway`: the real gateway on port FAULTS_PORT, whose create_task takes toy scripts."""
from __future__ import annotations

import os

from infra.gateway import main
from tests.faults.toy_plan import accept_scripts

if __name__ == "__main__":
    accept_scripts()
    main(["--port", os.environ["FAULTS_PORT"], "--processes", "1"])
