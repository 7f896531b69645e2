"""The base of the environment: an interpreter with a CPU build of PyTorch, which rknn-toolkit2 imports.

Debian's is small (version 1.13); the one that an index offers by default brings gigabytes of CUDA. Where there is no
Debian, MODEL_CONVERT_ROCKCHIP_PYTHON names an interpreter (3.11, as the lock file) that can import a torch from 1.10.1
to 2.4 or so; 2.13 was seen to work.
"""
from __future__ import annotations

import os
from pathlib import Path

from worker.plan import Base

SETTING = "MODEL_CONVERT_ROCKCHIP_PYTHON"
DEBIAN_PYTHON = Path("/usr/bin/python3")


def base() -> Base:
    """The interpreter that the setting names, as it is; else Debian's with its `python3-torch`."""
    chosen = os.environ.get(SETTING)
    if chosen:
        return Base(Path(chosen))
    return Base(DEBIAN_PYTHON, ("python3-torch", "python3-venv"))
