"""An interpreter as in the vendor's image: it has the stand-in for MagicMind beside NumPy, and not this project."""
from __future__ import annotations

import sysconfig
import venv
from pathlib import Path

STANDINS = Path(__file__).resolve().parent


def make_interpreter(folder: Path, *, with_magicmind: bool = True) -> Path:
    """A virtual environment's Python. It imports in isolated mode (-I) too: what it has comes from a .pth file."""
    venv.create(folder, symlinks=True)
    (packages,) = (folder / "lib").glob("python3*/site-packages")
    paths = [sysconfig.get_path("purelib"), *([str(STANDINS)] if with_magicmind else [])]
    (packages / "vendor.pth").write_text("\n".join(paths) + "\n")
    return folder / "bin" / "python"


def make_monitor(folder: Path, card: str) -> Path:
    """A stand-in for `cnmon`, the vendor's monitor, in a folder for the PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    monitor = folder / "cnmon"
    monitor.write_text("#!/bin/sh\n"
                       "echo '+------------------------------------------------------------------------------+'\n"
                       f"echo '| 0     {card}-S4   v1.1.4 | 0000:86:00.0   0%  32C  P0  16 W/  75 W       Default |'\n")
    monitor.chmod(0o755)
    return folder
