"""A stand-in for CANN's toolkit: an installation with an `atc` that behaves as the vendor documents, or as it is told.

`install` lays it out as the vendor's installer does; `tell` says how it is to fail.
"""
from __future__ import annotations

import json
import platform
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VERSION = "8.0.RC2"


def install(root: Path) -> Path:
    """Lay it out below `root`, as /usr/local/Ascend is; answers the toolkit's folder, which `ASCEND_HOME` may name."""
    toolkit = root / "ascend-toolkit"
    home = toolkit / "latest"
    architecture = home / f"{platform.machine()}-linux"
    for folder in (home / "bin", home / "compiler", home / "opp", architecture / "devlib"):
        folder.mkdir(parents=True)
    for name in ("atc", "standin_onnx.py", "standin_options.py"):
        shutil.copy(HERE / "bin" / name, home / "bin" / name)
    (home / "bin" / "atc").chmod(0o755)
    python = home / "bin" / "python3"  # the toolkit's own; it runs the stages, and measures their coverage
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    shutil.copy(HERE / "set_env.sh", toolkit / "set_env.sh")
    (architecture / "ascend_toolkit_install.info").write_text(
        f"package_name=Ascend-cann-toolkit\nversion={VERSION}\ninnerversion=V100R001C18\narch={platform.machine()}\n")
    (home / "compiler" / "version.info").write_text("Version=7.3.0.1.231\nversion_dir=8.0.RC2\n")
    return toolkit


def tell(toolkit: Path, mode: int, **behaviour: Any) -> None:
    """What the next runs of `atc --mode=MODE` do instead of what is right; see `bin/atc`."""
    path = toolkit / "latest" / "behaviour.json"
    told = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(told | {str(mode): behaviour}))


def commands(toolkit: Path) -> list[list[str]]:
    """The command lines that it was run with."""
    path = toolkit / "latest" / "commands.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
