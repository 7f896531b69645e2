"""The search for CANN on this machine, and the environment of its tools. Core only: no stage imports this.

Source: CANN installation guide: `set_env.sh` in the toolkit's folder (`ascend-toolkit`, from 8.5 on `cann`) below the
installation root, /usr/local/Ascend or ~/Ascend; versions in `ARCH-linux/ascend_toolkit_install.info`,
`ARCH-linux/ascend_ops_install.info` (from 8.5 on) and `compiler/version.info`; without a driver
`ARCH-linux/devlib` completes the library path.
"""
from __future__ import annotations

import hashlib
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from worker.plan import Located

logger = logging.getLogger(__name__)

HOMES = ("ASCEND_HOME", "ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH")
ROOTS = (Path("/usr/local/Ascend"), Path.home() / "Ascend")
_BELOW = (".", "ascend-toolkit", "cann", "latest", "..")
_TAKEN = re.compile(r"PATH|LD_LIBRARY_PATH|PYTHONPATH|TOOLCHAIN_HOME|ASCEND_\w+")
# Folders in which the tool would write or look beyond the stage's own.
_LEFT = ("ASCEND_WORK_PATH", "ASCEND_CACHE_PATH", "ASCEND_PROCESS_LOG_PATH")
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "HOME", "USER", "LANG")
_VERSION_FILES = (
    ("cann", "{arch}-linux/ascend_toolkit_install.info", r"^version=(\S+)"),
    ("ops", "{arch}-linux/ascend_ops_install.info", r"^version=(\S+)"),
    ("atc", "compiler/version.info", r"^Version=(\S+)"),
    ("opp", "opp/version.info", r"^Version=(\S+)"),
)
_TIMEOUT_S = 60.0


def locate() -> Located | None:
    """The first installation whose environment has an `atc`."""
    for variables in _environments():
        if atc := shutil.which("atc", path=variables.get("PATH", "")):
            home = _home(variables, Path(atc))
            _complete_libraries(variables, home)
            return Located(_interpreter(variables), variables, _versions(home, Path(atc)))
    if named := [name for name in HOMES if os.environ.get(name)]:
        logger.warning("no atc is found where %s says", named[0])
    return None


def _environments() -> Iterator[dict[str, str]]:
    seen: set[Path] = set()
    for root in _roots():
        for below in _BELOW:
            script = (root / below / "set_env.sh").resolve()
            if script.is_file() and script not in seen:
                seen.add(script)
                yield from _sourced(script)
    if shutil.which("atc"):  # it was sourced before the worker was started, and its script is nowhere near
        yield _taken(dict(os.environ))


def _roots() -> Iterator[Path]:
    """An ATC on the PATH tells its installation too: it lies in `bin` or `compiler/bin` of it."""
    yield from (Path(os.environ[name]) for name in HOMES if os.environ.get(name))
    if atc := shutil.which("atc"):
        yield from Path(atc).resolve().parents[1:4]
    yield from ROOTS


def _sourced(script: Path) -> Iterator[dict[str, str]]:
    """The environment that the script makes; nothing where it fails."""
    given = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        done = subprocess.run(["bash", "-c", '. "$0" >/dev/null && env -0', script], env=given, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s cannot be used: %s", script, error)
        return
    pairs = (entry.partition("=") for entry in done.stdout.decode(errors="surrogateescape").split("\0") if entry)
    yield _taken({name: value for name, _, value in pairs})


def _taken(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if _TAKEN.fullmatch(name) and name not in _LEFT}


def _home(variables: dict[str, str], atc: Path) -> Path:
    for name in ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH"):
        if (home := Path(variables.get(name, ""))).is_absolute() and home.is_dir():
            return home
    return next((folder for folder in atc.resolve().parents if (folder / "opp").is_dir()), atc.resolve().parents[1])


def _complete_libraries(variables: dict[str, str], home: Path) -> None:
    """The driver's libraries as stubs, last in the path: a real driver goes first."""
    stubs = home / f"{platform.machine()}-linux" / "devlib"
    if stubs.is_dir():
        path = variables.get("LD_LIBRARY_PATH", "")
        variables["LD_LIBRARY_PATH"] = ":".join(filter(None, (path, str(stubs))))


def _interpreter(variables: dict[str, str]) -> Path:
    """The python3 that the toolkit finds, as its operator compiler runs in it; else our own."""
    found = shutil.which("python3", path=variables.get("PATH", ""))
    if found:
        try:
            subprocess.run([found, "-I", "-c", "import sys; sys.exit(sys.version_info < (3, 8))"], check=True,
                           timeout=_TIMEOUT_S, capture_output=True)
            return Path(found)
        except (OSError, subprocess.SubprocessError):
            logger.warning("%s cannot run stages, %s does", found, sys.executable)
    return Path(sys.executable)


def _versions(home: Path, atc: Path) -> dict[str, str]:
    """They stand in the cache keys; an installation that does not tell its version is told by its binary."""
    versions = {}
    for name, path, pattern in _VERSION_FILES:
        file = home / path.format(arch=platform.machine())
        if file.is_file() and (found := re.search(pattern, file.read_text(errors="replace"), re.MULTILINE)):
            versions[name] = found[1]
    if "cann" not in versions and "atc" not in versions:
        binary = atc.with_name("atc.bin")
        digest = hashlib.sha256((binary if binary.is_file() else atc).read_bytes()).hexdigest()
        versions["atc"] = f"sha256-{digest[:16]}"
    return versions
